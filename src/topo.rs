//! Versioned, locked, typed access to cluster metadata.
//!
//! Keys and values are those of Vitess 22.0.3, so stock programs work on the same topology at the same time. [`Conn`] is
//! one connection under one root; [`Topo`] is a whole cluster (global root and cells); the typed modules know records.

pub mod access;
pub mod address;
pub mod cell;
mod cells;
mod checked;
pub mod conn;
#[cfg(feature = "topo-consul")]
mod consul;
mod dialer;
mod error;
mod etcd;
pub mod external_cluster;
pub mod json;
mod keep_alive;
pub mod keyspace;
mod lock;
mod measured;
mod memory;
mod options;
pub mod paths;
mod read_only;
pub mod record;
pub mod routing_rules;
pub mod settings;
pub mod shard;
mod silence;
pub mod srv_keyspace;
pub mod srv_vschema;
pub mod tablet;
mod topo_server;
mod trusted_tablets;
pub mod vschema;
pub mod wire;
#[cfg(feature = "topo-zk2")]
mod zookeeper;

#[cfg(test)]
mod conformance;

pub use cells::Cells;
pub use conn::{Conn, Expect, Node, Write};
pub use dialer::{Dialer, EtcdOptions, Options, Wrap};
pub use error::Error;
pub use lock::{Lock, LockRequest};
pub use options::{ConsulOptions, ZookeeperOptions};
pub use record::Record;
pub use topo_server::Topo;
pub use trusted_tablets::TrustedTablets;

/// The kinds that are built in, as Vitess names them.
pub const KINDS: &[&str] = &[
    "etcd2",
    #[cfg(feature = "topo-zk2")]
    "zk2",
    #[cfg(feature = "topo-consul")]
    "consul",
];

/// Result of a topology operation.
pub type Result<T> = std::result::Result<T, Error>;
