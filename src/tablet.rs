//! Calls to tablet managers: dial, keep the connection, bound by the caller's deadline, name the tablet in every error.

pub mod as_sent;
mod build_version;
pub mod client;
mod connection;
mod denial;
mod error;
mod health;
mod log_stream;
mod pool;
pub mod raw;
pub mod source_tablets;
mod vars;
mod version;

pub use build_version::build_version;
pub use client::{Client, GetSchema};
pub use connection::InProcess;
pub use error::Error;
pub use health::is_serving;
pub use log_stream::LogStream;
pub use pool::{Options, Pool, Transport};
pub use source_tablets::source_tablets;

use vtmigrated_proto::topodata::Tablet;

use crate::topo::paths::alias_text;
use crate::topo::tablet::address_of;
pub use crate::topo::tablet::is_shut_down;

/// Result of a tablet call.
pub type Result<T> = std::result::Result<T, Error>;

/// `<cell>-<uid, ten digits>` of a record.
pub fn alias(tablet: &Tablet) -> String {
    tablet.alias.as_ref().map(alias_text).unwrap_or_default()
}

/// Name of the MySQL database that a tablet serves.
pub fn db_name(tablet: &Tablet) -> String {
    if tablet.db_name_override.is_empty() { format!("vt_{}", tablet.keyspace) } else { tablet.db_name_override.clone() }
}

/// `host:port` of a tablet's gRPC server; IPv6 hosts in brackets, port 0 when the record has none (as in stock).
pub fn address(tablet: &Tablet) -> String {
    address_of(tablet, "grpc")
}
