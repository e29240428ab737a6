//! Who calls: a user of the password file, or the subject of a client certificate.
//!
//! Files, metadata keys and answers are those of stock's `static` and `mtls` plugins.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use super::listen::Peer;
use super::{Error, Result, Watched, subject};

/// The `--grpc_auth_*` flags.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// Everybody may call.
    #[default]
    Open,
    /// User and password in the metadata, checked against a file.
    Static { file: PathBuf },
    /// A client certificate whose subject holds one of these texts.
    Mtls { substrings: Vec<String> },
}

/// A caller as the audit log names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// User name, or common name of the certificate; empty when nobody has to say who he is.
    pub name: String,
    /// Whole subject of the certificate; empty without one.
    pub subject: String,
}

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("username and password must be provided")]
    NoCredentials,
    #[error("auth failure: caller {0:?} provided invalid credentials")]
    WrongCredentials(String),
    #[error("not connected via TLS")]
    NoTls,
    #[error("client certificate not authorized")]
    WrongCertificate,
}

impl Refusal {
    /// True when the caller said nothing of himself that could be checked.
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(self, Self::WrongCredentials(_))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    username: String,
    password: String,
}

/// Checks callers.
pub enum Auth {
    Open,
    Static(Arc<Watched<Passwords>>),
    Mtls(Vec<String>),
}

/// Users with their passwords; a user may have several.
pub struct Passwords(Vec<Entry>);

impl Auth {
    /// # Errors
    /// A password file that cannot be read or is no list of users; no substring for certificates.
    pub fn load(mode: Mode) -> Result<Self> {
        match mode {
            Mode::Open => Ok(Self::Open),
            Mode::Static { file } => {
                let path = file.clone();
                let make =
                    move |contents: &[Vec<u8>]| passwords(&path, contents.first().map_or(&[][..], Vec::as_slice));
                Watched::new(vec![file], make).map(Self::Static)
            }
            Mode::Mtls { substrings } if substrings.is_empty() => {
                Err(Error::Flags("--grpc_auth_mode mtls needs --grpc_auth_mtls_allowed_substrings".into()))
            }
            Mode::Mtls { substrings } => Ok(Self::Mtls(substrings)),
        }
    }

    /// Who calls, by the connection and the call's metadata.
    ///
    /// # Errors
    /// Why the caller is not let in.
    pub fn check(&self, peer: Option<&Peer>, metadata: &HeaderMap) -> std::result::Result<Caller, Refusal> {
        let text = |key: &str| metadata.get(key).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
        match self {
            Self::Open => {
                let shown = peer.and_then(|peer| subject::of(peer.certificates.first()?)).unwrap_or_default();
                Ok(Caller { name: shown.1, subject: shown.0 })
            }
            Self::Static(users) => {
                let (Some(name), Some(password)) = (text("username"), text("password")) else {
                    return Err(Refusal::NoCredentials);
                };
                if users.get().hold(name, password) {
                    return Ok(Caller { name: name.to_owned(), subject: String::new() });
                }
                Err(Refusal::WrongCredentials(name.chars().filter(|c| !c.is_control()).take(64).collect()))
            }
            Self::Mtls(substrings) => {
                let peer = peer.filter(|peer| peer.tls).ok_or(Refusal::NoTls)?;
                let subjects = peer.certificates.iter().filter_map(|der| subject::of(der));
                for (subject, name) in subjects {
                    if substrings.iter().any(|wanted| subject.contains(wanted.as_str())) {
                        return Ok(Caller { name, subject });
                    }
                }
                Err(Refusal::WrongCertificate)
            }
        }
    }
}

impl Passwords {
    /// Compares with every entry, each in a time that does not depend on how much of it is right.
    fn hold(&self, name: &str, password: &str) -> bool {
        let same = |a: &str, b: &str| a.as_bytes().ct_eq(b.as_bytes());
        let found = self.0.iter().fold(Choice::from(0), |found, entry| {
            found | (same(&entry.username, name) & same(&entry.password, password))
        });
        found.into()
    }
}

fn passwords(path: &std::path::Path, text: &[u8]) -> Result<Passwords> {
    // the parser's own words would quote the file
    let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| Error::Bad {
        path: path.to_owned(),
        what: "list of users",
        detail: format!(
            "line {}, column {}: expected [{{\"Username\": …, \"Password\": …}}]",
            error.line(),
            error.column()
        ),
    })?;
    Ok(Passwords(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Auth> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.json");
        std::fs::write(&file, text).unwrap();
        Auth::load(Mode::Static { file })
    }

    fn metadata(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(key, value)| (http::HeaderName::from_static(key), value.parse().unwrap())).collect()
    }

    #[test]
    fn passwords_are_checked_with_stocks_answers() {
        let auth = users(r#"[{"Username":"ann","Password":"one"},{"Username":"ann","Password":"two"}]"#).unwrap();
        let check = |pairs: &[(&'static str, &str)]| auth.check(None, &metadata(pairs));
        for password in ["one", "two"] {
            assert_eq!(check(&[("username", "ann"), ("password", password)]).unwrap().name, "ann");
        }
        assert_eq!(check(&[]).unwrap_err(), Refusal::NoCredentials);
        assert_eq!(check(&[("username", "ann")]).unwrap_err(), Refusal::NoCredentials);
        for (user, password) in [("ann", "three"), ("bob", "one"), ("an", "none")] {
            let refused = check(&[("username", user), ("password", password)]).unwrap_err();
            assert_eq!(refused.to_string(), format!("auth failure: caller \"{user}\" provided invalid credentials"));
            assert!(!refused.is_unauthenticated());
        }
    }

    #[test]
    fn a_bad_file_is_refused_without_showing_it() {
        let error = users(r#"[{"Username":"ann","Password":secret}]"#).err().unwrap().to_string();
        assert!(error.contains("holds no usable list of users: line 1") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn certificates_need_tls() {
        let auth = Auth::load(Mode::Mtls { substrings: vec!["CN=ops".into()] }).unwrap();
        assert_eq!(auth.check(None, &HeaderMap::new()).unwrap_err(), Refusal::NoTls);
        let peer = Peer { address: None, tls: true, certificates: Arc::default() };
        assert_eq!(auth.check(Some(&peer), &HeaderMap::new()).unwrap_err(), Refusal::WrongCertificate);
    }
}
