//! What dead migrations left behind: a report, and, when asked, a cleaner of exactly what the report listed.
//!
//! Ours is what a record proves to be ours. Nothing that a live workflow uses is touched: what other streams or records
//! name is left out, and everything is read again under the locks of the workflow before it goes.

mod clean;
pub mod locks;
mod plan;
mod tablets;
mod unreadable;
mod ways_back;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join, try_join4};
use futures::stream::{self, StreamExt};
use serde::Serialize;
use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use crate::context::Context;
use crate::error::{Explain, Reason, check};
use crate::topo::{self, Cells, paths};
use crate::workflow::checks::complete;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::{self, back};
use crate::workflow::record::{self, Facts, Known, earlier, way_back as back_record};
use crate::workflow::removal::others::Others;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow};
use crate::workflow::{Error, Result};
use plan::Plan;

pub use clean::{Cleaned, clean};

/// Something that was left, and whether it can be cleaned by itself.
#[derive(Clone, Debug, Serialize)]
pub struct Leftover {
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether it goes with all the others; one with an action that is not goes by its key only.
    pub cleanable: bool,
    #[serde(skip)]
    action: Option<Action>,
}

/// How a leftover goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// What a record tells of a workflow.
    Workflow { keyspace: String, workflow: String, plan: Plan },
    /// A record whose keyspace is gone.
    Record { keyspace: String, workflow: String },
    /// A record that cannot be read, and why, of a workflow without streams.
    Unreadable { keyspace: String, workflow: String, why: String },
    /// Rows of a sidecar table whose stream or diff is gone.
    Rows { keyspace: String, shard: String, kind: tablets::Kind },
    /// A diff whose workflow is gone.
    Diff { keyspace: String, shard: String, workflow: String, uuid: String },
    /// The key of a lock that would stay for ever.
    Lock { path: String, version: i64 },
}

impl Leftover {
    fn new(finding: Finding, action: Option<Action>) -> Self {
        Self { finding, cleanable: action.is_some(), action }
    }

    /// Its name in requests to clean: id and subject.
    pub fn key(&self) -> String {
        format!("{} {}", self.finding.id, self.finding.subject)
    }
}

/// Looks for leftovers in one keyspace, or in all when `keyspace` is empty. Nothing is changed, nothing is locked.
///
/// # Errors
/// Reads of the topology that fail; a tablet that does not answer is a finding.
pub async fn find(context: &Context, keyspace: &str) -> Result<Vec<Leftover>> {
    let global = context.topo.global();
    if !keyspace.is_empty() {
        names::check_keyspace("target", keyspace)?;
    }
    let (keyspaces, cells, nodes, named) = try_join4(
        async { Ok(topo::keyspace::names(global).await?) },
        async { Ok::<_, Error>(context.topo.cells().await?) },
        async { Ok(global.list(paths::WORKFLOW_RECORDS).await?) },
        async { Ok(global.list(paths::NAMED_LOCKS).await?) },
    )
    .await?;
    let (records, ways_back) = (record::known(&nodes), back_record::known(&nodes));
    let wanted = |name: &String| keyspace.is_empty() || name == keyspace;
    let mut kept = records.iter().map(|(of, _, _)| of).chain(ways_back.iter().map(|(of, _, _)| of));
    if !keyspace.is_empty() && !keyspaces.iter().any(wanted) && !kept.any(wanted) {
        let text = format!("keyspace {keyspace} does not exist");
        return Err(Error::not_found(Reason::KEYSPACE_UNKNOWN, text, "see GetKeyspaces"));
    }
    let looks = keyspaces.iter().filter(|name| wanted(name)).map(|name| {
        let of: Vec<&Known> = records.iter().filter(|(keyspace, _, _)| keyspace == name).collect();
        in_keyspace(context, name, cells.clone(), of, &named)
    });
    let mut found = Vec::new();
    let mut mounts: BTreeSet<String> = BTreeSet::new();
    let mut unread: Vec<String> = Vec::new();
    for (name, look) in keyspaces.iter().filter(|name| wanted(name)).zip(join_all(looks).await) {
        match look {
            Ok(look) => {
                found.extend(look.found);
                mounts.extend(look.mounts);
            }
            // one keyspace says nothing of the others
            Err(Error::Topo(why)) if keyspace.is_empty() && why.is_bad_data() => {
                found.push(not_read(name, &why));
                unread.push(name.clone());
            }
            Err(Error::Topo(gone)) if keyspace.is_empty() && gone.is_no_node() => {}
            Err(error) => return Err(error),
        }
    }
    for (of, workflow, facts) in records.iter().filter(|(of, _, _)| wanted(of)) {
        if !keyspaces.contains(of) {
            let subject = format!("workflow {of}.{workflow}");
            let finding = Finding::new(&check::RECORD_OF_NO_KEYSPACE, subject, "its keyspace is gone", CLEAN);
            let action = Action::Record { keyspace: of.clone(), workflow: workflow.clone() };
            found.push(Leftover::new(finding, Some(action)));
        }
        mounts.extend(facts.as_ref().ok().map(|facts| facts.mount.clone()));
    }
    mounts.extend(ways_back.iter().filter_map(|(_, _, facts)| Some(facts.as_ref().ok()?.mount.clone())));
    let ways_back: Vec<_> = ways_back.into_iter().filter(|(of, _, _)| wanted(of)).collect();
    let has_record = |of: &str, name: &str| records.iter().any(|(k, w, _)| k == of && w == name);
    let is_there = |of: &str| keyspaces.iter().any(|name| name == of);
    found.extend(ways_back::judge(&ways_back, &has_record, &is_there, streams::now()));
    if keyspace.is_empty() {
        found.extend(unused(context, &mounts, &unread).await?);
    }
    Ok(found)
}

