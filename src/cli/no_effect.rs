//! Flags of vtctld that are accepted and have no effect here. A flag that gets one moves to the struct of its component.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction};

use super::values::{boolean, duration};

/// What a flag's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Duration,
    Text,
}

/// A flag that means nothing here.
#[derive(Clone, Copy, Debug)]
pub struct NoEffect {
    /// With dashes.
    pub name: &'static str,
    pub kind: Kind,
    /// Who gives it counts on protection: starting without would be worse than not starting.
    pub guards: bool,
}

/// By subject, ascending.
pub const NO_EFFECT: &[NoEffect] = &[
    // Revoked tablets are not known.
    guard("tablet-manager-grpc-crl", Kind::Text),
    flag("grpc-auth-static-client-creds", Kind::Text),
    // Tracing.
    flag("datadog-agent-host", Kind::Text),
    flag("datadog-agent-port", Kind::Text),
    flag("grpc-enable-tracing", Kind::Bool),
    flag("jaeger-agent-host", Kind::Text),
    flag("tracing-enable-logging", Kind::Bool),
    flag("tracing-sampling-type", Kind::Text),
    // Topologies of other kinds.
    // Metrics pushed elsewhere.
    flag("emit-stats", Kind::Bool),
    flag("grpc-prometheus", Kind::Bool),
    flag("opentsdb-uri", Kind::Text),
    flag("stats-backend", Kind::Text),
    flag("stats-common-tags", Kind::Text),
    flag("stats-emit-period", Kind::Duration),
    // Backups.
    flag("azblob-backup-account-key-file", Kind::Text),
    flag("azblob-backup-account-name", Kind::Text),
    flag("azblob-backup-buffer-size", Kind::Int),
    flag("azblob-backup-container-name", Kind::Text),
    flag("azblob-backup-parallelism", Kind::Int),
    flag("azblob-backup-storage-root", Kind::Text),
    flag("backup-engine-implementation", Kind::Text),
    flag("backup-storage-block-size", Kind::Int),
    flag("backup-storage-compress", Kind::Bool),
    flag("backup-storage-implementation", Kind::Text),
    flag("backup-storage-number-blocks", Kind::Int),
    flag("builtinbackup-file-read-buffer-size", Kind::Int),
    flag("builtinbackup-file-write-buffer-size", Kind::Int),
    flag("builtinbackup-incremental-restore-path", Kind::Text),
    flag("builtinbackup-mysqld-timeout", Kind::Duration),
    flag("builtinbackup-progress", Kind::Duration),
    flag("ceph-backup-storage-config", Kind::Text),
    flag("file-backup-storage-root", Kind::Text),
    flag("gcs-backup-storage-bucket", Kind::Text),
    flag("gcs-backup-storage-root", Kind::Text),
    flag("s3-backup-aws-endpoint", Kind::Text),
    flag("s3-backup-aws-min-partsize", Kind::Int),
    flag("s3-backup-aws-region", Kind::Text),
    flag("s3-backup-aws-retries", Kind::Int),
    flag("s3-backup-force-path-style", Kind::Bool),
    flag("s3-backup-log-level", Kind::Text),
    flag("s3-backup-server-side-encryption", Kind::Text),
    flag("s3-backup-storage-bucket", Kind::Text),
    flag("s3-backup-storage-root", Kind::Text),
    flag("s3-backup-tls-skip-verify-cert", Kind::Bool),
    // Schema changes from files.
    flag("schema-change-check-interval", Kind::Duration),
    flag("schema-change-controller", Kind::Text),
    flag("schema-change-dir", Kind::Text),
    flag("schema-change-replicas-timeout", Kind::Duration),
    flag("schema-change-user", Kind::Text),
    // Tablets.
    flag("action-timeout", Kind::Duration),
    flag("grpc-dial-concurrency-limit", Kind::Int),
    flag("proxy-tablets", Kind::Bool),
    flag("tablet-dir", Kind::Text),
    flag("tablet-grpc-ca", Kind::Text),
    flag("tablet-grpc-cert", Kind::Text),
    flag("tablet-grpc-crl", Kind::Text),
    flag("tablet-grpc-key", Kind::Text),
    flag("tablet-grpc-server-name", Kind::Text),
    flag("tablet-health-keep-alive", Kind::Duration),
    flag("tablet-manager-grpc-concurrency", Kind::Int),
    flag("tablet-refresh-interval", Kind::Duration),
    flag("tablet-refresh-known-tablets", Kind::Bool),
    flag("tablet-url-template", Kind::Text),
    // The Go runtime, its log and its pages.
    flag("catch-sigpipe", Kind::Bool), // it is always so
    flag("config-persistence-min-interval", Kind::Duration),
    // pings are welcome at any time
    flag("grpc-server-keepalive-enforcement-policy-min-time", Kind::Duration),
    flag("grpc-server-keepalive-enforcement-policy-permit-without-stream", Kind::Bool),
    flag("log-backtrace-at", Kind::Text),
    flag("log-err-stacks", Kind::Bool),
    flag("max-stack-size", Kind::Int),
    flag("mysql-server-version", Kind::Text),
    flag("pprof", Kind::Text),
    flag("pprof-http", Kind::Bool),
    flag("sql-max-length-errors", Kind::Int),
    flag("sql-max-length-ui", Kind::Int),
    flag("table-refresh-interval", Kind::Int),
    // Vitess before 22 and after it.
    flag("healthcheck-dial-concurrency", Kind::Int),
    flag("logbuflevel", Kind::Int),
    flag("s2a-enable-appengine-dialer", Kind::Bool),
    flag("s2a-timeout", Kind::Duration),
    flag("datadog-trace-debug-mode", Kind::Bool),
    flag("grpc-enable-orca-metrics", Kind::Bool),
];

const fn flag(name: &'static str, kind: Kind) -> NoEffect {
    NoEffect { name, kind, guards: false }
}

const fn guard(name: &'static str, kind: Kind) -> NoEffect {
    NoEffect { name, kind, guards: true }
}

impl NoEffect {
    pub(super) fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).hide(true);
        match self.kind {
            Kind::Bool => arg.action(ArgAction::SetTrue),
            Kind::Int => arg.value_parser(clap::value_parser!(i64)),
            Kind::Float => arg.value_parser(clap::value_parser!(f64)),
            Kind::Duration => arg.value_parser(ValueParser::new(duration)),
            Kind::Text => arg.action(ArgAction::Set),
        }
    }
}

/// Booleans take a value after `=`, any other value may begin with a dash: as in stock.
pub(super) fn as_stock(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_name("BOOL")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_parser(ValueParser::new(boolean)),
        ArgAction::Set | ArgAction::Append => {
            let nothing = arg.get_default_values() == [""];
            arg.allow_hyphen_values(true).hide_default_value(nothing)
        }
        _ => arg,
    }
}
