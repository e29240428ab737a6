//! Flags, spelled as stock spells them: `--name value`, `--name=value`, with `_` and with `-`; booleans are `--name` or
//! `--name=true|false`.
//!
//! Each component has a struct of its own. Flags of stock's vtctld that mean nothing here are in [`no_effect`].

pub mod advise;
pub mod config_file;
pub mod fallback;
pub mod grpc;
pub mod guard;
pub mod health;
pub mod http;
pub mod log;
pub mod no_effect;
pub mod otel;
mod parse;
pub mod process;
pub mod stats;
pub mod tablet;
pub mod topo;
pub mod topologies;
mod values;
pub mod vtmigrated;
pub mod way_back;

use std::ffi::OsString;

use clap::Parser;

pub use config_file::ConfigFileArgs;
pub use fallback::FallbackArgs;
pub use grpc::GrpcArgs;
pub use guard::GuardArgs;
pub use http::HttpArgs;
pub use log::LogArgs;
pub use otel::OtelArgs;
pub use parse::{Error, Flag, Given, Origin, Settings, environment, given, is_flag};
pub use process::ProcessArgs;
pub use stats::StatsArgs;
pub use tablet::TabletArgs;
pub use topo::TopoArgs;
pub use topologies::TopologiesArgs;
pub use vtmigrated::VtmigratedArgs;

/// The flags that mean something to this program.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vtctld",
    about = "vtmigrated: a vtctld that brings keyspaces from one Vitess cluster into another",
    after_help = parse::AFTER_HELP,
    disable_version_flag = true,
    args_override_self = true
)]
pub struct Cli {
    #[command(flatten)]
    pub vtmigrated: VtmigratedArgs,
    #[command(flatten)]
    pub fallback: FallbackArgs,
    #[command(flatten)]
    pub topo: TopoArgs,
    #[command(flatten)]
    pub topologies: TopologiesArgs,
    #[command(flatten)]
    pub grpc: GrpcArgs,
    #[command(flatten)]
    pub guard: GuardArgs,
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub tablet: TabletArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub stats: StatsArgs,
    #[command(flatten)]
    pub otel: OtelArgs,
    #[command(flatten)]
    pub process: ProcessArgs,
    #[command(flatten)]
    pub config_file: ConfigFileArgs,
}

/// The flags behind `word` when it is the first argument: another program in the same binary. Ends the program as clap does
/// when they cannot be read.
pub fn called<T: Parser>(word: &str) -> Option<T> {
    let args: Vec<OsString> = std::env::args_os().collect();
    (args.get(1)? == word).then(|| T::parse_from(parse::normalize(args.into_iter().skip(1))))
}

#[cfg(test)]
mod tests;
