//! `vtmigrated advise …`: asks a running server. Without that word the program is the server.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Asks a vtmigrated what it knows before something is changed.
#[derive(Clone, Debug, Parser)]
#[command(name = "vtmigrated advise")]
pub struct Advise {
    /// Address of the server's gRPC port
    #[arg(long, global = true, default_value = "localhost:15999", env = "VTMIGRATED_SERVER")]
    pub server: String,
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// How long to wait for the answer
    #[arg(long, global = true, default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: std::time::Duration,
    #[command(subcommand)]
    pub question: Question,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// What is asked.
#[derive(Clone, Debug, Subcommand)]
pub enum Question {
    /// Whether a workflow can be completed now: GO, or NO-GO with the reasons; exit code 3 for NO-GO
    Verdict(OfWorkflow),
    /// What dead migrations left behind; with --clean it takes away what the report calls cleanable
    Leftovers {
        /// Only in this keyspace
        #[arg(long, default_value = "")]
        target_keyspace: String,
        /// Clean what was found
        #[arg(long)]
        clean: bool,
        /// Clean only these: id and subject as printed
        #[arg(long, requires = "clean")]
        only: Vec<String>,
    },
}

/// One workflow.
#[derive(Args, Clone, Debug)]
pub struct OfWorkflow {
    /// Keyspace that the workflow fills
    #[arg(long)]
    pub target_keyspace: String,
    #[arg(long)]
    pub workflow: String,
}

/// The question, if the program was called with one; ends the program as clap does when it cannot be read.
pub fn from_args() -> Option<Advise> {
    let args: Vec<OsString> = std::env::args_os().collect();
    (args.get(1)? == "advise").then(|| Advise::parse_from(super::normalize(args.into_iter().skip(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read() {
        let args = ["advise", "verdict", "--target_keyspace", "customer", "--workflow=import", "--server", "h:1"];
        let advise = Advise::parse_from(super::super::normalize(args.map(OsString::from)));
        assert_eq!((advise.server.as_str(), advise.format), ("h:1", Format::Text));
        assert!(matches!(advise.question, Question::Verdict(of) if of.target_keyspace == "customer"));
        assert!(Advise::try_parse_from(["advise", "leftovers", "--only", "x"]).is_err());
    }
}
