//! The wire edge: decode, call, encode.

pub mod layers;
mod migrate;
mod mount;
pub mod routes;
mod status;
mod vtctld;
mod workflow;

pub use vtctld::Vtctld;
