//! From each group of flags to the options of its component. Every flag is named: one that nobody uses does not compile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, Error, TopoOptions};
use crate::cli::{GrpcArgs, GuardArgs, HttpArgs, LogArgs, StatsArgs, TabletArgs, TopoArgs, VtmigratedArgs};
use crate::telemetry::log::{self, Format, Severity};
use crate::telemetry::metrics;
use crate::tls::{self, Tls};
use crate::topo::EtcdOptions;
use crate::{context, guard, server, tablet, watch, web};

/// Durations past this are none: Go's largest one means "never".
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(super) struct Topology {
    pub own: TopoOptions,
    pub trying_out: bool,
    pub etcd: EtcdOptions,
    pub lease_ttl: Duration,
    pub lock_timeout: Duration,
    pub cell: String,
}

pub(super) struct Grpc {
    pub address: Address,
    pub server: server::Options,
    pub to_tablets: tablet::Transport,
}

pub(super) fn topology(args: TopoArgs) -> Result<Topology, Error> {
    let TopoArgs {
        topo_implementation,
        topo_global_server_address,
        topo_global_root,
        topo_etcd_tls_cert,
        topo_etcd_tls_key,
        topo_etcd_tls_ca,
        topo_etcd_lease_ttl,
        topo_read_concurrency,
        lock_timeout,
        cell,
    } = args;
    if topo_etcd_lease_ttl == 0 {
        return Err(Error::BadValue { flag: "topo_etcd_lease_ttl", detail: "it must be at least 1".into() });
    }
    if topo_read_concurrency == 0 {
        return Err(Error::BadValue { flag: "topo_read_concurrency", detail: "it must be at least 1".into() });
    }
    let given = own_topology(topo_implementation, topo_global_server_address, topo_global_root)?;
    let trying_out = given.is_none();
    let (implementation, server, root) =
        given.unwrap_or_else(|| ("memory".into(), "local".into(), "/vitess/global".into()));
    Ok(Topology {
        own: TopoOptions { implementation, server, root, read_concurrency: topo_read_concurrency },
        trying_out,
        etcd: EtcdOptions { tls: topo_tls("topo_etcd_tls", topo_etcd_tls_ca, topo_etcd_tls_cert, topo_etcd_tls_key)? },
        lease_ttl: Duration::from_secs(topo_etcd_lease_ttl.min(30)),
        lock_timeout,
        cell,
    })
}

