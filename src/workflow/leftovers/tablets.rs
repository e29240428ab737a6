//! Rows of the sidecar tables that belong to nothing any more.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::ExecuteFetchAsDbaRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use super::{Action, CLEAN, Leftover, silent};
use crate::context::Context;
use crate::error::check;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::checks::complete::replaced::{self, Noted};
use crate::workflow::findings::Finding;
use crate::workflow::reads::copy_states;
use crate::workflow::record::{Known, earlier};
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow};

/// A kind of rows that can be orphaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    CopyStates,
    Actions,
    DiffTables,
    DiffLogs,
}

impl Kind {
    const ALL: [Self; 4] = [Self::CopyStates, Self::Actions, Self::DiffTables, Self::DiffLogs];

    /// Table, the column that names the owner, and the owner's table.
    fn tables(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::CopyStates => ("copy_state", "vrepl_id", "vreplication"),
            Self::Actions => ("post_copy_action", "vrepl_id", "vreplication"),
            Self::DiffTables => ("vdiff_table", "vdiff_id", "vdiff"),
            Self::DiffLogs => ("vdiff_log", "vdiff_id", "vdiff"),
        }
    }

    fn orphans(self) -> String {
        let (table, column, owner) = self.tables();
        format!("from _vt.{table} where {column} not in (select id from _vt.{owner})")
    }

    /// True for what tells of streams that were replaced while they copied.
    fn tells_of_copies(self) -> bool {
        matches!(self, Self::CopyStates | Self::Actions)
    }

    /// Deletes the orphans: what has found an owner meanwhile stays.
    pub async fn delete(self, context: &Context, on: &Tablet) -> tablet::Result<()> {
        let request = ExecuteFetchAsDbaRequest {
            query: format!("delete {}", self.orphans()).into_bytes(),
            max_rows: 1,
            ..ExecuteFetchAsDbaRequest::default()
        };
        context.tablets.execute_fetch_as_dba(on, request).await.map(|_| ())
    }
}

/// A diff: uuid, workflow, state.
pub type Diff = (String, String, String);

/// What one tablet says.
#[derive(Default)]
struct OfTablet {
    counts: Vec<(Kind, u64)>,
    /// Tables that streams had left to copy which are gone.
    orphaned: CopyStates,
    /// What the orphaned actions would do.
    actions: Vec<String>,
    diffs: Vec<Diff>,
}

/// What the primaries of a keyspace say.
pub struct KeyspaceAnswers {
    pub rows: Vec<ShardWorkflow>,
    /// True when every shard of the keyspace has told of its workflows; one that was [left out](Keyspace::answering) is none of them.
    pub all_answered: bool,
    shards: Vec<(String, Result<OfTablet, String>)>,
}

