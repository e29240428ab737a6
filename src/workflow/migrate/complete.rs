//! Complete: check everything, stop the streams for good, hand the tables over, delete the streams last.

use futures::future::{join, try_join, try_join3};
use vtmigrated_proto::binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType};
use vtmigrated_proto::vtctldata::MoveTablesCompleteResponse;

use super::super::record::{self, Stored};
use super::super::streams::{self, Graphed, OnShard, Origin, WithReplicas};
use super::super::{Error, Result, names};
use super::cleanup::{self, state_change};
use super::create::locks;
use super::{COMPLETE_ACTION, FROZEN, readiness, status};
use crate::context::Context;
use crate::error::Code;
use crate::tablet;
use crate::topo::{self, Lock, Record};

/// What complete was asked to do.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    pub dry_run: bool,
}

/// Ends a workflow whose data is to stay. Repeating it after an interruption finishes the job.
///
/// # Errors
/// Refused with the reasons when something is not copied or not applied yet.
pub async fn complete(context: &Context, arguments: &Arguments) -> Result<MoveTablesCompleteResponse> {
    let Arguments { keyspace, workflow, dry_run } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    if *dry_run {
        let found = Found::read(context, keyspace, workflow).await?;
        return Ok(dry_run_answer(keyspace, workflow, &found));
    }
    let locked = async {
        let lock = locks(context, keyspace, workflow, COMPLETE_ACTION).await?;
        let found = Found::read(context, keyspace, workflow).await;
        Ok::<_, Error>((lock, found))
    };
    // the source is asked meanwhile: its position now is the one that the streams must have reached
    let (locked, positions) = join(locked, readiness::Positions::by_record(context, keyspace, workflow)).await;
    let (lock, found) = locked?;
    let result = match found {
        Ok(found) => complete_locked(context, &found, workflow, positions, &lock).await,
        Err(error) => Err(error),
    };
    if let Err(error) = lock.release().await {
        tracing::warn!("the locks of complete were not given back: {error}");
    }
    result?;
    let summary = format!("Successfully completed the {workflow} workflow in the {keyspace} keyspace");
    Ok(MoveTablesCompleteResponse { summary, dry_run_results: Vec::new() })
}

/// A workflow with everything that ending it needs.
pub(super) struct Found {
    pub target: WithReplicas,
    pub vschema: Option<Record<vtmigrated_proto::vschema::Keyspace>>,
    pub record: Option<Stored>,
    pub rows: Vec<OnShard>,
    pub origin: Origin,
}

impl Found {
    /// Reads a workflow: three waves. Its origin is the record's when no stream is left.
    pub async fn read(context: &Context, keyspace: &str, workflow: &str) -> Result<Self> {
        let global = context.topo.global();
        let vschema = async { Ok(topo::vschema::find(global, keyspace).await?) };
        let graphed = async {
            let shards = async { Ok(topo::shard::all(global, keyspace).await?) };
            let cells = async { Ok::<_, Error>(context.topo.cells().await?) };
            let (shards, cells) = try_join(shards, cells).await?;
            Graphed::read(keyspace, shards, cells).await
        };
        let (graphed, vschema, record) = try_join3(graphed, vschema, record::find(global, keyspace, workflow)).await?;
        let names = [workflow.to_owned()];
        let (tablets, rows) = try_join(graphed.tablets(), graphed.keyspace.workflows(context, &names)).await?;
        let target = WithReplicas { keyspace: graphed.keyspace, tablets };
        if rows.is_empty() && record.is_none() {
            return Err(status::missing(keyspace, workflow));
        }
        if let Some(row) = rows.iter().find(|r| r.found.workflow_type() != VReplicationWorkflowType::Migrate) {
            let kind = row.found.workflow_type().as_str_name();
            let text =
                format!("workflow {workflow} in keyspace {keyspace} is a {kind}, which vtmigrated does not serve");
            let help =
                "name a stock vtctld of the same cluster with --fallback-vtctld-server, or send this command to it";
            let (code, help) = (Code::Unimplemented, help.to_owned());
            return Err(Error::NotServed { code, reason: "WORKFLOW_TYPE", text, help });
        }
        let mut origin = streams::origin(keyspace, &rows.iter().collect::<Vec<_>>())?;
        if let (true, Some(stored)) = (rows.is_empty(), &record) {
            origin.mount.clone_from(&stored.facts.mount);
            origin.tables.clone_from(&stored.facts.tables);
        }
        Ok(Self { target, vschema, record, rows, origin })
    }

    /// Denied tables that the workflow put on each shard: those of its record, else all of its tables.
    pub fn denied(&self) -> Vec<(String, Vec<String>)> {
        let shards = self.target.keyspace.shards.iter();
        match &self.record {
            Some(stored) => stored.facts.denied_tables.clone(),
            None => shards.map(|s| (s.name.clone(), self.origin.tables.clone())).collect(),
        }
    }
}

