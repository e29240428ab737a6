//! From the flags of the topologies, and what Consul's own clients take from the environment, to their options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use super::parts::{read, topo_tls};
use crate::cli::TopologiesArgs;
use crate::tls::{Files, Tls};
use crate::topo::access::{Access, Secret};
use crate::topo::settings::MountSettings;
use crate::topo::{ConsulOptions, EtcdOptions, Options, ZookeeperOptions};

/// Reads the files that the flags name.
///
/// # Errors
/// The flag and what is wrong, without any value of a file.
pub(super) fn options(args: TopologiesArgs, etcd: EtcdOptions) -> Result<Options, Error> {
    let TopologiesArgs {
        mount_settings,
        topo_zk_auth_file,
        topo_zk_base_timeout,
        topo_zk_max_concurrency,
        topo_zk_tls_cert,
        topo_zk_tls_key,
        topo_zk_tls_ca,
        consul_auth_static_file,
        topo_consul_watch_poll_duration,
        topo_consul_lock_session_ttl,
        topo_consul_lock_session_checks,
        topo_consul_lock_delay,
    } = args;
    let mounts = match read("mount_settings", mount_settings)? {
        Some(text) => MountSettings::parse(&text, &|path: &Path| std::fs::read(path))
            .map_err(|detail| Error::BadValue { flag: "mount_settings", detail })?,
        None => MountSettings::default(),
    };
    let zookeeper = ZookeeperOptions {
        base_timeout: topo_zk_base_timeout,
        max_concurrency: topo_zk_max_concurrency,
        tls: topo_tls("topo_zk_tls", topo_zk_tls_ca, topo_zk_tls_cert, topo_zk_tls_key)?,
        auth: zookeeper_auth(read("topo_zk_auth_file", topo_zk_auth_file)?)?,
    };
    let consul = ConsulOptions {
        poll: topo_consul_watch_poll_duration,
        lock_session_ttl: session_ttl(&topo_consul_lock_session_ttl)?,
        lock_session_checks: list(&topo_consul_lock_session_checks),
        lock_delay: topo_consul_lock_delay,
        tokens: tokens(read("consul_auth_static_file", consul_auth_static_file)?)?,
        token: environment("CONSUL_HTTP_TOKEN").map(Secret::new),
        tls: consul_tls()?,
    };
    Ok(Options { etcd, zookeeper, consul, mounts })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn zookeeper_auth(text: Option<Vec<u8>>) -> Result<Option<(String, Secret)>, Error> {
    let Some(text) = text else { return Ok(None) };
    let auth = String::from_utf8(text).ok().and_then(|text| Access::zookeeper_auth(&text));
    let bad = || Error::BadValue { flag: "topo_zk_auth_file", detail: "the file is not <scheme>:<auth>".into() };
    auth.map(Some).ok_or_else(bad)
}

fn session_ttl(text: &str) -> Result<Option<Duration>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = |detail: String| Error::BadValue { flag: "topo_consul_lock_session_ttl", detail };
    let ttl = humantime::parse_duration(text).map_err(|e| bad(e.to_string()))?;
    if ttl.is_zero() { Err(bad("it must be greater than 0".into())) } else { Ok(Some(ttl)) }
}

/// Stock's file: an object from cell to `{"acl_token": …}`. One without any is a mistake, as from Vitess 23 on.
fn tokens(text: Option<Vec<u8>>) -> Result<BTreeMap<String, Secret>, Error> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        acl_token: String,
    }
    let Some(text) = text else { return Ok(BTreeMap::new()) };
    // serde's own text quotes values
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&text).map_err(|e| Error::BadValue {
        flag: "consul_auth_static_file",
        detail: format!("line {}, column {}: unexpected content", e.line(), e.column()),
    })?;
    if entries.is_empty() {
        let detail = "Found no credentials in consul_auth_static_file: give each cell its acl_token";
        return Err(Error::BadValue { flag: "consul_auth_static_file", detail: detail.into() });
    }
    let entries = entries.into_iter().filter(|(_, entry)| !entry.acl_token.is_empty());
    Ok(entries.map(|(cell, entry)| (cell, Secret::new(entry.acl_token))).collect())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// TLS as Consul's own clients take it from the environment.
fn consul_tls() -> Result<Option<Tls>, Error> {
    let on = environment("CONSUL_HTTP_SSL").is_some_and(|value| matches!(value.as_str(), "1" | "t" | "true" | "TRUE"));
    if !on {
        return Ok(None);
    }
    let file = |name| environment(name).map(PathBuf::from);
    let files = Files {
        ca: file("CONSUL_CACERT"),
        identity: file("CONSUL_CLIENT_CERT").zip(file("CONSUL_CLIENT_KEY")),
        server_name: environment("CONSUL_TLS_SERVER_NAME"),
    };
    let bad =
        |error: crate::watched_files::Error| Error::BadValue { flag: "CONSUL_HTTP_SSL", detail: error.to_string() };
    files.load().map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens_has_some_and_its_errors_show_none() {
        let read = |text: &str| tokens(Some(text.as_bytes().to_vec()));
        assert!(tokens(None).unwrap().is_empty());
        let found = read(r#"{"global": {"acl_token": "planted"}, "zone1": {}}"#).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["global"]);
        let none = read("{}").unwrap_err().to_string();
        assert!(none.contains("Found no credentials in consul_auth_static_file"), "{none}");
        for bad in [r#"{"zone1": "planted"}"#, "planted", r#"{"zone1": {"acl_token": planted}}"#, ""] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("line 1, column ") && !error.contains("planted"), "{error}");
        }
    }
}