/// A keyspace that a record keeps from being looked at.
fn not_read(keyspace: &str, why: &topo::Error) -> Leftover {
    Leftover::new(Finding::new(&check::NOT_READ, format!("keyspace {keyspace}"), why.to_string(), why.help()), None)
}

/// Mounts that no workflow reads from, besides these; `unread` are keyspaces of which nobody knows what they read from.
async fn unused(context: &Context, used: &BTreeSet<String>, unread: &[String]) -> Result<Vec<Leftover>> {
    let names = topo::external_cluster::names(context.topo.global()).await?;
    let idle: Vec<String> = names.into_iter().filter(|name| !used.contains(name)).collect();
    let asked: Vec<_> = idle.iter().map(|name| ways_back::need(context, name)).collect();
    let needed: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let told = |(name, needed): (&String, std::result::Result<bool, String>)| {
        let fix = format!("if nobody needs it: Mount unregister --name {name}");
        let finding = |cause: &str| Finding::new(&check::MOUNT_UNUSED, format!("mount {name}"), cause, fix);
        match needed {
            Ok(true) => None,
            Ok(false) if !unread.is_empty() => {
                let unread = names::some(unread, ", ");
                let cause = format!("no workflow is seen to read from it, and these keyspaces were not read: {unread}");
                Some(Leftover::new(Finding { severity: Severity::Unchecked, ..finding(&cause) }, None))
            }
            Ok(false) => Some(Leftover::new(finding("no workflow reads from it"), None)),
            Err(why) => {
                let cause =
                    format!("no workflow reads from it, and whether it is there for a way back is not known: {why}");
                Some(Leftover::new(Finding { severity: Severity::Unchecked, ..finding(&cause) }, None))
            }
        }
    };
    Ok(idle.iter().zip(needed).filter_map(told).collect())
}

/// Mounted clusters that are asked at a time.
const AT_ONCE: usize = 16;
const CLEAN: &str = "clean it with: vtmigrated advise leftovers --clean";

/// What was found in a keyspace, and the mounts that its streams read from.
struct Look {
    found: Vec<Leftover>,
    mounts: BTreeSet<String>,
}

