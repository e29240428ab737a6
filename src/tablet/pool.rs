//! Kept connections to tablets, one for each address.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A tablet that is down is noticed after this time at the latest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// The `--tablet_manager_grpc_*` TLS flags as file contents (PEM).
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    pub ca: Option<Vec<u8>>,
    pub cert: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// TLS is on when a CA, or a certificate with its key, is given (as in stock).
    pub fn client(self) -> Option<ClientTlsConfig> {
        let identity = self.cert.zip(self.key).map(|(cert, key)| Identity::from_pem(cert, key));
        (self.ca.is_some() || identity.is_some()).then(|| {
            let mut tls = ClientTlsConfig::new();
            tls = match self.ca {
                Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
                None => tls.with_native_roots(),
            };
            if let Some(identity) = identity {
                tls = tls.identity(identity);
            }
            match self.server_name {
                Some(name) if !name.is_empty() => tls.domain_name(name),
                _ => tls,
            }
        })
    }
}

/// Connections by `host:port`.
pub struct Pool {
    tls: Option<ClientTlsConfig>,
    channels: DashMap<String, (Channel, Instant)>,
    swept: Mutex<Instant>,
}

impl Pool {
    /// Opens nothing yet.
    pub fn new(options: TlsOptions) -> Self {
        Self { tls: options.client(), channels: DashMap::new(), swept: Mutex::new(Instant::now()) }
    }

    /// The connection to an address; it is opened when first used, and again when it breaks.
    ///
    /// # Errors
    /// A text when the address cannot be one.
    pub fn channel(&self, address: &str) -> Result<Channel, String> {
        self.sweep();
        if let Some(mut kept) = self.channels.get_mut(address) {
            kept.1 = Instant::now();
            return Ok(kept.0.clone());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|e| e.to_string())?;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(|e| e.to_string())?;
        }
        let channel = endpoint.connect_lazy();
        self.channels.insert(address.to_owned(), (channel.clone(), Instant::now()));
        Ok(channel)
    }

    fn sweep(&self) {
        let Ok(mut swept) = self.swept.try_lock() else { return };
        if swept.elapsed() > IDLE {
            *swept = Instant::now();
            self.channels.retain(|_, (_, used)| used.elapsed() < IDLE);
        }
    }
}
