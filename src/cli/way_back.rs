//! `vtmigrated way-back …`: asks a running server for the way back of a migration.

use clap::{Args, Parser, Subcommand};

use super::advise::{Format, WorkflowArgs};

/// Prepares, shows, completes or cancels the way back of a migration.
#[derive(Clone, Debug, Parser)]
#[command(name = "vtmigrated way-back")]
pub struct WayBack {
    /// Address of the server's gRPC port
    #[arg(long, global = true, default_value = "localhost:15999", env = "VTMIGRATED_SERVER")]
    pub server: String,
    /// How to print the answer
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// How long to wait for the answer
    #[arg(long, global = true, default_value = "5m", value_parser = humantime::parse_duration)]
    pub timeout: std::time::Duration,
    #[command(subcommand)]
    pub action: Action,
}

/// What is to be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Before complete: check that there can be a way back, and mount the target in the source. After it: open the way back
    /// if complete could not
    Prepare(Prepare),
    /// Its state, and whether going back would be accepted now; exit code 3 for NO-GO
    Status(WorkflowArgs),
    /// Go back: the source serves again
    Complete(WorkflowArgs),
    /// Stay with the target: remove streams, denied tables and mount from the source
    Cancel(Cancel),
    /// Compare the rows of the target, which serves, with those of the source
    Vdiff {
        #[command(subcommand)]
        action: Vdiff,
    },
}

/// What is to be done with the VDiffs of a way back.
#[derive(Clone, Debug, Subcommand)]
pub enum Vdiff {
    /// Start one
    Create(CreateVdiff),
    /// Show one, or list all; exit code 3 when rows differ, or when it failed
    Show(ShowVdiff),
    /// Stop one
    Stop(OneVdiff),
    /// Resume one that was stopped, or compare again
    Resume(OneVdiff),
    /// Delete one, or all
    Delete(OneVdiff),
}

/// The arguments of a new VDiff.
#[derive(Args, Clone, Debug)]
pub struct CreateVdiff {
    #[command(flatten)]
    pub of: WorkflowArgs,
    /// Its UUID; a new one when absent
    #[arg(long, default_value = "")]
    pub uuid: String,
    /// Only these tables
    #[arg(long, value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Tablet types to read from on either side, in order of preference
    #[arg(long, value_delimiter = ',', default_value = "rdonly,replica,primary")]
    pub tablet_types: Vec<String>,
    /// Maximum number of rows found on one side only that are compared once more
    #[arg(long, default_value_t = 1000)]
    pub max_extra_rows_to_compare: i64,
    /// Wait until it ends; exit code as for show
    #[arg(long)]
    pub wait: bool,
}

/// A VDiff, the last one, or all.
#[derive(Args, Clone, Debug)]
pub struct ShowVdiff {
    #[command(flatten)]
    pub of: WorkflowArgs,
    /// UUID, last, or all
    #[arg(default_value = "last")]
    pub uuid: String,
}

/// A VDiff.
#[derive(Args, Clone, Debug)]
pub struct OneVdiff {
    #[command(flatten)]
    pub of: WorkflowArgs,
    /// UUID; for delete also all
    pub uuid: String,
}

/// The arguments of cancel.
#[derive(Args, Clone, Debug)]
pub struct Cancel {
    #[command(flatten)]
    pub of: WorkflowArgs,
    /// The source cluster is gone for good: do not contact it, only allow writes to the target again
    #[arg(long)]
    pub forget_source: bool,
    /// Its record cannot be read: delete only the record, and report what may be left
    #[arg(long, conflicts_with = "forget_source")]
    pub forget_record: bool,
}

/// The arguments of prepare.
#[derive(Args, Clone, Debug)]
pub struct Prepare {
    #[command(flatten)]
    pub of: WorkflowArgs,
    /// Address under which the source's tablets reach the target's topology server; the server's own when absent
    #[arg(long, default_value = "")]
    pub topo_server: String,
    /// What streams do on DDL of the target: STOP, IGNORE, EXEC, EXEC_IGNORE
    #[arg(long, default_value = "STOP")]
    pub on_ddl: String,
    /// Only check
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn actions_are_read() {
        let args =
            ["way-back", "prepare", "--target_keyspace", "customer", "--workflow=import", "--topo-server", "t:1"];
        let asked = WayBack::parse_from(super::super::parse::normalize(args.map(OsString::from)));
        let Action::Prepare(prepare) = asked.action else { panic!("{asked:?}") };
        let read = [prepare.of.target_keyspace, prepare.of.workflow, prepare.topo_server, prepare.on_ddl];
        assert_eq!(read, ["customer", "import", "t:1", "STOP"]);
        assert!(WayBack::try_parse_from(["way-back", "status", "--workflow", "import"]).is_err());
        let cancel = |flags: &[&'static str]| {
            let words = ["way-back", "cancel", "--target-keyspace", "customer", "--workflow", "import"];
            let asked = WayBack::try_parse_from(words.into_iter().chain(flags.iter().copied())).ok()?;
            let Action::Cancel(cancel) = asked.action else { panic!("{asked:?}") };
            Some((cancel.forget_source, cancel.forget_record))
        };
        assert_eq!(cancel(&[]), Some((false, false)));
        assert_eq!(cancel(&["--forget-source"]), Some((true, false)));
        assert_eq!(cancel(&["--forget-record"]), Some((false, true)));
        assert_eq!(cancel(&["--forget-source", "--forget-record"]), None);
    }

    #[test]
    fn actions_on_vdiffs_are_read() {
        let read = |line: &str| {
            let words = format!("way-back vdiff {line} --target-keyspace customer --workflow import");
            WayBack::try_parse_from(words.split(' ').map(str::to_owned)).map(|asked| match asked.action {
                Action::Vdiff { action } => action,
                other => panic!("{other:?}"),
            })
        };
        let Ok(Vdiff::Create(create)) = read("create --tables a,b --wait") else { panic!() };
        assert_eq!((create.tables.len(), create.tablet_types.len(), create.wait), (2, 3, true));
        assert!(matches!(read("show").unwrap(), Vdiff::Show(ShowVdiff { uuid, .. }) if uuid == "last"));
        assert!(matches!(read("show all").unwrap(), Vdiff::Show(ShowVdiff { uuid, .. }) if uuid == "all"));
        assert!(matches!(read("delete u").unwrap(), Vdiff::Delete(OneVdiff { of, .. }) if of.workflow == "import"));
        assert!(read("stop").is_err() && read("resume").is_err());
    }
}
