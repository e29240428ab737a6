//! Validated settings: the sum of the components' options.

mod error;
mod fallback;
mod file;
mod otel;
mod parts;
pub mod secret;
mod topologies;

use std::ffi::OsString;
use std::time::Duration;

pub use error::Error;

use crate::cli::{self, Cli, Flag, Given, Origin, ProcessArgs, Settings};
use crate::telemetry::{log, metrics, otlp, traces};
use crate::{context, guard, server, tablet, topo, watch, web};

/// Where the own cluster's topology is.
#[derive(Clone, Debug)]
pub struct TopoOptions {
    pub implementation: String,
    pub server: String,
    pub root: String,
    /// Reads under way at once for each cell, and for the global topology.
    pub read_concurrency: usize,
}

/// Host and port to listen on; all addresses when the host is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

/// How the process lives and ends.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    pub pid_file: Option<String>,
    pub lameduck_period: Duration,
    pub onterm_timeout: Duration,
    pub onclose_timeout: Duration,
}

/// Everything that the program needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub topo: TopoOptions,
    /// True when no topology flag was given: everything is in memory and gone at the end.
    pub trying_out: bool,
    pub topologies: topo::Options,
    pub tablet: tablet::Options,
    pub grpc_address: Address,
    pub http_address: Option<Address>,
    pub server: server::Options,
    pub guard: guard::Options,
    /// Where forwarding calls that are not served here to.
    pub fallback: Option<server::fallback::Options>,
    pub pages: web::Options,
    pub log: log::Options,
    pub metrics: metrics::Options,
    /// Where traces and metrics are sent.
    pub otlp: otlp::Options,
    pub traces: traces::Options,
    pub process: ProcessOptions,
    pub operations: context::Options,
    pub watch: watch::Options,
    /// Name of the server's cell; empty when not told.
    pub cell: String,
    /// What the log should tell at the start.
    pub notes: Vec<String>,
}

impl Config {
    /// Reads the command line, the environment and the configuration file. `args` begins with the program's name.
    ///
    /// # Errors
    /// A text for the user: help or the version when asked for, or what is wrong with a flag.
    pub fn load(
        args: impl IntoIterator<Item = OsString>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        let command_line = secret::mask_args(args.iter().map(|arg| arg.to_string_lossy().into_owned()));
        let mut settings = Settings { file: Vec::new(), environment: cli::environment(variable) };
        let first = cli::given(args.clone(), &settings)?;
        if first.cli.process.version {
            return Err(Error::Version);
        }
        let asked = first.flags.iter().any(|flag| flag.name.starts_with("config-") && flag.origin != Origin::Default);
        let file = file::read(&first.cli.config_file, asked)?;
        settings.file = file.flags;
        let Given { cli, flags } = cli::given(args, &settings)?;
        let mut config = Self::try_from(cli)?;
        config.notes.extend(file.notes);
        config.notes.extend(without_effect(&flags)?);
        config.pages.cell.clone_from(&config.cell);
        config.pages.command_line = command_line;
        config.pages.settings = flags.into_iter().map(setting).collect();
        Ok(config)
    }
}

impl TryFrom<Cli> for Config {
    type Error = Error;

    fn try_from(cli: Cli) -> Result<Self, Error> {
        // every group and every flag is named: one that nobody uses does not compile
        let Cli {
            vtmigrated,
            fallback,
            topo,
            topologies,
            grpc,
            guard,
            http,
            tablet,
            log,
            stats,
            otel,
            process,
            config_file: _,
        } = cli;
        let topo = parts::topology(topo)?;
        let grpc = parts::grpc(grpc, topo.trying_out)?;
        let http = parts::http(http)?;
        let telemetry = otel::telemetry(otel)?;
        let passive = tablet.disable_active_reparents;
        let ProcessArgs { pid_file, lameduck_period, onterm_timeout, onclose_timeout, version: _ } = process;
        Ok(Self {
            tablet: parts::tablet(tablet, &grpc)?,
            fallback: fallback::options(fallback, grpc.server.max_message)?,
            topo: topo.own,
            trying_out: topo.trying_out,
            topologies: topologies::options(topologies, topo.etcd)?,
            grpc_address: grpc.address,
            http_address: http.address,
            server: grpc.server,
            guard: parts::guard(guard)?,
            pages: http.pages,
            log: parts::log(log)?,
            metrics: metrics::Options { push: telemetry.metrics, ..parts::metrics(stats) },
            otlp: telemetry.otlp,
            traces: telemetry.traces,
            process: ProcessOptions {
                pid_file: Some(pid_file).filter(|path| !path.is_empty()),
                lameduck_period,
                onterm_timeout,
                onclose_timeout,
            },
            watch: parts::watch(&vtmigrated),
            operations: parts::operations(vtmigrated, topo.lease_ttl, topo.lock_timeout, passive),
            cell: topo.cell,
            notes: http.note.into_iter().chain(telemetry.note).collect(),
        })
    }
}

/// A flag as pages may show it.
fn setting(flag: Flag) -> web::Setting {
    let Flag { name, value, origin, has_effect } = flag;
    let origin = match origin {
        Origin::Default => "default",
        Origin::File => "file",
        Origin::Environment => "environment",
        Origin::CommandLine => "command line",
    };
    web::Setting { value: secret::mask(&name, &value), name, origin, has_effect }
}

/// One line that names the given flags without effect.
fn without_effect(flags: &[Flag]) -> Result<Option<String>, Error> {
    let given = |flag: &&Flag| flag.origin != Origin::Default && !flag.has_effect;
    let mut names = Vec::new();
    for flag in flags.iter().filter(given) {
        let guards = cli::no_effect::NO_EFFECT
            .iter()
            .any(|entry| entry.guards && entry.name == flag.name && !flag.value.is_empty());
        if guards {
            return Err(Error::NoProtection { flag: flag.name.clone() });
        }
        names.push(format!("--{}", flag.name));
    }
    let text = format!("these flags of vtctld are accepted and have no effect: {}", names.join(", "));
    Ok((!names.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests;
