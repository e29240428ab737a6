//! A vtctld that brings keyspaces from one Vitess cluster into another.

pub mod deadline;
pub mod error;
pub mod key_range;
pub mod topo;
