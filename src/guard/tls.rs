//! TLS of the gRPC listener, from PEM files; 1.2 at least.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::{Error, Result, Watched, certificate_subject};
use crate::tls::{Pem, VERSIONS};

/// The `--grpc_cert`, `--grpc_key`, `--grpc_ca`, `--grpc_crl`, `--grpc_server_ca`, `--grpc_enable_optional_tls` flags.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Authorities of the clients' certificates; with it every client must show one.
    pub ca: Option<PathBuf>,
    /// Revocation list for client certificates.
    pub crl: Option<PathBuf>,
    /// Appended to the certificate, so that clients get the whole chain.
    pub server_ca: Option<PathBuf>,
    /// Clients without TLS are served too.
    pub optional: bool,
}

/// TLS of a listener by the files as they were at one time.
pub struct Tls {
    pub config: Arc<ServerConfig>,
    /// Checks the certificates of clients; none when they need none.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// The certificate that a client has shown when it connected.
pub struct Shown {
    leaf: CertificateDer<'static>,
    /// What came with it. It is only looked at as far as it leads to an authority, so it says nothing of who calls.
    others: Vec<CertificateDer<'static>>,
    at: UnixTime,
    tls: Arc<Watched<Tls>>,
    /// By which files it was found good last.
    good: Mutex<Weak<Tls>>,
    /// Subject and common name, once somebody has asked.
    names: OnceLock<Option<(String, String)>>,
}

impl Shown {
    /// What a handshake by `used` has verified; `None` when the client showed nothing.
    pub fn of(session: &rustls::ServerConnection, tls: &Arc<Watched<Tls>>, used: &Arc<Tls>) -> Option<Self> {
        let mut shown = session.peer_certificates()?.iter().map(|shown| shown.clone().into_owned());
        let (leaf, others) = (shown.next()?, shown.collect());
        let good = Mutex::new(Arc::downgrade(used));
        Some(Self { leaf, others, at: UnixTime::now(), tls: Arc::clone(tls), good, names: OnceLock::new() })
    }

    /// Subject and common name of the client's own certificate; `None` when it cannot be read. Every call asks.
    pub fn names(&self) -> Option<&(String, String)> {
        self.names.get_or_init(|| certificate_subject::of(&self.leaf)).as_ref()
    }

    /// Whether a connection that shows it would still be let in: when authorities or revoked certificates have changed, it
    /// is checked again. Its time is that of the handshake, for a certificate that ends does not end connections.
    pub fn holds(&self) -> bool {
        let newest = self.tls.get();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(good.as_ptr(), Arc::as_ptr(&newest)) {
            return true;
        }
        let Some(clients) = &newest.clients else { return true };
        let holds = clients.verify_client_cert(&self.leaf, &self.others, self.at).is_ok();
        if holds {
            *good = Arc::downgrade(&newest);
        }
        holds
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Options {
    /// The listener's TLS; `None` when no certificate is given.
    ///
    /// # Errors
    /// A certificate without key or the reverse, other TLS flags without either, unreadable or unusable files.
    pub fn load(&self) -> Result<Option<Arc<Watched<Tls>>>> {
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            let given = [&self.cert, &self.key, &self.ca, &self.crl, &self.server_ca].iter().any(|path| path.is_some());
            return if given || self.optional {
                Err(Error::Flags("TLS needs both --grpc_cert and --grpc_key".into()))
            } else {
                Ok(None)
            };
        };
        if self.crl.is_some() && self.ca.is_none() {
            return Err(Error::Flags("--grpc_crl revokes clients' certificates: it needs --grpc_ca".into()));
        }
        let mut paths = vec![cert.clone(), key.clone()];
        let mut place = |path: &Option<PathBuf>| {
            path.clone().map(|path| {
                paths.push(path);
                paths.len() - 1
            })
        };
        let (ca, crl, server_ca) = (place(&self.ca), place(&self.crl), place(&self.server_ca));
        let names = paths.clone();
        let make = move |contents: &[Vec<u8>]| {
            let file = |at: usize| Pem { path: &names[at], text: &contents[at] };
            let optional = |at: Option<usize>| at.map(file);
            config(&file(0), &file(1), optional(ca).as_ref(), optional(crl).as_ref(), optional(server_ca).as_ref())
        };
        Watched::new(paths, make).map(Some)
    }
}

fn config(
    cert: &Pem<'_>,
    key: &Pem<'_>,
    ca: Option<&Pem<'_>>,
    crl: Option<&Pem<'_>>,
    server_ca: Option<&Pem<'_>>,
) -> Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut chain = cert.certificates()?;
    if let Some(server_ca) = server_ca {
        chain.extend(server_ca.certificates()?);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| Error::Flags(error.to_string()))?;
    let (builder, clients) = match ca {
        None => (builder.with_no_client_auth(), None),
        Some(ca) => {
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()?), provider);
            if let Some(crl) = crl {
                // as stock: a certificate is refused when a list names it, not when no list speaks of its issuer
                verifier = verifier.with_crls(crl.revoked()?).allow_unknown_revocation_status();
            }
            let clients = verifier.build().map_err(|error| ca.bad("authority", error))?;
            (builder.with_client_cert_verifier(Arc::clone(&clients)), Some(clients))
        }
    };
    let mut config = builder.with_single_cert(chain, key.key()?).map_err(|error| cert.bad("certificate", error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    if ca.is_some() {
        // a resumed session shows no certificate again: it would outlive its revocation and its authority
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Tls { config: Arc::new(config), clients })
}
