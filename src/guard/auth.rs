//! Who calls: a user of the password file, or the subject of a client certificate.
//!
//! Files, metadata keys and answers are those of stock's `static` and `mtls` plugins.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use ring::digest::{Digest, SHA256, SHA256_OUTPUT_LEN, digest};
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use super::listen::Peer;
use super::{Error, Result, Watched};

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
    /// Since the connection was opened.
    #[error(
        "client certificate not authorized: it was revoked, or its CA was removed, after the connection was \
         made\nconnect with another certificate"
    )]
    Withdrawn,
}

impl Refusal {
    /// True when the caller said nothing of himself that could be checked.
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(self, Self::WrongCredentials(_))
    }
}

/// One user as the file has him.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    username: String,
    #[serde(default)]
    password: String,
    /// Hex of SHA-256 of SHA-256 of the password, a `*` before it or not; counts instead of the password. Of Vitess 25.
    #[serde(default)]
    caching_sha2_password: String,
}

struct Entry {
    username: String,
    secret: Secret,
}

enum Secret {
    Plain(String),
    Hashed(Vec<u8>),
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
                let (subject, name) = peer.and_then(certified).unwrap_or_default();
                Ok(Caller { name, subject })
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
                let (subject, name) = certified(peer).ok_or(Refusal::WrongCertificate)?;
                match substrings.iter().any(|wanted| subject.contains(wanted.as_str())) {
                    true => Ok(Caller { name, subject }),
                    false => Err(Refusal::WrongCertificate),
                }
            }
        }
    }
}

/// Subject and common name of the certificate that the handshake has verified.
fn certified(peer: &Peer) -> Option<(String, String)> {
    peer.certificate.as_ref()?.names().cloned()
}

impl Passwords {
    /// Compares with every entry, each in a time that does not depend on how much of it is right.
    fn hold(&self, name: &str, password: &str) -> bool {
        let hashed = self.0.iter().any(|entry| matches!(entry.secret, Secret::Hashed(_))).then(|| twice(password));
        let found = self.0.iter().fold(Choice::from(0), |found, entry| {
            let same = match (&entry.secret, &hashed) {
                (Secret::Plain(plain), _) => plain.as_bytes().ct_eq(password.as_bytes()),
                (Secret::Hashed(wanted), Some(hashed)) => wanted.ct_eq(hashed.as_ref()),
                (Secret::Hashed(_), None) => Choice::from(0),
            };
            found | (entry.username.as_bytes().ct_eq(name.as_bytes()) & same)
        });
        found.into()
    }
}

/// SHA-256 of SHA-256, as MySQL's `caching_sha2_password` keeps passwords.
fn twice(password: &str) -> Digest {
    digest(&SHA256, digest(&SHA256, password.as_bytes()).as_ref())
}

/// The bytes of 64 hex digits.
fn hash(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('*').unwrap_or(text).as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = digits.len() == 2 * SHA256_OUTPUT_LEN && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| digits.chunks(2).map(byte).collect()).flatten()
}

fn passwords(path: &std::path::Path, text: &[u8]) -> Result<Passwords> {
    // the parser's own words would quote the file
    let bad = |detail: String| Error::Bad { path: path.to_owned(), what: "list of users", detail };
    let written: Vec<Written> = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        bad(format!("line {line}, column {column}: expected [{{\"Username\": …, \"Password\": …}}]"))
    })?;
    let entry = |(at, written): (usize, Written)| {
        let secret = match written.caching_sha2_password.as_str() {
            "" => Secret::Plain(written.password),
            text => Secret::Hashed(hash(text).ok_or_else(|| {
                bad(format!(
                    "entry {at}: CachingSha2Password is not 64 hex digits, of SHA-256 of SHA-256 of the password"
                ))
            })?),
        };
        Ok(Entry { username: written.username, secret })
    };
    written.into_iter().enumerate().map(entry).collect::<Result<_>>().map(Passwords)
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
    fn hashed_passwords_are_checked_as_vitess_25_does() {
        // of `one`, made with sha256sum
        let hash = "fe8d7a873dc48961a6af334c996b2cb3ce37149d5ce9c9253952a54c6a92c1ad";
        let file = format!(
            r#"[{{"Username":"ann","CachingSha2Password":"*{}","Password":"plain"}},{{"Username":"bob","CachingSha2Password":"{hash}"}}]"#,
            hash.to_uppercase()
        );
        let auth = users(&file).unwrap();
        let check =
            |user: &str, password: &str| auth.check(None, &metadata(&[("username", user), ("password", password)]));
        for user in ["ann", "bob"] {
            assert_eq!(check(user, "one").unwrap().name, user);
            for wrong in ["plain", "two", hash, "*"] {
                check(user, wrong).unwrap_err();
            }
        }
        for bad in ["planted", "*", &hash[1..], &format!("**{hash}"), &format!("{}é", &hash[2..])] {
            let file = format!(r#"[{{"Username":"ann"}},{{"Username":"bob","CachingSha2Password":"{bad}"}}]"#);
            let error = users(&file).err().unwrap().to_string();
            assert!(error.contains("entry 1: CachingSha2Password is not 64 hex digits"), "{error}");
            assert!(!error.contains("planted"), "{error}");
        }
        // as stock: an entry without any password is read, and lets nobody in
        let nobody = users(r#"[{"Username":"ann"}]"#).unwrap();
        nobody.check(None, &metadata(&[("username", "ann"), ("password", "")])).unwrap_err();
    }

    #[test]
    fn a_bad_file_is_refused_without_showing_it() {
        let error = users(r#"[{"Username":"ann","Password":secret}]"#).err().unwrap().to_string();
        assert!(error.contains("contains no usable list of users: line 1") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn certificates_need_tls() {
        let auth = Auth::load(Mode::Mtls { substrings: vec!["CN=ops".into()] }).unwrap();
        assert_eq!(auth.check(None, &HeaderMap::new()).unwrap_err(), Refusal::NoTls);
        let peer = Peer { address: None, tls: true, certificate: None, answers: Arc::default() };
        assert_eq!(auth.check(Some(&peer), &HeaderMap::new()).unwrap_err(), Refusal::WrongCertificate);
    }
}
