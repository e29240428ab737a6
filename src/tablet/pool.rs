//! Kept connections to tablets, one for each address.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tonic::transport::Endpoint;

use super::connection::{Connection, InProcess};
use crate::telemetry::metrics;
use crate::tls::Tls;
use crate::topo::TrustedTablets;
use crate::topo::address::is_host_and_port;

/// A tablet that is down is noticed after this time at the latest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// HTTP/2 settings of a connection to a tablet: the `--grpc_*` flags of clients.
#[derive(Clone, Debug)]
pub struct Transport {
    /// A silent connection is pinged after this time; `None`: never.
    pub keepalive_time: Option<Duration>,
    /// A ping that is not answered within this time ends the connection.
    pub keepalive_timeout: Duration,
    /// HTTP/2 windows in bytes; `None`: the library's.
    pub stream_window: Option<u32>,
    pub connection_window: Option<u32>,
    /// Requests are compressed with snappy.
    pub snappy: bool,
}

/// How tablets are called.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `--tablet_manager_grpc_*` TLS flags; plain without.
    pub tls: Option<Tls>,
    /// Those that are shown the certificate in it; others see none.
    pub trusted: Arc<TrustedTablets>,
    /// Timeout of calls that a healthy tablet answers immediately (`--remote_operation_timeout`).
    pub short: Duration,
    /// In bytes, both ways.
    pub max_message: usize,
    /// Connections that are kept.
    pub connections: usize,
    pub transport: Transport,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            trusted: Arc::default(),
            short: Duration::from_secs(15),
            max_message: 16 << 20,
            connections: 100,
            transport: Transport {
                keepalive_time: Some(Duration::from_secs(10)),
                keepalive_timeout: Duration::from_secs(10),
                stream_window: None,
                connection_window: None,
                snappy: false,
            },
        }
    }
}

/// Connections by `host:port`, and whether the client's certificate is shown there.
pub struct Pool {
    tls: Option<Tls>,
    trusted: Arc<TrustedTablets>,
    transport: Transport,
    most: usize,
    max_message: usize,
    channels: DashMap<(String, bool), (Connection, Instant)>,
    swept: Mutex<Instant>,
}

impl Pool {
    /// An empty pool.
    pub fn new(Options { tls, trusted, connections, transport, max_message, .. }: Options) -> Self {
        Self {
            tls,
            trusted,
            transport,
            most: connections,
            max_message,
            channels: DashMap::new(),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// The connection to an address; it is opened when first used, and again when it breaks.
    ///
    /// # Errors
    /// A text when the address cannot be one.
    pub fn channel(&self, address: &str) -> Result<Connection, String> {
        self.sweep();
        let key = (address.to_owned(), self.shows(address));
        if let Some(mut kept) = self.channels.get_mut(&key) {
            kept.1 = Instant::now();
            metrics::tablet_connection(false);
            return Ok(kept.0.clone());
        }
        if !is_host_and_port(address) {
            return Err("no host and port".into());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(self.transport.stream_window)
            .initial_connection_window_size(self.transport.connection_window)
            .keep_alive_timeout(self.transport.keepalive_timeout);
        if let Some(time) = self.transport.keepalive_time {
            endpoint = endpoint.http2_keep_alive_interval(time);
        }
        let channel = match &self.tls {
            Some(tls) if key.1 => tls.connect_lazy(&endpoint),
            Some(tls) => tls.clone().without_identity().connect_lazy(&endpoint),
            None => endpoint.connect_lazy(),
        };
        let channel = Connection::new(channel, self.transport.snappy, self.max_message);
        metrics::tablet_connection(true);
        self.make_room();
        self.channels.insert(key, (channel.clone(), Instant::now()));
        Ok(channel)
    }

    /// Whether a tablet sees the client's certificate.
    fn shows(&self, address: &str) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_identity) && self.trusted.has(address)
    }

    /// Whether there is a certificate that a tablet does not see.
    pub(super) fn withholds(&self, address: &str) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_identity) && !self.trusted.has(address)
    }

    /// From now on the calls to `address` go to services of this process.
    pub fn serve_in_process(&self, address: &str, services: InProcess) {
        self.channels.insert((address.to_owned(), false), (Connection::in_process(services), Instant::now()));
    }

    /// Forgets the connections that were unused for longest; calls on them go on.
    fn make_room(&self) {
        while self.channels.len() >= self.most {
            let oldest = self.channels.iter().min_by_key(|kept| kept.1).map(|kept| kept.key().clone());
            let Some(oldest) = oldest else { return };
            self.channels.remove(&oldest);
        }
    }

    fn sweep(&self) {
        let Ok(mut swept) = self.swept.try_lock() else { return };
        if swept.elapsed() > IDLE {
            *swept = Instant::now();
            self.channels.retain(|_, (_, used)| used.elapsed() < IDLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vars;
    use super::*;

    #[tokio::test]
    async fn a_tablet_is_asked_at_a_host_and_a_port_and_nowhere_else() {
        let pool = Pool::new(Options::default());
        for bad in ["169.254.169.254/latest?x=:80", "user@a:1", "a:1#b", "a:1/v1", "a b:1", ":1", ""] {
            assert_eq!(pool.channel(bad).err().unwrap(), "no host and port", "{bad}");
            let read = vars::read::<serde_json::Value>(bad, Duration::from_secs(5)).await;
            assert_eq!(read.err().unwrap().into_text(), "no host and port", "{bad}");
        }
        pool.channel("[::1]:1").unwrap();
    }
}