async fn in_keyspace(
    context: &Context,
    name: &str,
    cells: Cells,
    records: Vec<&Known>,
    named: &[topo::Node],
) -> Result<Look> {
    let global = context.topo.global();
    let shards = async {
        let records = topo::shard::all(global, name).await?;
        Keyspace::with_primaries(name, records, cells).await?.in_use().answering(context).await
    };
    let held = async { Ok(global.list(&paths::keyspace_dir(name)).await?) };
    let (target, held) = try_join(shards, held).await?;
    let prefix = format!("{}/{name}/", paths::NAMED_LOCKS);
    let of_keyspace = named.iter().filter(|node| node.path.starts_with(&prefix)).chain(&held);
    let mut found = locks::judge(context, of_keyspace).await?;
    let seen = tablets::KeyspaceAnswers::read(context, &target).await;
    found.extend(seen.judge(&target, &records));
    let busy: BTreeSet<&str> =
        named.iter().filter_map(|node| node.path.strip_prefix(&prefix)?.split('/').next()).collect();
    // workflows that were looked at with their record, or are not to be looked at
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (_, workflow, facts) in &records {
        told.insert(workflow);
        let subject = format!("workflow {name}.{workflow}");
        if busy.contains(workflow.as_str()) {
            let text = "a command holds its lock: it was not looked at";
            found.push(Leftover::new(
                Finding::new(&check::NOT_READ, subject, text, "ask again when that has ended"),
                None,
            ));
            continue;
        }
        let facts = match facts {
            Ok(facts) => facts,
            Err(why) => {
                found.push(unreadable::judge(&target, workflow, why, &seen));
                continue;
            }
        };
        let rows: Vec<&ShardWorkflow> = seen.rows.iter().filter(|row| row.found.workflow == *workflow).collect();
        if !seen.all_answered {
            continue;
        }
        let Some(facts) = earlier::of(facts, &target, rows.iter().copied()) else {
            found.push(of_earlier(subject));
            told.remove(workflow.as_str());
            continue;
        };
        found.extend(of_record(context, &target, workflow, &facts, &rows, &records, &seen.rows).await?);
    }
    found.extend(without_record(name, &seen.rows, &told));
    let mounts = seen.rows.iter().flat_map(|row| &row.found.streams);
    let mounts = mounts.filter_map(|stream| Some(stream.bls.as_ref()?.external_cluster.clone())).collect();
    Ok(Look { found, mounts })
}

/// What a record and the streams of its workflow say together.
async fn of_record(
    context: &Context,
    target: &Keyspace,
    workflow: &str,
    facts: &Facts,
    rows: &[&ShardWorkflow],
    records: &[&Known],
    all_rows: &[ShardWorkflow],
) -> Result<Option<Leftover>> {
    let keyspace = &target.name;
    let subject = format!("workflow {keyspace}.{workflow}");
    let command = |action: &str| format!("Migrate --target-keyspace {keyspace} --workflow {workflow} {action}");
    if record::has_begun(rows.iter().copied(), Some(facts)) {
        return Ok(Some(interrupted(keyspace, workflow)));
    }
    let creating = facts.is_unfinished();
    if !creating && !rows.is_empty() {
        let shards = target.shards.iter().enumerate().filter(|(_, shard)| shard.record.value.is_primary_serving);
        let bare: Vec<&str> = shards
            .filter(|(at, _)| !rows.iter().any(|row| row.shard == *at))
            .map(|(_, shard)| shard.name.as_str())
            .collect();
        if bare.is_empty() {
            return Ok(None);
        }
        let text = format!("it has no streams on {}, but on other shards", names::some(&bare, ", "));
        let fix = format!("take it away with: {}", command("cancel"));
        return Ok(Some(Leftover::new(Finding::new(&check::WORKFLOW_HALF_GONE, subject, text, fix), None)));
    }
    let not_read = |why: String, fix: String| {
        Ok(Some(Leftover::new(Finding::new(&check::NOT_READ, subject.clone(), why, fix), None)))
    };
    let remains = match plan::Remains::read(context, target, facts).await {
        Ok(remains) => remains,
        Err(error) => return not_read(error.to_string(), error.help()),
    };
    let others = Others::of(keyspace, workflow, records, all_rows);
    let vschema = match topo::vschema::look(context.topo.global(), keyspace).await? {
        Ok(found) => found.map(|record| record.value).unwrap_or_default(),
        Err(why) => return not_read(why.to_string(), why.help()),
    };
    let plan = Plan::new(target, facts, rows, &remains, &others, &vschema);
    let check = if creating { &check::CREATE_INTERRUPTED } else { &check::RECORD_WITHOUT_STREAMS };
    let filled = remains.filled(facts);
    if creating && (!filled.is_empty() || plan::have_copied(rows)) {
        let text = match filled.as_slice() {
            [] => "its create was interrupted; its streams have begun to copy".to_owned(),
            filled => {
                format!("its create was interrupted; tables that it made hold rows: {}", names::some(filled, ", "))
            }
        };
        let fix = format!(
            "repeat create with the same arguments, or take it away with: {}; it drops only what its streams copied",
            command("cancel")
        );
        return Ok(Some(Leftover::new(Finding::new(check, subject, text, fix), None)));
    }
    if !plan.shared.is_empty() {
        let fix = "clean it when the other workflow has ended: nothing else tells whose these denied tables are";
        return Ok(Some(Leftover::new(Finding::new(check, subject, plan.text(), fix), None)));
    }
    let action = Action::Workflow { keyspace: keyspace.clone(), workflow: workflow.to_owned(), plan: plan.clone() };
    Ok(Some(Leftover::new(Finding::new(check, subject, plan.text(), CLEAN), Some(action))))
}

