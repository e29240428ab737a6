//! TLS to ZooKeeper. The client library's own TLS would bring a second cryptography provider, so it speaks plain TCP to a
//! port of 127.0.0.1, from where each connection is carried on over TLS.
//!
//! The port takes connections of this process's user only: who is connected says `/proc/net/tcp`.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::topo::access::Tls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One listening port for each server; they close with it.
pub(super) struct Tunnels {
    ports: Vec<(SocketAddr, JoinHandle<()>)>,
    failure: Failure,
}

type Failure = Arc<Mutex<Option<String>>>;

/// The other end of a tunnel.
#[derive(Clone)]
struct Target {
    address: String,
    name: ServerName<'static>,
    tls: Tls,
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.ports.iter().for_each(|(_, task)| task.abort());
    }
}

impl Tunnels {
    /// Opens one port for each of `addresses` (`host:port`).
    pub(super) async fn open(addresses: &[String], tls: &Tls) -> Result<Self, String> {
        let failure = Failure::default();
        let mut ports = Vec::new();
        for address in addresses {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let name = tls.server_name().unwrap_or(host).trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| format!("{address} has no name that TLS could check"))?;
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| format!("no local port: {e}"))?;
            let port = listener.local_addr().map_err(|e| format!("no local port: {e}"))?;
            let target = Target { address: address.clone(), name, tls: tls.clone() };
            ports.push((port, tokio::spawn(accept(listener, target, Arc::clone(&failure)))));
        }
        Ok(Self { ports, failure })
    }

    /// The local addresses, separated by commas.
    pub(super) fn addresses(&self) -> String {
        self.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Why the newest connection failed, if it did.
    pub(super) fn newest_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, target: Target, failure: Failure) {
    let Ok(port) = listener.local_addr() else { return };
    while let Ok((local, peer)) = listener.accept().await {
        let (target, failure) = (target.clone(), Arc::clone(&failure));
        tokio::spawn(async move {
            let outcome = carry(local, peer, port, &target).await;
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
        });
    }
}

/// Carries one connection until one side ends it.
async fn carry(mut local: TcpStream, peer: SocketAddr, port: SocketAddr, target: &Target) -> Result<(), String> {
    if !is_own(peer, port) {
        return Err("refused a connection that is not of this program's user".into());
    }
    let connect = async {
        let stream = TcpStream::connect(&target.address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).ok();
        let connector = TlsConnector::from(target.tls.fresh().await);
        connector.connect(target.name.clone(), stream).await.map_err(|e| format!("TLS with {}: {e}", target.address))
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
    let mut remote = connected.map_err(|_| format!("{} does not answer", target.address))??;
    local.set_nodelay(true).ok();
    // how a connection ends is the client library's to judge
    tokio::io::copy_bidirectional(&mut local, &mut remote).await.ok();
    Ok(())
}

/// True when the connection from `peer` to `port` belongs to this process's user. Fields of `/proc/net/tcp`: `sl`, local
/// and remote address (hexadecimal, the address in the machine's byte order), and so on; the user's id is the eighth.
fn is_own(peer: SocketAddr, port: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => String::new(),
    };
    let (Ok(table), Ok(own)) = (std::fs::read_to_string("/proc/self/net/tcp"), std::fs::metadata("/proc/self")) else {
        return false;
    };
    let (peer, port, own) = (hex(peer), hex(port), own.uid().to_string());
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&peer) && fields.next() == Some(&port) && fields.nth(4) == Some(&own)
    })
}
