//! Who may call, and over what: the whole server on a port of its own.

mod callers;
mod connections;
mod flows;
mod http;
mod roles;
mod shown;
mod tls;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use vtmigrated::app;
use vtmigrated::config::Config;
use vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient;

/// A whole server over a topology in memory. Ends when dropped.
struct Server {
    port: u16,
    /// Of the pages.
    http: u16,
    _stop: DropGuard,
}

impl Server {
    async fn start(flags: &[String]) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let args = std::iter::once("vtmigrated".to_owned()).chain(flags.iter().cloned());
        let config = Config::load(args.map(Into::into), |_| None).unwrap();
        let [listener, pages] =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let [port, http] = [&listener, &pages].map(|listener| listener.local_addr().unwrap().port());
        let stop = CancellationToken::new();
        tokio::spawn(app::serve(config, listener, Some(pages), stop.clone().cancelled_owned()));
        Self { port, http, _stop: stop.drop_guard() }
    }

    fn endpoint(&self, tls: Option<ClientTlsConfig>) -> Endpoint {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://localhost:{}", self.port)).unwrap();
        match tls {
            Some(tls) => endpoint.tls_config(tls).unwrap(),
            None => endpoint,
        }
    }

    async fn client(&self, tls: Option<ClientTlsConfig>) -> VtctldClient<Channel> {
        VtctldClient::new(self.endpoint(tls).connect().await.unwrap())
    }
}