/// A complete that stopped streams for good and did not come to its end.
fn interrupted(keyspace: &str, workflow: &str) -> Leftover {
    let fix = format!("finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
    let subject = format!("workflow {keyspace}.{workflow}");
    Leftover::new(Finding::new(&check::COMPLETE_INTERRUPTED, subject, "its complete was interrupted", fix), None)
}

/// A record beside the streams of a later workflow of its name.
fn of_earlier(subject: String) -> Leftover {
    let text = "its record is of an earlier workflow of this name, whose streams are gone";
    let fix = format!("end the workflow whose streams are there first; if the record is left then, {CLEAN}");
    Leftover::new(Finding::new(&check::RECORD_WITHOUT_STREAMS, subject, text, fix), None)
}

/// Streams of workflows that no record tells of, and that nobody can go on with.
fn without_record(keyspace: &str, rows: &[ShardWorkflow], told: &BTreeSet<&str>) -> Vec<Leftover> {
    let ours = |row: &&ShardWorkflow| row.found.workflow_type() == VReplicationWorkflowType::Migrate;
    let frozen = rows.iter().filter(ours).filter(|row| streams::any_frozen([*row]));
    let named: BTreeMap<&str, &ShardWorkflow> = frozen.map(|row| (row.found.workflow.as_str(), row)).collect();
    let left = |(workflow, row): (&str, &ShardWorkflow)| {
        let of = row.found.streams.iter().find_map(|stream| back::whose(stream, workflow));
        of.map_or_else(|| interrupted(keyspace, workflow), |of| going_back(keyspace, workflow, of))
    };
    named.into_iter().filter(|(workflow, _)| !told.contains(workflow)).map(left).collect()
}

/// The way back of another cluster's migration, `of` that keyspace and name, whose streams were stopped for good.
fn going_back(keyspace: &str, workflow: &str, of: (&str, &str)) -> Leftover {
    let cause =
        format!("it is the way back of {}.{} in another cluster, and going back was interrupted there", of.0, of.1);
    let fix = format!("decide in that cluster: {}, or {}", back::command("complete", of), back::command("cancel", of));
    let subject = format!("workflow {keyspace}.{workflow}");
    Leftover::new(Finding::new(&check::COMPLETE_INTERRUPTED, subject, cause, fix), None)
}

/// A finding about something that could not be read.
fn silent(subject: String, why: String) -> Leftover {
    let finding = Finding::new(&check::NOT_READ, subject, why, complete::ASK_AGAIN);
    Leftover::new(Finding { severity: Severity::Unchecked, ..finding }, None)
}

/// `nothing is left`, or how many leftovers there are and how many can be cleaned.
pub fn summary(found: &[Leftover]) -> String {
    if found.is_empty() {
        return "nothing is left".into();
    }
    let cleanable = found.iter().filter(|leftover| leftover.cleanable).count();
    format!("{} found, {cleanable} can be cleaned", found.len())
}
