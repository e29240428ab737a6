//! The wire edge: decode, call, encode.

mod about;
mod advisor;
pub mod audit;
mod cell;
pub mod fallback;
mod graph;
mod keyspace;
pub mod layers;
mod migrate;
mod mount;
mod options;
mod reparent;
mod replication;
pub mod router;
pub mod routes;
mod routing_rules;
mod schema;
mod serving;
mod shard;
mod status;
mod tablet;
mod throttler;
mod time;
mod topology;
mod validate;
mod vdiff;
mod vschema;
mod vtctl;
mod vtctld;
mod workflow;

pub use advisor::Advisor;
pub use options::{Options, Services};
pub use vtctl::Vtctl;
pub use vtctld::Vtctld;