/// All three topology flags, or none.
fn own_topology(
    kind: Option<String>,
    server: Option<String>,
    root: Option<String>,
) -> Result<Option<(String, String, String)>, Error> {
    match (kind, server, root) {
        (None, None, None) => Ok(None),
        (Some(kind), Some(server), Some(root)) => Ok(Some((kind, server, root))),
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

pub(super) fn grpc(args: GrpcArgs, trying_out: bool) -> Result<Grpc, Error> {
    let GrpcArgs {
        grpc_port,
        grpc_bind_address,
        service_map,
        grpc_max_message_size,
        grpc_max_connection_age,
        grpc_max_connection_age_grace,
        grpc_server_initial_window_size,
        grpc_server_initial_conn_window_size,
        grpc_server_keepalive_time,
        grpc_server_keepalive_timeout,
        grpc_keepalive_time,
        grpc_keepalive_timeout,
        grpc_initial_window_size,
        grpc_initial_conn_window_size,
        grpc_compression,
    } = args;
    let loopback = trying_out && grpc_bind_address.is_empty();
    let host = if loopback { "127.0.0.1".to_owned() } else { grpc_bind_address };
    let snappy = match grpc_compression.as_str() {
        "" => false,
        "snappy" => true,
        other => {
            let detail = format!("{other}: snappy is the only compression of calls to tablets");
            return Err(Error::BadValue { flag: "grpc_compression", detail });
        }
    };
    Ok(Grpc {
        address: Address { host, port: grpc_port },
        server: server::Options {
            max_message: grpc_max_message_size,
            services: server::Services::from_map(&service_map),
            max_connection_age: sometime(grpc_max_connection_age),
            max_connection_age_grace: sometime(grpc_max_connection_age_grace),
            stream_window: window(grpc_server_initial_window_size),
            connection_window: window(grpc_server_initial_conn_window_size),
            keepalive_time: sometime(grpc_server_keepalive_time),
            keepalive_timeout: grpc_server_keepalive_timeout,
        },
        to_tablets: tablet::Transport {
            keepalive_time: sometime(grpc_keepalive_time),
            keepalive_timeout: grpc_keepalive_timeout,
            stream_window: window(grpc_initial_window_size),
            connection_window: window(grpc_initial_conn_window_size),
            snappy,
        },
    })
}

pub(super) fn guard(args: GuardArgs) -> Result<guard::Options, Error> {
    let GuardArgs {
        grpc_cert,
        grpc_key,
        grpc_ca,
        grpc_crl,
        grpc_server_ca,
        grpc_enable_optional_tls,
        grpc_auth_mode,
        grpc_auth_static_password_file,
        grpc_auth_mtls_allowed_substrings,
        grpc_roles_file,
        grpc_max_concurrent_calls,
        grpc_max_held_bytes,
        grpc_max_connections,
        grpc_max_concurrent_streams,
    } = args;
    let bad = |detail: &str| Error::BadValue { flag: "grpc_auth_mode", detail: detail.into() };
    let mode = match grpc_auth_mode.as_str() {
        "" => guard::Mode::Open,
        "static" => guard::Mode::Static {
            file: path(grpc_auth_static_password_file)
                .ok_or_else(|| bad("static needs --grpc_auth_static_password_file"))?,
        },
        "mtls" => {
            let substrings = grpc_auth_mtls_allowed_substrings.split(':').filter(|text| !text.is_empty());
            guard::Mode::Mtls { substrings: substrings.map(str::to_owned).collect() }
        }
        other => return Err(bad(&format!("{other}: it must be static or mtls"))),
    };
    Ok(guard::Options {
        tls: guard::tls::Options {
            cert: path(grpc_cert),
            key: path(grpc_key),
            ca: path(grpc_ca),
            crl: path(grpc_crl),
            server_ca: path(grpc_server_ca),
            optional: grpc_enable_optional_tls,
        },
        mode,
        roles: path(grpc_roles_file),
        max_calls: grpc_max_concurrent_calls.max(1),
        max_bytes: grpc_max_held_bytes,
        max_connections: grpc_max_connections.max(1),
        max_streams: grpc_max_concurrent_streams.max(1),
    })
}

pub(super) struct Http {
    pub address: Option<Address>,
    pub pages: web::Options,
    /// For the log.
    pub note: Option<String>,
}

pub(super) fn http(args: HttpArgs) -> Result<Http, Error> {
    let HttpArgs { port, bind_address, security_policy, http_callers } = args;
    let open = match http_callers.as_str() {
        "grpc" => false,
        "anybody" => true,
        other => {
            let detail = format!("{other}: it must be grpc or anybody");
            return Err(Error::BadValue { flag: "http_callers", detail });
        }
    };
    let policy = web::Policy::named(&security_policy);
    Ok(Http {
        address: (port != 0).then_some(Address { host: bind_address, port }),
        pages: web::Options { policy: policy.unwrap_or(web::Policy::DenyAll), open, ..web::Options::default() },
        note: policy
            .is_none()
            .then(|| format!("security_policy {security_policy:?} not found; using fallback policy (deny-all)")),
    })
}

pub(super) fn tablet(args: TabletArgs, grpc: &Grpc) -> Result<tablet::Options, Error> {
    let TabletArgs {
        remote_operation_timeout,
        tablet_manager_protocol,
        tablet_protocol,
        tablet_manager_grpc_ca,
        tablet_manager_grpc_cert,
        tablet_manager_grpc_key,
        tablet_manager_grpc_server_name,
        disable_active_reparents: _,
        tablet_manager_grpc_connpool_size,
    } = args;
    for (flag, protocol) in [("tablet_manager_protocol", tablet_manager_protocol), ("tablet_protocol", tablet_protocol)]
    {
        if protocol != "grpc" {
            return Err(Error::BadValue { flag, detail: format!("{protocol}: grpc is the only protocol") });
        }
    }
    let files = [tablet_manager_grpc_ca, tablet_manager_grpc_cert, tablet_manager_grpc_key];
    let tls = client_tls("tablet_manager_grpc", files, tablet_manager_grpc_server_name)?;
    Ok(tablet::Options {
        tls,
        trusted: Arc::default(),
        short: remote_operation_timeout,
        max_message: grpc.server.max_message,
        connections: tablet_manager_grpc_connpool_size.max(1),
        transport: grpc.to_tablets.clone(),
    })
}

pub(super) fn log(args: LogArgs) -> Result<log::Options, Error> {
    let LogArgs {
        logtostderr,
        alsologtostderr,
        stderrthreshold,
        verbosity,
        vmodule,
        log_dir,
        log_link,
        log_rotate_max_size,
        keep_logs,
        keep_logs_by_mtime,
        purge_logs_interval,
        vtctld_sanitize_log_messages,
        log_format,
        log_structured,
        log_level,
    } = args;
    let bad = |flag: &'static str| move |detail: String| Error::BadValue { flag, detail };
    Ok(log::Options {
        format: match log_format.as_str() {
            "" if log_structured => Format::Json,
            "" => Format::Glog,
            name => Format::named(name).map_err(bad("log_format"))?,
        },
        level: log::level(&log_level).map_err(bad("log_level"))?,
        verbosity,
        modules: log::modules(&vmodule).map_err(bad("vmodule"))?,
        only_stderr: logtostderr,
        also_stderr: alsologtostderr,
        stderr_threshold: Severity::named(&stderrthreshold).map_err(bad("stderrthreshold"))?,
        folder: path(log_dir),
        links: path(log_link),
        max_size: log_rotate_max_size,
        keep: Some(keep_logs).filter(|age| !age.is_zero()),
        keep_by_change: Some(keep_logs_by_mtime).filter(|age| !age.is_zero()),
        purge_interval: purge_logs_interval,
        sanitize: vtctld_sanitize_log_messages,
    })
}

pub(super) fn metrics(args: StatsArgs) -> metrics::Options {
    let StatsArgs { stats_drop_variables, stats_combine_dimensions } = args;
    let list = |text: String| text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    metrics::Options {
        dropped: list(stats_drop_variables),
        combined: list(stats_combine_dimensions),
        ..metrics::Options::default()
    }
}

pub(super) fn watch(args: &VtmigratedArgs) -> watch::Options {
    watch::Options { interval: args.watch_interval }
}

pub(super) fn operations(
    args: VtmigratedArgs,
    lease_ttl: Duration,
    lock_timeout: Duration,
    disable_active_reparents: bool,
) -> context::Options {
    let VtmigratedArgs {
        allow_unreachable_mounts,
        keep_vplayer_batching,
        allow_unfinished_complete,
        watch_interval: _,
    } = args;
    context::Options {
        lease_ttl,
        lock_timeout,
        allow_unreachable_mounts,
        keep_vplayer_batching,
        allow_unfinished_complete,
        disable_active_reparents,
        ..context::Options::default()
    }
}

/// TLS of the flags `<flags>_ca`, `_cert`, `_key`, `_server_name`; on, as in stock, when an authority, or a certificate with
/// its key, is given.
pub(super) fn client_tls(flags: &'static str, files: [String; 3], server_name: String) -> Result<Option<Tls>, Error> {
    let [ca, cert, key] = files.map(path);
    let identity = cert.zip(key);
    let on = ca.is_some() || identity.is_some();
    let files = tls::Files { ca, identity, server_name: Some(server_name).filter(|name| !name.is_empty()) };
    on.then(|| files.load()).transpose().map_err(|source| Error::Files { flags, source })
}

/// TLS of the flags `<flags>_ca`, `_cert` and `_key` of a topology; on when an authority, or a certificate with its key, is
/// given. In stock an authority alone has no effect.
pub(super) fn topo_tls(flags: &'static str, ca: String, cert: String, key: String) -> Result<Option<Tls>, Error> {
    client_tls(flags, [ca, cert, key], String::new())
}

/// A path that was given; an empty one was not.
fn path(text: String) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty())
}

/// The contents of a file that a flag names.
pub(super) fn read(flag: &'static str, file: String) -> Result<Option<Vec<u8>>, Error> {
    let Some(path) = path(file) else { return Ok(None) };
    std::fs::read(&path).map(Some).map_err(|source| Error::Unreadable { flag, path, source })
}

fn sometime(duration: Duration) -> Option<Duration> {
    (duration < NEVER && !duration.is_zero()).then_some(duration)
}

/// HTTP/2 windows below 64 KiB are those of the library, as in stock.
fn window(bytes: u32) -> Option<u32> {
    (bytes >= 64 << 10).then_some(bytes)
}
