//! `vtmigrated way-back …`: asks a running server for the way back of a migration.

use clap::{Args, Parser, Subcommand};

use super::advise::{Format, OfWorkflow};

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
    /// Before complete: check that there can be a way back, and let the source know the target. After it: open what complete
    /// could not
    Prepare(Prepare),
    /// Where it stands, and whether it would be refused to go back now; exit code 3 for NO-GO
    Status(OfWorkflow),
    /// Go back: the source serves again
    Complete(OfWorkflow),
    /// Stay with the target: streams, denied tables and mount in the source go
    Cancel(OfWorkflow),
}

/// The arguments of prepare.
#[derive(Args, Clone, Debug)]
pub struct Prepare {
    #[command(flatten)]
    pub of: OfWorkflow,
    /// Address under which the source's tablets reach the target's topology server; the server's own when absent
    #[arg(long, default_value = "")]
    pub topo_server: String,
    /// What streams do at DDL of the target: STOP, IGNORE, EXEC, EXEC_IGNORE
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
    }
}
