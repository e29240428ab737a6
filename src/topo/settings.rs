//! TLS and credentials of single mounts and servers, from a file of this server (`--mount-settings`).
//!
//! The file is a JSON object. A key is the name of a mount, or the address of a topology server for every connection to it.
//! Credentials of a mount are only shown to the servers that its entry lists: whoever may register a mount could else
//! have them sent anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::access::{Access, Secret, Tls};
use super::{Error, Result};
use crate::tls::Files;

/// The entries of the file.
#[derive(Clone, Debug, Default)]
pub struct MountSettings {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    servers: BTreeSet<String>,
    plaintext: bool,
    access: Access,
}

/// One entry as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    servers: Vec<String>,
    tls: Option<WrittenTls>,
    /// No TLS, whatever the flags say.
    #[serde(default)]
    plaintext: bool,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    consul_token: Option<String>,
    consul_token_file: Option<PathBuf>,
    zk_auth: Option<String>,
    zk_auth_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

/// Reads a file that the settings name.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

impl MountSettings {
    /// Reads the text of the file; `read` reads the files that it names.
    ///
    /// # Errors
    /// What is wrong, by entry and field, without any value.
    pub fn parse(text: &[u8], read: ReadFile<'_>) -> std::result::Result<Self, String> {
        // serde's own texts quote values
        let place = |e: serde_json::Error| format!("line {}, column {}: unexpected content", e.line(), e.column());
        let written: BTreeMap<String, Written> = serde_json::from_slice(text).map_err(place)?;
        let mut entries = BTreeMap::new();
        for (key, written) in written {
            let entry = entry(&key, written, read).map_err(|why| format!("entry {key}: {why}"))?;
            entries.insert(key, entry);
        }
        Ok(Self { entries })
    }

    /// What a connection to `server` shows, over what the flags say in `base`, and whether an entry names the server.
    ///
    /// # Errors
    /// [`Error::WrongServer`] when the mount has settings, but not for this server. With `cell`, the address is that of a
    /// cell of the mount, which may have none.
    pub(super) fn access(&self, mount: Option<&str>, cell: bool, server: &str, base: Access) -> Result<(Access, bool)> {
        let asked = addresses(server);
        let fits = |entry: &&Entry| asked.is_subset(&entry.servers);
        let named = mount.and_then(|name| self.entries.get(name));
        if let (Some(mount), Some(entry), false) = (mount, named, cell)
            && !fits(&entry)
        {
            return Err(Error::WrongServer { mount: mount.to_owned(), server: server.to_owned() });
        }
        let by_address = || self.entries.iter().find(|(key, e)| addresses(key) == asked && fits(e)).map(|(_, e)| e);
        let Some(entry) = named.filter(fits).or_else(by_address) else { return Ok((base, false)) };
        let tls = if entry.plaintext { None } else { entry.access.tls.clone().or(base.tls) };
        let access = Access {
            tls,
            user: entry.access.user.clone().or(base.user),
            token: entry.access.token.clone().or(base.token),
            auth: entry.access.auth.clone().or(base.auth),
            stranger: false,
        };
        Ok((access, true))
    }
}

fn entry(key: &str, written: Written, read: ReadFile<'_>) -> std::result::Result<Entry, String> {
    let mut servers: BTreeSet<String> = written.servers.iter().flat_map(|server| addresses(server)).collect();
    if key.contains(':') {
        servers.extend(addresses(key));
    }
    if servers.is_empty() {
        return Err("servers is missing: the addresses that these credentials may be shown to".into());
    }
    let secret = |field: &str, plain: Option<String>, file: Option<PathBuf>| match (plain, file) {
        (Some(_), Some(_)) => Err(format!("{field} and {field}_file are both given")),
        (Some(plain), None) => Ok(Some(plain)),
        (None, Some(file)) => {
            let text = read(&file).map_err(|e| format!("{field}_file {}: {e}", file.display()))?;
            let text = String::from_utf8(text).map_err(|_| format!("{field}_file {}: not text", file.display()))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    };
    let password = secret("password", written.password, written.password_file)?;
    let user = match (written.user, password) {
        (Some(user), Some(password)) => Some((user, Secret::new(password))),
        (None, None) => None,
        (Some(_), None) => return Err("user is given without password".into()),
        (None, Some(_)) => return Err("password is given without user".into()),
    };
    let auth = match secret("zk_auth", written.zk_auth, written.zk_auth_file)? {
        Some(text) => Some(Access::zookeeper_auth(&text).ok_or("zk_auth is not <scheme>:<credentials>")?),
        None => None,
    };
    let token = secret("consul_token", written.consul_token, written.consul_token_file)?.map(Secret::new);
    let tls = written.tls.map(tls_of).transpose()?;
    if tls.is_some() && written.plaintext {
        return Err("tls and plaintext are both given".into());
    }
    Ok(Entry { servers, plaintext: written.plaintext, access: Access { tls, user, token, auth, stranger: false } })
}

fn tls_of(written: WrittenTls) -> std::result::Result<Tls, String> {
    let WrittenTls { ca, cert, key, server_name } = written;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err("tls.cert and tls.key belong together".into()),
    };
    Files { ca, identity, server_name }.load().map_err(|error| format!("tls: {error}"))
}

/// The addresses of a server list, without schemes. `|` stands before ZooKeeper's observers.
pub(super) fn addresses(server: &str) -> BTreeSet<String> {
    let one = |address: &str| address.rsplit_once("://").map_or(address, |(_, rest)| rest).trim().to_owned();
    server.split([',', '|']).map(one).filter(|address| !address.is_empty()).collect()
}

#[cfg(test)]
mod tests;