async fn complete_locked(
    context: &Context,
    found: &Found,
    workflow: &str,
    positions: Option<readiness::Positions>,
    lock: &Lock,
) -> Result<()> {
    let keyspace = &found.target.keyspace.name;
    let doing = |e: Error| e.doing(format!("failed to finalize the {workflow} workflow in the {keyspace} keyspace"));
    if found.rows.is_empty() {
        return finish_without_streams(context, found, workflow, lock).await.map_err(doing);
    }
    if !readiness::all_frozen(&found.rows) {
        if !context.options.allow_unfinished_complete {
            readiness::check(context, &found.target.keyspace, workflow, &found.origin, positions).await?;
        }
        freeze(context, found, workflow, lock).await.map_err(doing)?;
    }
    hand_over(context, found, lock).await.map_err(doing)?;
    cleanup::delete_streams(context, lock, &found.target, workflow).await.map_err(doing)
}

/// No stream is left, but the record is: an earlier complete or cancel ended in between, or create never got to them.
async fn finish_without_streams(context: &Context, found: &Found, workflow: &str, lock: &Lock) -> Result<()> {
    let completing = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if !completing {
        return Err(status::missing(&found.target.keyspace.name, workflow));
    }
    hand_over(context, found, lock).await?;
    cleanup::delete_streams(context, lock, &found.target, workflow).await
}

/// Stops every stream, marks it so that tablets refuse to start it, and sees that it is so.
async fn freeze(context: &Context, found: &Found, workflow: &str, lock: &Lock) -> Result<()> {
    let keyspace = &found.target.keyspace;
    if let Some(stored) = &found.record {
        let facts = record::Facts { completing: true, ..stored.facts.clone() };
        record::put(context.topo.global(), (&keyspace.name, workflow), &facts, stored.version, lock).await?;
    }
    lock.check().await?;
    let request = state_change(workflow, State::Stopped, Some(FROZEN));
    let with_streams = |at: usize| found.rows.iter().any(|row| row.shard == at);
    let shards = keyspace.shards.iter().enumerate().filter(|(at, _)| with_streams(*at)).map(|(_, shard)| shard);
    cleanup::each(shards, |_, tablet| {
        let request = request.clone();
        async move { context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
    })
    .await?;
    let rows = keyspace.workflows(context, &[workflow.to_owned()]).await?;
    if readiness::all_frozen(&rows) {
        return Ok(());
    }
    let text = "a stream did not stay stopped".to_owned();
    Err(Error::Refused { code: Code::Aborted, reason: "NOT_FROZEN", text, help: "run the command again".into() })
}

/// Gives the tables to the target: VSchema, SrvVSchema, denied tables. The streams must be stopped for good.
async fn hand_over(context: &Context, found: &Found, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    let vschema = async {
        if let Some(record) = found.vschema.clone().filter(|record| !record.value.sharded) {
            topo::vschema::add_tables(global, record, &found.origin.tables, lock).await?;
        }
        Ok::<_, Error>(topo::srv_vschema::rebuild(global, &found.target.keyspace.cells).await?)
    };
    vschema.await?;
    cleanup::lift_denied(context, lock, &found.target, &found.denied()).await
}

/// The steps that complete would run, in their order.
fn dry_run_answer(keyspace: &str, workflow: &str, found: &Found) -> MoveTablesCompleteResponse {
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%d %b %y %H:%M UTC").to_string();
    let target = &found.target.keyspace;
    let mut streams = Vec::new();
    for row in &found.rows {
        if let Some((shard, tablet)) = target.shards.get(row.shard).and_then(|s| Some((s, s.primary.as_ref()?))) {
            let uid = tablet.alias.as_ref().map_or(0, |a| a.uid);
            let line = format!(
                "keyspace:{keyspace};shard:{};workflow:{workflow};dbname:{};tablet:{uid}",
                shard.name,
                tablet::db_name(tablet)
            );
            streams.push((uid, line));
        }
    }
    streams.sort();
    let streams: Vec<String> = streams.into_iter().map(|(_, line)| line).collect();
    let mut steps = vec![format!("Lock keyspace {keyspace}")];
    if found.vschema.as_ref().is_some_and(|v| !v.value.sharded) {
        steps.push("All source tables will be added to the target keyspace vschema".into());
    }
    let shards: Vec<&str> = target.shards.iter().map(|s| s.name.as_str()).collect();
    steps.push(format!("Remove the denied tables of the workflow on shards: {}", shards.join(",")));
    steps.push(format!("Delete vreplication streams on targets: [{}]", streams.join(",")));
    steps.push(format!("Unlock keyspace {keyspace}"));
    MoveTablesCompleteResponse {
        summary: format!("Complete dry run results for workflow {keyspace}.{workflow} at {now}"),
        dry_run_results: steps,
    }
}
