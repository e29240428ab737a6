//! Validated settings: the sum of the components' options.

mod fallback;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Cli;
use crate::context;
use crate::server;
use crate::tablet::TlsOptions;
use crate::topo::EtcdOptions;

/// Why the program cannot start with these flags.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{given} is set, but not {missing}: give all of --topo_implementation, --topo_global_server_address and --topo_global_root, or none to try out in memory"
    )]
    HalfTopology { given: String, missing: String },
    #[error("bad value for --{flag}: {detail}")]
    BadValue { flag: &'static str, detail: String },
    #[error("cannot read --{flag} {}: {source}", path.display())]
    Unreadable { flag: &'static str, path: PathBuf, source: std::io::Error },
}

/// Where the own cluster's topology is.
#[derive(Clone, Debug)]
pub struct TopoOptions {
    pub implementation: String,
    pub server: String,
    pub root: String,
}

/// Everything that the program needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub topo: TopoOptions,
    /// True when no topology flag was given: everything is in memory and gone at the end.
    pub trying_out: bool,
    pub etcd: EtcdOptions,
    pub tablet_tls: TlsOptions,
    pub remote_operation_timeout: Duration,
    pub grpc_address: SocketAddr,
    pub http_address: Option<SocketAddr>,
    pub max_message: usize,
    pub serve_vtctld: bool,
    /// The legacy command service.
    pub serve_vtctl: bool,
    pub fallback: Option<server::fallback::Options>,
    pub onterm_timeout: Duration,
    pub operations: context::Options,
}

impl TryFrom<Cli> for Config {
    type Error = Error;

    fn try_from(cli: Cli) -> Result<Self, Error> {
        // every flag is named here: one that nobody uses does not compile
        let Cli {
            topo_implementation,
            topo_global_server_address,
            topo_global_root,
            topo_etcd_tls_cert,
            topo_etcd_tls_key,
            topo_etcd_tls_ca,
            topo_etcd_lease_ttl,
            lock_timeout,
            remote_operation_timeout,
            cell: _,
            grpc_port,
            grpc_bind_address,
            port,
            bind_address,
            service_map,
            grpc_max_message_size,
            tablet_manager_grpc_ca,
            tablet_manager_grpc_cert,
            tablet_manager_grpc_key,
            tablet_manager_grpc_server_name,
            onterm_timeout,
            allow_unreachable_mounts,
            keep_vplayer_batching,
            allow_unfinished_complete,
            logtostderr: _,
            fallback,
        } = cli;
        let topo = topology(topo_implementation, topo_global_server_address, topo_global_root)?;
        let trying_out = topo.is_none();
        if topo_etcd_lease_ttl == 0 {
            return Err(Error::BadValue { flag: "topo_etcd_lease_ttl", detail: "it must be at least 1".into() });
        }
        let offers = |service: &str| service_map.is_empty() || service_map.iter().any(|name| name.trim() == service);
        let loopback = trying_out && grpc_bind_address.is_empty();
        let http = if port == 0 { None } else { Some(address("bind-address", &bind_address, port)?) };
        Ok(Self {
            topo: topo.unwrap_or_else(|| TopoOptions {
                implementation: "memory".into(),
                server: "local".into(),
                root: "/vitess/global".into(),
            }),
            trying_out,
            etcd: EtcdOptions {
                tls_cert: read("topo_etcd_tls_cert", topo_etcd_tls_cert)?,
                tls_key: read("topo_etcd_tls_key", topo_etcd_tls_key)?,
                tls_ca: read("topo_etcd_tls_ca", topo_etcd_tls_ca)?,
            },
            tablet_tls: TlsOptions {
                ca: read("tablet_manager_grpc_ca", tablet_manager_grpc_ca)?,
                cert: read("tablet_manager_grpc_cert", tablet_manager_grpc_cert)?,
                key: read("tablet_manager_grpc_key", tablet_manager_grpc_key)?,
                server_name: tablet_manager_grpc_server_name,
            },
            remote_operation_timeout,
            grpc_address: if loopback {
                SocketAddr::from((Ipv4Addr::LOCALHOST, grpc_port))
            } else {
                address("grpc_bind_address", &grpc_bind_address, grpc_port)?
            },
            http_address: http,
            max_message: grpc_max_message_size,
            serve_vtctld: offers("grpc-vtctld"),
            serve_vtctl: offers("grpc-vtctl"),
            fallback: fallback::options(fallback, grpc_max_message_size)?,
            onterm_timeout,
            operations: context::Options {
                lease_ttl: Duration::from_secs(topo_etcd_lease_ttl.min(30)),
                lock_timeout,
                allow_unreachable_mounts,
                keep_vplayer_batching,
                allow_unfinished_complete,
            },
        })
    }
}

/// All three topology flags, or none.
fn topology(kind: Option<String>, server: Option<String>, root: Option<String>) -> Result<Option<TopoOptions>, Error> {
    match (kind, server, root) {
        (None, None, None) => Ok(None),
        (Some(implementation), Some(server), Some(root)) => Ok(Some(TopoOptions { implementation, server, root })),
        (kind, server, root) => {
            let flags = [
                ("--topo_implementation", kind.is_some()),
                ("--topo_global_server_address", server.is_some()),
                ("--topo_global_root", root.is_some()),
            ];
            let list = |set: bool| {
                flags.iter().filter(|(_, given)| *given == set).map(|(name, _)| *name).collect::<Vec<_>>().join(" and ")
            };
            Err(Error::HalfTopology { given: list(true), missing: list(false) })
        }
    }
}

fn read(flag: &'static str, path: Option<PathBuf>) -> Result<Option<Vec<u8>>, Error> {
    let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else { return Ok(None) };
    std::fs::read(&path).map(Some).map_err(|source| Error::Unreadable { flag, path, source })
}

fn address(flag: &'static str, host: &str, port: u16) -> Result<SocketAddr, Error> {
    if host.is_empty() {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let ip: IpAddr = host.parse().map_err(|e| Error::BadValue { flag, detail: format!("{host}: {e}") })?;
    Ok(SocketAddr::from((ip, port)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, Error> {
        Cli::parse_from(std::iter::once("vtmigrated").chain(flags.iter().copied())).try_into()
    }

    #[test]
    fn no_topology_is_memory_on_loopback_and_half_of_one_is_refused() {
        let trying = config(&[]).unwrap();
        assert!(trying.trying_out);
        assert_eq!(trying.grpc_address.to_string(), "127.0.0.1:15999");
        let half = config(&["--topo-implementation", "etcd2"]).unwrap_err().to_string();
        assert!(
            half.starts_with(
                "--topo_implementation is set, but not --topo_global_server_address and --topo_global_root"
            )
        );
    }

    #[test]
    fn services_follow_the_service_map() {
        assert!(config(&[]).unwrap().serve_vtctld);
        assert!(config(&["--service-map", "grpc-vtctl,grpc-vtctld"]).unwrap().serve_vtctld);
        let legacy = config(&["--service-map", "grpc-vtctl"]).unwrap();
        assert!(!legacy.serve_vtctld && legacy.serve_vtctl);
        assert!(!config(&["--service-map", "grpc-vtctld"]).unwrap().serve_vtctl);
    }
}
