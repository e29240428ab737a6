//! Why the program does not start.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::cli;
use crate::telemetry::build;
use crate::watched_files;

/// Why the program does not start with these flags, or that it was only asked something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", build::version())]
    Version,
    #[error(transparent)]
    Flags(#[from] cli::Error),
    #[error(
        "{given} is set, but not {missing}: set all of --topo_implementation, --topo_global_server_address and \
         --topo_global_root, or none of them to try it out in memory"
    )]
    HalfTopology { given: String, missing: String },
    #[error("bad value for --{flag}: {detail}")]
    BadValue { flag: &'static str, detail: String },
    #[error("cannot read --{flag} {}: {source}", path.display())]
    Unreadable { flag: &'static str, path: PathBuf, source: std::io::Error },
    #[error("--{flags}_ca, --{flags}_cert, --{flags}_key: {source}")]
    Files { flags: &'static str, source: watched_files::Error },
    #[error("--{flag} is not supported: refusing to start without the protection that it asks for")]
    NoProtection { flag: String },
    #[error("config file {name} not found in {folders}")]
    NoFile { name: String, folders: String },
    #[error("cannot read config file {}: {detail}", path.display())]
    BadFile { path: PathBuf, detail: String },
    #[error("config file {}: unsupported file type {kind:?}: use yaml, json or toml", path.display())]
    UnknownFormat { path: PathBuf, kind: String },
}

impl Error {
    /// True when the text is what the user asked for.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Version => true,
            Self::Flags(cli::Error::CommandLine(error)) => {
                matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
            }
            _ => false,
        }
    }

    /// Prints the answer to standard output, or the error to standard error; answers how the program should end.
    pub fn print(&self) -> ExitCode {
        if self.is_answer() {
            // whoever asked may have gone
            writeln!(std::io::stdout(), "{}", self.to_string().trim_end()).ok();
            return ExitCode::SUCCESS;
        }
        let text = self.to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        writeln!(std::io::stderr(), "error: {text}").ok();
        ExitCode::FAILURE
    }
}
