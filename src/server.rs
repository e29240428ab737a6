//! The wire edge: decode, call, encode.

pub mod layers;
mod mount;
pub mod routes;
mod status;
mod vtctld;

pub use vtctld::Vtctld;
