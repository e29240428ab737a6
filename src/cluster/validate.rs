//! Checks that only read: of the topology, and of schemas, permissions and versions of tablets against each other.
//!
//! What is found is a list of texts, as in stock; here they come in the order of the shards' names.

mod fleet;
mod permissions;
mod replication;
mod schema;
pub mod schema_diff;
mod topology;
mod version;

pub use permissions::permissions;
pub use schema::{Options as SchemaOptions, schemas, vschema};
pub use topology::{all, keyspace, shard};
pub use version::{version_keyspace, version_shard};

/// What was found in a keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub results: Vec<String>,
    /// Shards, ascending by name, with what was found in each.
    pub by_shard: Vec<(String, Vec<String>)>,
}

impl Report {
    /// One finding that is about no shard.
    fn of(result: String) -> Self {
        Self { results: vec![result], by_shard: Vec::new() }
    }

    /// Findings of shards, told for the whole keyspace too.
    fn of_shards(by_shard: Vec<(String, Vec<String>)>) -> Self {
        Self { results: by_shard.iter().flat_map(|(_, results)| results.clone()).collect(), by_shard }
    }
}
