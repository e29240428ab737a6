//! Flags, spelled as stock spells them: `--name value`, `--name=value`, with `_` and with `-`.

pub mod fallback;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};

/// The flags that mean something to this program.
#[derive(Clone, Debug, Parser)]
#[command(name = "vtmigrated", version, about = "A vtctld that brings keyspaces from one Vitess cluster into another")]
pub struct Cli {
    /// Kind of the topology: etcd2 (or memory, for trying out)
    #[arg(long)]
    pub topo_implementation: Option<String>,
    /// Addresses of the global topology servers, separated by commas
    #[arg(long)]
    pub topo_global_server_address: Option<String>,
    /// Root of the global topology
    #[arg(long)]
    pub topo_global_root: Option<String>,
    /// Certificate for etcd
    #[arg(long)]
    pub topo_etcd_tls_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long)]
    pub topo_etcd_tls_key: Option<PathBuf>,
    /// Authorities that etcd's certificate is checked against
    #[arg(long)]
    pub topo_etcd_tls_ca: Option<PathBuf>,
    /// Seconds that a lock outlives this program, at most 30
    #[arg(long, default_value_t = 30)]
    pub topo_etcd_lease_ttl: u64,
    /// How long to wait for locks that others hold
    #[arg(long, default_value = "45s", value_parser = humantime::parse_duration)]
    pub lock_timeout: Duration,
    /// Bound of calls that a healthy tablet answers at once
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    pub remote_operation_timeout: Duration,
    /// Cell of this server
    #[arg(long, default_value = "")]
    pub cell: String,
    /// Port of the gRPC server
    #[arg(long, default_value_t = 15999)]
    pub grpc_port: u16,
    /// Address that the gRPC server listens on; all when empty
    #[arg(long, default_value = "")]
    pub grpc_bind_address: String,
    /// Port of the HTTP server; none when 0
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Address that the HTTP server listens on; all when empty
    #[arg(long, default_value = "")]
    pub bind_address: String,
    /// Services to offer: grpc-vtctld, grpc-vtctl; all when absent
    #[arg(long, value_delimiter = ',')]
    pub service_map: Vec<String>,
    /// Largest gRPC message, in bytes
    #[arg(long, default_value_t = 16 << 20)]
    pub grpc_max_message_size: usize,
    /// Authorities that tablets' certificates are checked against
    #[arg(long)]
    pub tablet_manager_grpc_ca: Option<PathBuf>,
    /// Certificate shown to tablets
    #[arg(long)]
    pub tablet_manager_grpc_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long)]
    pub tablet_manager_grpc_key: Option<PathBuf>,
    /// Name expected in tablets' certificates
    #[arg(long)]
    pub tablet_manager_grpc_server_name: Option<String>,
    /// How long calls under way may take when the program is told to stop
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub onterm_timeout: Duration,
    /// Take mounts whose topology cannot be reached or is empty
    #[arg(long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub allow_unreachable_mounts: bool,
    /// Leave the batching of changes to the target tablets' settings instead of switching it off
    #[arg(long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub keep_vplayer_batching: bool,
    /// Let complete end workflows that are not done
    #[arg(long, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub allow_unfinished_complete: bool,
    /// Log to standard error (always so)
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub logtostderr: bool,
    #[command(flatten)]
    pub fallback: fallback::Args,
}

impl Cli {
    /// Parses the program's arguments; prints help, version or the error and ends the program as clap does.
    pub fn from_args() -> Self {
        Self::parse_from(normalize(std::env::args_os()))
    }
}

/// `--topo_global_root=/x` becomes `--topo-global-root=/x`; values stay as they are.
pub fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut only_values = false;
    let spell = |arg: OsString| {
        let Some(text) = arg.to_str() else { return arg };
        only_values |= text == "--";
        match text.strip_prefix("--") {
            Some(flag) if !only_values => {
                let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
                let name = name.replace('_', "-");
                OsString::from(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")))
            }
            _ => arg,
        }
    };
    args.into_iter().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_and_dashes_are_the_same_in_names_only() {
        let args = ["x", "--topo_global_root=/a_b", "--grpc_port", "1_2", "--", "--a_b"];
        let expected = ["x", "--topo-global-root=/a_b", "--grpc-port", "1_2", "--", "--a_b"];
        assert_eq!(normalize(args.map(OsString::from)), expected.map(OsString::from));
    }

    #[test]
    fn booleans_take_a_value_or_none() {
        let parse = |flag: &str| Cli::try_parse_from(normalize(["x", flag].map(OsString::from))).unwrap();
        assert!(parse("--allow_unreachable_mounts").allow_unreachable_mounts);
        assert!(!parse("--allow-unreachable-mounts=false").allow_unreachable_mounts);
    }
}
