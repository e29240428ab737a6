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

/// What helps where another program has the port.
pub(super) fn taken(why: &std::io::Error) -> &'static str {
    match why.kind() {
        std::io::ErrorKind::AddrInUse => {
            ": by another program, such as a stock vtctld; --grpc_port and --port choose others"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_the_flags_that_choose_others() {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = other.local_addr().unwrap().port();
        let error = listen(&Address { host: "127.0.0.1".into(), port }).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on 127.0.0.1:") && error.contains("--grpc_port"), "{error}");
    }
}
