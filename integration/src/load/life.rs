//! Each step of one migration on a farm, once, at any size: what it takes, and what it costs whom.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use vtmigrated::http_get;
use vtmigrated_proto::vtctldata::{
    GetWorkflowsRequest, MoveTablesCompleteRequest, VDiffCreateRequest, VDiffShowRequest, WorkflowStatusRequest,
};

use super::{
    Error, PAGE,
    call::{Call, Kind, MADE, Subject},
    process,
    turn::Server,
};
use crate::{farm::Counts, server};

/// The head of a table in Markdown of steps.
pub const HEAD: &str = "| step | seconds | processor s | most MiB | answer KiB | tablet calls | statements at once |\n\
                        |------|--------:|------------:|---------:|-----------:|-------------:|--------------------|";
/// How long the watcher may take until it has seen the migration.
const ROUND: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);

/// What one step came to.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: &'static str,
    pub took: Duration,
    /// Processor time of the server.
    pub cpu: Duration,
    /// The most memory that the server had resident meanwhile, in bytes.
    pub peak: u64,
    /// Size of the answer in bytes.
    pub bytes: usize,
    /// Calls of the farm's tablets.
    pub calls: u64,
    /// The most statements that one tablet of each cell had to run at once.
    pub at_once: BTreeMap<String, usize>,
    /// Why it failed.
    pub refused: Option<String>,
}

/// Goes through a migration of all tables: created, looked at, compared, seen by the watcher of a server that is started with
/// `flags`, cancelled, created again and completed. The server itself should not watch, so that each step has its own costs.
///
/// `farm` is the address of the farm's page. Each step is `told` as soon as it is done; one that is refused is told as such.
///
/// # Errors
/// The farm or a server does not run.
pub async fn run(
    server: &Server,
    about: &Subject,
    farm: &str,
    flags: &[String],
    told: impl Fn(&Step),
) -> Result<(), Error> {
    for (name, call) in looked_at(about) {
        told(&step(server, name, &call, farm).await?);
    }
    told(&round(about, farm, flags).await?);
    for (name, call) in ended(about) {
        told(&step(server, name, &call, farm).await?);
    }
    Ok(())
}

fn looked_at(about: &Subject) -> Vec<(&'static str, Call)> {
    let (keyspace, workflow) = (about.target.clone(), MADE.to_owned());
    let (target_keyspace, arg) = (keyspace.clone(), "last".to_owned());
    let status = WorkflowStatusRequest {
        keyspace: keyspace.clone(),
        workflow: workflow.clone(),
        ..WorkflowStatusRequest::default()
    };
    let show = GetWorkflowsRequest {
        keyspace,
        workflow: workflow.clone(),
        include_logs: true,
        ..GetWorkflowsRequest::default()
    };
    let diff = VDiffCreateRequest {
        workflow: workflow.clone(),
        target_keyspace: target_keyspace.clone(),
        ..VDiffCreateRequest::default()
    };
    vec![
        ("create", Kind::MigrateCreate.of(about)),
        ("status", Call::new("WorkflowStatus", &status)),
        ("show", Call::new("GetWorkflows", &show)),
        ("vdiff create", Call::new("VDiffCreate", &diff)),
        ("vdiff show", Call::new("VDiffShow", &VDiffShowRequest { workflow, target_keyspace, arg })),
    ]
}

fn ended(about: &Subject) -> Vec<(&'static str, Call)> {
    let (workflow, target_keyspace) = (MADE.to_owned(), about.target.clone());
    let complete = MoveTablesCompleteRequest { workflow, target_keyspace, ..MoveTablesCompleteRequest::default() };
    let cancel = Kind::MigrateCreate.undo(about).map(|cancel| ("cancel", cancel));
    let again =
        [("create again", Kind::MigrateCreate.of(about)), ("complete", Call::new("MoveTablesComplete", &complete))];
    cancel.into_iter().chain(again).collect()
}

