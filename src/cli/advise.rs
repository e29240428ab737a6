//! `vtmigrated advise …`: asks a running server. Without that word the program is the server.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Queries a running vtmigrated: verdicts, checks, dry runs and leftovers.
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
    Verdict(WorkflowArgs),
    /// Whether a mount's topology and tablets can be reached
    Preflight(MountArgs),
    /// The checks of an operation and the steps that it would run; exit code 3 when it would be refused
    DryRun {
        #[command(subcommand)]
        operation: Operation,
    },
    /// What dead migrations left behind; with --clean, remove the findings marked cleanable
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

/// A mount: registered, or with the arguments of Mount register.
#[derive(Args, Clone, Debug)]
pub struct MountArgs {
    /// Name of the mount
    #[arg(long)]
    pub mount_name: String,
    #[arg(long, default_value = "", requires = "topo_server")]
    pub topo_type: String,
    #[arg(long, default_value = "", requires = "topo_root")]
    pub topo_server: String,
    #[arg(long, default_value = "", requires = "topo_type")]
    pub topo_root: String,
}

/// An operation that is not to be run.
#[derive(Clone, Debug, Subcommand)]
pub enum Operation {
    /// Migrate create
    Create(Create),
    /// Migrate complete
    Complete {
        #[command(flatten)]
        of: WorkflowArgs,
        /// As for MoveTables complete: skip the checks that need the source
        #[arg(long)]
        ignore_source_keyspace: bool,
    },
    /// Migrate cancel
    Cancel {
        #[command(flatten)]
        of: WorkflowArgs,
        /// Keep the tables
        #[arg(long)]
        keep_data: bool,
    },
}

/// The arguments of Migrate create, as the stock client spells them.
#[derive(Args, Clone, Debug)]
pub struct Create {
    #[command(flatten)]
    pub of: WorkflowArgs,
    #[arg(long)]
    pub source_keyspace: String,
    #[arg(long)]
    pub mount_name: String,
    #[arg(long)]
    pub all_tables: bool,
    #[arg(long, value_delimiter = ',')]
    pub tables: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub exclude_tables: Vec<String>,
    #[arg(long, value_delimiter = ',')]
    pub cells: Vec<String>,
    /// Tablet types to read from, in order of preference
    #[arg(long, value_delimiter = ',', default_value = "replica,primary")]
    pub tablet_types: Vec<String>,
    #[arg(long, default_value = "")]
    pub source_time_zone: String,
    #[arg(long, default_value = "IGNORE")]
    pub on_ddl: String,
    #[arg(long)]
    pub stop_after_copy: bool,
    /// Build secondary keys after the rows are copied
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true"
    )]
    pub defer_secondary_keys: bool,
    /// Start the streams
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true"
    )]
    pub auto_start: bool,
}

/// One workflow.
#[derive(Args, Clone, Debug)]
pub struct WorkflowArgs {
    /// Target keyspace of the workflow
    #[arg(long)]
    pub target_keyspace: String,
    #[arg(long)]
    pub workflow: String,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn questions_are_read() {
        let args = ["advise", "verdict", "--target_keyspace", "customer", "--workflow=import", "--server", "h:1"];
        let advise = Advise::parse_from(super::super::parse::normalize(args.map(OsString::from)));
        assert_eq!((advise.server.as_str(), advise.format), ("h:1", Format::Text));
        assert!(matches!(advise.question, Question::Verdict(of) if of.target_keyspace == "customer"));
        assert!(Advise::try_parse_from(["advise", "leftovers", "--only", "x"]).is_err());
    }

    #[test]
    fn dry_runs_take_what_their_refusals_advise() {
        let read = |line: &str| {
            let words = format!("advise dry-run {line} --target-keyspace customer --workflow import");
            let words = super::super::parse::normalize(words.split(' ').map(OsString::from));
            match Advise::try_parse_from(words).unwrap().question {
                Question::DryRun { operation } => operation,
                other => panic!("{other:?}"),
            }
        };
        for (flags, wanted) in [
            ("", (true, true)),
            (" --defer-secondary-keys=false", (false, true)),
            (" --defer_secondary_keys --auto-start=false", (true, false)),
        ] {
            let line = format!("create --source-keyspace commerce --mount-name ext1 --all-tables{flags}");
            let Operation::Create(create) = read(&line) else { panic!("{line}") };
            assert_eq!((create.defer_secondary_keys, create.auto_start), wanted, "{line}");
        }
        for (line, insists) in [("complete", false), ("complete --ignore-source-keyspace", true)] {
            let Operation::Complete { ignore_source_keyspace, .. } = read(line) else { panic!("{line}") };
            assert_eq!(ignore_source_keyspace, insists);
        }
    }
}
