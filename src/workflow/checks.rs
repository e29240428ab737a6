//! Checks: pure functions from gathered facts to [findings](crate::workflow::findings). What they judge is gathered in [`reads`](crate::workflow::reads), or
//! read off streams and records; no check asks anybody anything.
//!
//! Here are those of create, mount and the way back; those of complete, and of the verdict, are in [`complete`].

pub mod absent;
pub(in crate::workflow) mod answers;
pub(in crate::workflow) mod batching;
pub(in crate::workflow) mod cells;
pub mod complete;
pub mod definitions;
pub mod foreign_keys;
pub(in crate::workflow) mod keyspaces;
pub(in crate::workflow) mod mount;
pub mod names;
pub(in crate::workflow) mod overrides;
pub mod replicas;
#[cfg(test)]
mod samples;
pub mod sequences;
pub mod servers;
pub(in crate::workflow) mod shared;
pub(in crate::workflow) mod stalled;
pub mod streaming;
pub mod tables;
pub mod unstreamed;
pub mod vindexes;
pub mod vschema;
pub(in crate::workflow) mod workflow_type;
pub(in crate::workflow) mod workflows;
