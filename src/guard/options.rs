//! What the flags say about who may call.

use std::path::PathBuf;

use super::{Mode, tls};

/// TLS, callers, roles and bounds of the gRPC port.
#[derive(Clone, Debug)]
pub struct Options {
    pub tls: tls::Options,
    pub mode: Mode,
    pub roles: Option<PathBuf>,
    /// Calls served at once.
    pub max_calls: usize,
    /// Bytes that requests and answers may hold together; at least two messages of the greatest length.
    pub max_bytes: usize,
    /// Connections kept at once.
    pub max_connections: usize,
    /// Maximum number of concurrent calls on one connection.
    pub max_streams: u32,
}