async fn step(server: &Server, name: &'static str, call: &Call, farm: &str) -> Result<Step, Error> {
    counted(farm).await?;
    process::forget_peak(server.pid)?;
    let (before, since) = (process::cpu(server.pid)?, Instant::now());
    let answer = call.make(&server.channel(0)).await;
    let (took, cpu) = (since.elapsed(), process::cpu(server.pid)?.saturating_sub(before));
    let peak = process::peak(server.pid)?;
    let counts = counted(farm).await?;
    let (bytes, refused) = match answer {
        Ok(bytes) => (bytes, None),
        Err(status) => (0, Some(format!("{:?}: {}", status.code(), status.message()))),
    };
    let (calls, at_once) = (counts.methods.values().sum(), counts.statements_at_once);
    Ok(Step { name, took, cpu, peak, bytes, calls, at_once, refused })
}

/// A watcher's first round, from the start of its server until its page shows the migration.
async fn round(about: &Subject, farm: &str, flags: &[String]) -> Result<Step, Error> {
    counted(farm).await?;
    let since = Instant::now();
    let watching = server::Server::start(flags).await.map_err(io::Error::other)?;
    let pid = watching.process().pid().ok_or_else(|| io::Error::other("the server has ended"))?;
    let address = watching.http_address();
    let host = address.to_string();
    let shown = format!("/api/migrations/{}/{MADE}", about.target);
    let mut refused = Some(format!("not seen within {ROUND:?}"));
    while since.elapsed() < ROUND {
        if http_get::page(address, &host, &shown, PAGE).await.is_ok_and(|(status, _)| status.is_success()) {
            refused = None;
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let (took, cpu, counts) = (since.elapsed(), process::cpu(pid)?, counted(farm).await?);
    let (_, page) = http_get::page(address, &host, "/", PAGE).await.map_err(io::Error::other)?;
    Ok(Step {
        name: "watcher round",
        took,
        cpu,
        peak: process::peak(pid)?,
        bytes: page.len(),
        calls: counts.methods.values().sum(),
        at_once: counts.statements_at_once,
        refused,
    })
}

/// What was asked of the farm's tablets since the last time.
async fn counted(farm: &str) -> Result<Counts, Error> {
    let (_, page) = http_get::page(farm, farm, "/calls", PAGE).await.map_err(io::Error::other)?;
    Ok(serde_json::from_slice(&page).map_err(io::Error::other)?)
}

/// The line of a step below [`HEAD`].
#[must_use]
pub fn line(step: &Step) -> String {
    let (took, cpu, calls) = (step.took.as_secs_f64(), step.cpu.as_secs_f64(), step.calls);
    let (peak, bytes) = (step.peak >> 20, step.bytes >> 10);
    let at_once = step.at_once.iter().map(|(cell, most)| format!("{cell}: {most}"));
    let refused = step.refused.iter().map(|why| format!("REFUSED {}", why.replace(['|', '\n'], " ")));
    let last = at_once.chain(refused).collect::<Vec<_>>().join(", ");
    format!("| {} | {took:.3} | {cpu:.2} | {peak} | {bytes} | {calls} | {last} |", step.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_all_steps_and_says_what_was_refused() {
        let about = Subject { target: "customer".into(), ..Subject::default() };
        let names: Vec<_> = looked_at(&about).into_iter().chain(ended(&about)).map(|(name, _)| name).collect();
        let steps = ["create", "status", "show", "vdiff create", "vdiff show", "cancel", "create again", "complete"];
        assert_eq!(names, steps);
        let step = Step {
            name: "create",
            took: Duration::from_millis(1500),
            cpu: Duration::from_millis(20),
            peak: 42 << 20,
            bytes: 3 << 10,
            calls: 7,
            at_once: BTreeMap::from([("zone1".to_owned(), 4)]),
            refused: Some("Unavailable: no etcd".into()),
        };
        let expected = "| create | 1.500 | 0.02 | 42 | 3 | 7 | zone1: 4, REFUSED Unavailable: no etcd |";
        assert_eq!(line(&step), expected);
        assert!(HEAD.lines().all(|head| head.matches('|').count() == expected.matches('|').count()), "{HEAD}");
    }
}
