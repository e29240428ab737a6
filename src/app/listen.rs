//! Listeners.

use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::net::TcpListener;

use super::Error;
use crate::config::Address;

/// Listens on an address; without a host on all, of both families where the machine has both.
///
/// # Errors
/// The name is not known, or the port is taken.
pub async fn listen(address: &Address) -> Result<TcpListener, Error> {
    let Address { host, port } = address;
    let bound = if host.is_empty() {
        match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
            Ok(listener) => Ok(listener),
            // a machine without IPv6
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await,
        }
    } else {
        TcpListener::bind((host.trim_matches(['[', ']']), *port)).await
    };
    bound.map_err(|source| Error::Listen { address: format!("{host}:{port}"), source })
}
