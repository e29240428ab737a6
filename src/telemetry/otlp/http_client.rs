//! OTLP over HTTP: the exporters' own threads know no runtime, so requests are made by tasks of the server's.

use std::time::Duration;

use async_trait::async_trait;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpError, Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::{Error, File, Result, Target};

/// Bound of a request, when the exporter sets none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one collector.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self> {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls(target)?).https_or_http().enable_http1().build();
        Ok(Self { inner: HyperClient::new(connector, timeout(), None), runtime: Handle::current() })
    }
}

/// The exporter gives up after this time anyway.
fn timeout() -> Duration {
    let names =
        ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let given = names.into_iter().filter_map(|name| super::variable(name)?.parse().ok()).max();
    given.map_or(TIMEOUT, Duration::from_millis)
}

fn tls(target: &Target) -> Result<ClientConfig> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let bad = |variable: &str, detail: String| Error::Variable { variable: variable.to_owned(), detail };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS", error.to_string()))?;
    let config = match (&target.ca, File::read(target.ca.as_ref())?) {
        (Some(file), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.map_err(|error| error.to_string());
                let added = added.and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
                added.map_err(|detail| bad(&file.variable, detail))?;
            }
            config.with_root_certificates(roots)
        }
        // hosts without any authorities can still send in plain text
        _ if target.url.starts_with("http://") => config.with_root_certificates(RootCertStore::empty()),
        _ => config.with_native_roots().map_err(|error| bad("TLS", error.to_string()))?,
    };
    let identity = (File::read(target.certificate.as_ref())?, File::read(target.key.as_ref())?);
    let ((Some(certificate), Some(key)), Some(file)) = (identity, &target.certificate) else {
        return Ok(config.with_no_client_auth());
    };
    let bad = |detail: String| bad(&file.variable, detail);
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| bad(error.to_string()))?;
    let chain = chain.map_err(|error| bad(error.to_string()))?;
    config.with_client_auth_cert(chain, key).map_err(|error| bad(error.to_string()))
}

#[async_trait]
impl opentelemetry_http::HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, HttpError> {
        let client = self.inner.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
