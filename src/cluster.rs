//! The cluster that this server looks after, besides its workflows: cells, keyspaces, shards, tablets, schemas, rules.
//!
//! Behaviour and texts are those of Vitess 22.0.3, with three differences everywhere: names are checked before anything
//! is read or written, several records are read in one round trip, and what is written keeps fields of newer programs.

pub mod cell;
mod error;
pub mod keyspace;
pub mod path;
pub mod reload;
pub mod rules;
pub mod schema;
pub mod serving;
pub mod shard;
mod shard_delete;
pub mod tablet;
pub mod vschema;

pub use error::Error;

/// Result of an operation on the cluster.
pub type Result<T> = std::result::Result<T, Error>;

/// A list as Go prints it: `[a b]`.
fn listed(names: &[String]) -> String {
    format!("[{}]", names.join(" "))
}
