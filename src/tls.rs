//! TLS of outgoing connections: files that are read again for each new connection, 1.2 at least, ring as provider.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

pub(crate) use crate::watched_files::Result;
use crate::watched_files::{Error, Watched};

/// Versions spoken by clients and servers here.
pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// What a connection shows and expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Authorities that the server's certificate is checked against; those of the system when absent.
    pub ca: Option<PathBuf>,
    /// Certificate and key shown to the server.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name expected in the server's certificate; its host name when absent.
    pub server_name: Option<String>,
}

/// TLS towards servers. Connections that are open when the files change stay; those opened later use the new ones.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    configs: Arc<Watched<Configs>>,
    /// Whether the certificate is shown, if there is one.
    shows: bool,
}

/// Settings of one state of the files, with and without the certificate.
struct Configs {
    showing: Arc<ClientConfig>,
    bare: Arc<ClientConfig>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.shows == other.shows
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// One that cannot be read or used.
    pub fn load(self) -> Result<Tls> {
        let (has_ca, has_identity) = (self.ca.is_some(), self.identity.is_some());
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let paths: Vec<PathBuf> = self.ca.iter().chain(identity).cloned().collect();
        let names = paths.clone();
        let make = move |contents: &[Vec<u8>]| {
            let mut pems = names.iter().zip(contents).map(|(path, text)| Pem { path, text });
            let ca = if has_ca { pems.next() } else { None };
            let identity = if has_identity { pems.next().zip(pems.next()) } else { None };
            configs(ca, identity)
        };
        Ok(Tls { configs: Watched::new(paths, make)?, files: Arc::new(self), shows: true })
    }
}

fn configs(ca: Option<Pem<'_>>, identity: Option<(Pem<'_>, Pem<'_>)>) -> Result<Configs> {
    let roots = match ca {
        Some(ca) => ca.roots()?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| Error::Flags(error.to_string()))?
        .with_root_certificates(roots);
    let bare = Arc::new(builder.clone().with_no_client_auth());
    let showing = match identity {
        None => Arc::clone(&bare),
        Some((cert, key)) => {
            let config = builder.with_client_auth_cert(cert.certificates()?, key.key()?);
            Arc::new(config.map_err(|error| cert.bad("certificate for its key", error))?)
        }
    };
    Ok(Configs { showing, bare })
}

impl Tls {
    /// The settings by the files as they were read last.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.of(&self.configs.get())
    }

    /// The settings by the files as they are now.
    pub async fn fresh(&self) -> Arc<ClientConfig> {
        let configs = self.configs.fresh().await;
        self.of(&configs)
    }

    fn of(&self, configs: &Configs) -> Arc<ClientConfig> {
        Arc::clone(if self.shows { &configs.showing } else { &configs.bare })
    }

    /// The same authorities, without a certificate to show.
    pub(crate) fn without_identity(self) -> Self {
        Self { shows: false, ..self }
    }

    /// Whether a certificate is shown to servers that ask for one.
    pub(crate) fn has_identity(&self) -> bool {
        self.shows && self.files.identity.is_some()
    }

    /// Name expected in the server's certificate, if it is not its host name.
    pub fn server_name(&self) -> Option<&str> {
        self.files.server_name.as_deref()
    }

    /// Opens gRPC connections with these settings. `endpoint` must be one of plain HTTP.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(Connector { tls: self.clone() })
    }
}

/// A TCP connection with TLS on it, for HTTP/2.
#[derive(Clone)]
struct Connector {
    tls: Tls,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let fresh = tls.fresh().await;
            let mut config = ClientConfig::clone(&fresh);
            config.alpn_protocols = vec![b"h2".to_vec()];
            connect(&tls, &Arc::new(config), &uri).await
        })
    }
}

async fn connect(tls: &Tls, config: &Arc<ClientConfig>, server: &Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(tls.server_name().unwrap_or(host).to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, server.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map(TokioIo::new)
}

/// The contents of a PEM file, and its name for errors.
pub(crate) struct Pem<'a> {
    pub path: &'a Path,
    pub text: &'a [u8],
}

impl Pem<'_> {
    pub fn bad(&self, what: &'static str, detail: impl ToString) -> Error {
        Error::Bad { path: self.path.to_owned(), what, detail: detail.to_string() }
    }

    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.text).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.bad("certificate", "there is none")),
            Ok(found) => Ok(found),
            Err(error) => Err(self.bad("certificate", error)),
        }
    }

    pub fn key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.text).map_err(|error| self.bad("private key", error))
    }

    pub fn revoked(&self) -> Result<Vec<CertificateRevocationListDer<'static>>> {
        let found: std::result::Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(self.text).collect();
        found.map_err(|error| self.bad("revocation list", error))
    }

    /// The certificates as authorities.
    pub fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for authority in self.certificates()? {
            roots.add(authority).map_err(|error| self.bad("certificate", error))?;
        }
        Ok(roots)
    }
}
