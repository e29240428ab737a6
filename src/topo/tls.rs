//! rustls settings for connections that do not go through tonic.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::access::Tls;

/// Builds the settings; ring is the provider.
///
/// # Errors
/// A text that says which part is wrong, without quoting it.
pub(crate) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(pem) => {
            for certificate in certificates(pem).map_err(|e| format!("bad certificate of an authority: {e}"))? {
                roots.add(certificate).map_err(|e| format!("bad certificate of an authority: {e}"))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate).map_err(|e| format!("bad certificate: {e}"))?;
            // the library's error is left out: nothing of a key is to be printed
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is not one in PEM".to_owned())?;
            builder.with_client_auth_cert(chain, key).map_err(|e| format!("certificate and key do not fit: {e}"))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(_) => Err("not PEM".to_owned()),
    }
}
