//! The wire edge: decode, call, encode.

mod cell;
pub mod fallback;
mod keyspace;
pub mod layers;
mod migrate;
mod mount;
pub mod router;
pub mod routes;
mod routing_rules;
mod schema;
mod serving;
mod shard;
mod status;
mod tablet;
mod topology;
mod vdiff;
mod vschema;
mod vtctl;
mod vtctld;
mod workflow;

pub use vtctl::Vtctl;
pub use vtctld::Vtctld;