impl KeyspaceAnswers {
    /// Asks all primaries: one wave.
    pub async fn read(context: &Context, target: &Keyspace) -> Self {
        let asked = target.shards.iter().map(|shard| async move {
            let answer = match shard.primary() {
                Ok(on) => of_tablet(context, on, &target.name).await.map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            (shard.name.clone(), answer)
        });
        let (shards, rows) = join(join_all(asked), target.workflows(context, &[])).await;
        let all_answered = rows.is_ok();
        Self { rows: rows.unwrap_or_default(), all_answered, shards }
    }

    /// Why orphans of a shard are not to be cleaned yet, and what to do first; `None` when they may go. `records` are those of the
    /// keyspace.
    ///
    /// Of a workflow whose streams were replaced while they copied they are the one proof that it is not whole.
    pub fn needed(&self, target: &Keyspace, shard: &str, kind: Kind, records: &[&Known]) -> Option<(String, String)> {
        if !kind.tells_of_copies() {
            return None;
        }
        let of_shard = self.shards.iter().find(|(name, _)| name == shard);
        let Some((_, Ok(answer))) = of_shard.filter(|_| self.all_answered) else {
            let cause = "what streams there are is not known".to_owned();
            return Some((cause, "ask again when all shards answer".to_owned()));
        };
        let names: BTreeSet<&str> = self.rows.iter().map(|row| row.found.workflow.as_str()).collect();
        let mut names = names.into_iter();
        let workflow = names.find(|name| self.is_half_copied(target, (shard, *name), &answer.orphaned, records))?;
        let cause =
            format!("streams of workflow {workflow} were replaced while they copied, and nothing else tells of it");
        let keyspace = &target.name;
        let fix =
            format!("end it first, a Migrate with: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
        Some((cause, fix))
    }

    /// True when streams of a workflow are there, and orphans on a shard are what others of it had left to copy.
    fn is_half_copied(
        &self,
        target: &Keyspace,
        (shard, workflow): (&str, &str),
        orphaned: &CopyStates,
        records: &[&Known],
    ) -> bool {
        let rows: Vec<&ShardWorkflow> = self.rows.iter().filter(|row| row.found.workflow == workflow).collect();
        let record = records.iter().find(|(_, name, _)| name == workflow);
        let record = record.and_then(|(_, _, facts)| facts.as_ref().ok());
        let own = record.and_then(|facts| earlier::of(facts, target, rows.iter().copied()));
        let sources = rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
        let tables: Vec<String> = sources.flat_map(streams::tables).collect();
        let on_shard = |row: &&&ShardWorkflow| target.shards.get(row.shard).is_some_and(|found| found.name == shard);
        let present: Vec<&Stream> = rows.iter().filter(on_shard).flat_map(|row| &row.found.streams).collect();
        let noted = Noted { facts: own.as_deref(), earlier: record.filter(|_| own.is_none()), tables: &tables };
        let shard = target.shards.iter().find(|found| found.name == shard);
        shard.is_some_and(|shard| !replaced::left((shard, workflow), &present, orphaned, noted).is_empty())
    }

    /// The orphans of all tablets, and the shards that were not asked. `records` are those of the keyspace.
    pub fn judge(&self, target: &Keyspace, records: &[&Known]) -> Vec<Leftover> {
        let left_out = target.silent.iter();
        let left_out = left_out.map(|(shard, why)| silent(format!("shard {}/{shard}", target.name), why.to_string()));
        let mut found: Vec<Leftover> = left_out.collect();
        for (shard, answer) in &self.shards {
            let subject = format!("shard {}/{shard}", target.name);
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => {
                    found.push(silent(subject, why.clone()));
                    continue;
                }
            };
            for (kind, count) in answer.counts.iter().filter(|(_, count)| *count > 0) {
                let (table, _, owner) = kind.tables();
                let (check, more) = match kind {
                    Kind::CopyStates => (&check::COPY_STATE_ORPHANED, String::new()),
                    Kind::Actions => (&check::KEYS_ORPHANED, format!(": {}", answer.actions.join("; "))),
                    Kind::DiffTables | Kind::DiffLogs => (&check::VDIFF_ROWS_ORPHANED, String::new()),
                };
                let text = format!("{count} rows of _vt.{table} have no row in _vt.{owner}{more}");
                let action = Action::Rows { keyspace: target.name.clone(), shard: shard.clone(), kind: *kind };
                let subject = format!("{subject} {table}");
                found.push(match self.needed(target, shard, *kind, records) {
                    None => Leftover::new(Finding::new(check, subject, text, CLEAN), Some(action)),
                    Some((why, fix)) => {
                        Leftover::new(Finding::new(check, subject, format!("{text}; {why}"), fix), None)
                    }
                });
            }
            for (uuid, workflow, state) in &answer.diffs {
                let action = Action::Diff {
                    keyspace: target.name.clone(),
                    shard: shard.clone(),
                    workflow: workflow.clone(),
                    uuid: uuid.clone(),
                };
                let text = format!("it is {state}, and its workflow {workflow} is gone");
                let finding = Finding::new(&check::VDIFF_ORPHANED, format!("{subject} vdiff {uuid}"), text, CLEAN);
                found.push(Leftover::new(finding, Some(action)));
            }
        }
        found
    }
}

async fn of_tablet(context: &Context, on: &Tablet, keyspace: &str) -> tablet::Result<OfTablet> {
    let counts = Kind::ALL.map(|kind| format!("select count(*) {}", kind.orphans())).join(" union all ");
    let actions = format!("select action {}", Kind::Actions.orphans());
    let (counts, actions, orphaned, diffs) = futures::future::try_join4(
        context.tablets.read(on, counts, 10),
        context.tablets.read(on, actions, 1000),
        copy_states::orphaned(context, on),
        diffs(context, on, keyspace),
    )
    .await?;
    let number = |row: Vec<Option<String>>| row.into_iter().flatten().next()?.parse().ok();
    let counts = Kind::ALL.into_iter().zip(rows::texts(&counts).into_iter().filter_map(number)).collect();
    let task = |row: Vec<Option<String>>| {
        let json: serde_json::Value = serde_json::from_str(&row.into_iter().flatten().next()?).ok()?;
        Some(json.get("task")?.as_str()?.to_owned())
    };
    Ok(OfTablet { counts, orphaned, actions: rows::texts(&actions).into_iter().filter_map(task).collect(), diffs })
}

/// Diffs of a keyspace whose workflow has no stream on this tablet.
pub async fn diffs(context: &Context, on: &Tablet, keyspace: &str) -> tablet::Result<Vec<Diff>> {
    let query = format!(
        "select vdiff_uuid, workflow, state from _vt.vdiff where keyspace = {} and workflow not in \
         (select workflow from _vt.vreplication where workflow is not null)",
        quote::literal(keyspace)
    );
    let answer = context.tablets.read(on, query, 10_000).await?;
    let diff = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        Some((next()?, next()?, next().unwrap_or_default()))
    };
    Ok(rows::texts(&answer).into_iter().filter_map(diff).collect())
}
