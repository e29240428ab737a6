//! Create: checks, proof that tablets can be picked, the diff made on all shards, then started on all.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all, try_join3, try_join4};
use prost::Message;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState;
use vtmigrated_proto::tabletmanagerdata::{VDiffOptions, VDiffRequest};
use vtmigrated_proto::topodata::{ExternalVitessCluster, Tablet};

pub use super::options::Arguments;
use super::tablet_picker::{self, Side};
use super::{ComparedWorkflow, Target, missing_tables};
use crate::context::Context;
use crate::error::{Reason, Violation};
use crate::failure::{Error, Result};
use crate::tablet;
use crate::topo::cell::Aliases;
use crate::topo::{self, Node};
use crate::workflow::names;
use crate::workflow::reads::{clusters, copy_states};
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{self, Keyspace, Origin, ShardAliases, ShardWorkflow};

/// Makes a diff and starts it, unless the request says otherwise; answers its UUID. At most nine waves of round trips.
///
/// # Errors
/// Nothing is left behind: a diff that was not made or not started on every shard is deleted on all.
pub async fn create(context: &Context, arguments: &Arguments) -> Result<String> {
    let seen = TargetState::read(context, arguments.whose()).await?;
    let targets = super::of(&seen.graphed.keyspace, &arguments.workflow, seen.found)?;
    check_states(arguments, &targets, &seen.copying)?;
    let on_shards: Vec<ShardWorkflow> =
        targets.iter().enumerate().map(|(shard, t)| ShardWorkflow { shard, found: t.found.clone() }).collect();
    let origin = streams::origin(&arguments.keyspace, &on_shards.iter().collect::<Vec<_>>())?;
    check_tables(arguments, &origin)?;
    let source = source(context, &origin, &seen.mounts).await?;
    let source_cells = tablet_picker::source_cells(arguments, &origin, &source);
    let target = Side {
        which: "target",
        flag: "--target-cells",
        keyspace: arguments.keyspace.clone(),
        tablets: seen.tablets,
        cells: seen.graphed.keyspace.cells.names().map(str::to_owned).collect(),
        aliases: seen.aliases,
    };
    let cell = |t: &Target| t.primary.alias.as_ref().map(|alias| alias.cell.clone()).unwrap_or_default();
    let own: BTreeMap<String, String> = targets.iter().map(|t| (t.shard.clone(), cell(t))).collect();
    let brought = missing_tables::brought(&on_shards);
    let there = missing_tables::check(context, &source, &brought, &arguments.tables);
    let (there, proven) =
        join(there, tablet_picker::prove(context, arguments, (&source, &source_cells), &target, &own)).await;
    there.and(proven)?;
    make(context, arguments, &targets, &arguments.options(&source_cells)).await?;
    let started = async { if arguments.auto_start { start(context, arguments, &targets).await } else { Ok(()) } };
    let (started, has_ended) = join(started, has_ended(context, arguments, &seen.graphed.keyspace)).await;
    started?;
    if has_ended {
        let text = format!(
            "workflow {} in keyspace {} was ended while its VDiff was being created",
            arguments.workflow, arguments.keyspace
        );
        let help = format!("see Workflow --keyspace {} list", arguments.keyspace);
        return Err(
            take_back(context, arguments, &targets, Error::not_found(Reason::WORKFLOW_UNKNOWN, text, help)).await
        );
    }
    Ok(arguments.uuid.clone())
}

/// True when no stream of the workflow is there any more: whoever ended it deleted the diffs that there were then, and nothing would
/// delete this one.
async fn has_ended(context: &Context, arguments: &Arguments, target: &Keyspace) -> bool {
    let (found, silent) = target.workflows_told(context, std::slice::from_ref(&arguments.workflow)).await;
    found.is_empty() && silent.is_empty()
}

/// What is known before anything is asked of the source.
struct TargetState {
    graphed: ShardAliases,
    found: Vec<ShardWorkflow>,
    /// Tables to copy, by shard.
    copying: BTreeMap<String, CopyStates>,
    /// Every tablet of each target shard.
    tablets: BTreeMap<String, Vec<Tablet>>,
    aliases: Aliases,
    mounts: Vec<Node>,
}

impl TargetState {
    /// Three waves.
    async fn read(context: &Context, whose: ComparedWorkflow<'_>) -> Result<Self> {
        let ComparedWorkflow { keyspace, workflow, .. } = whose;
        let global = context.topo.global();
        let (records, cells, aliases, mounts) = try_join4(
            topo::shard::all(global, keyspace),
            context.topo.cells(),
            Aliases::read(global),
            global.list(topo::paths::EXTERNAL_CLUSTERS),
        )
        .await?;
        let graphed = ShardAliases::read(keyspace, records, cells).await?.in_use(context).await?;
        whose.refuse_silent(context, &graphed.keyspace).await?;
        let names = [workflow.to_owned()];
        let copying = copy_states::of_all(context, &graphed.keyspace, workflow);
        let (found, copying, tablets) =
            try_join3(graphed.keyspace.workflows(context, &names), copying, graphed.tablets()).await?;
        let copying = graphed.keyspace.shards.iter().map(|shard| shard.name.clone()).zip(copying).collect();
        Ok(Self { graphed, found, copying, tablets, aliases, mounts })
    }
}

/// The cluster that the streams read from, three waves.
async fn source(context: &Context, origin: &Origin, mounts: &[Node]) -> Result<Side> {
    if origin.mount.is_empty() {
        return tablet_picker::source(&context.topo, origin).await;
    }
    let path = topo::paths::external_cluster(&origin.mount);
    let node = mounts.iter().find(|node| node.path == path);
    let Some(record) = node.and_then(|node| ExternalVitessCluster::decode(node.value.clone()).ok()) else {
        return Err(clusters::mount(context, &origin.mount).await.map_or_else(
            |error| error,
            |_| Error::Topo(topo::Error::BadData { path, detail: "it cannot be decoded".to_owned() }),
        ));
    };
    let topo = clusters::open(context, &origin.mount, &record).await?;
    tablet_picker::source(&topo, origin).await
}

/// All streams must run, and none may have been switched.
fn check_states(arguments: &Arguments, targets: &[Target], copying: &BTreeMap<String, CopyStates>) -> Result<()> {
    let (keyspace, workflow) = (&arguments.keyspace, &arguments.workflow);
    let streams = || targets.iter().flat_map(|t| t.found.streams.iter().map(move |stream| (t, stream)));
    super::refuse_frozen(keyspace, workflow, targets)?;
    let mut violations = Vec::new();
    let mut help = "see Migrate status";
    for (target, stream) in streams() {
        let is_copying = copying.get(&target.shard).is_some_and(|c| c.contains_key(&i64::from(stream.id)));
        let shown = streams::shown_state(stream, is_copying);
        // tablets set Running first, and Copying when the copy begins
        let waits = shown == VReplicationWorkflowState::Running.as_str_name() && stream.pos.is_empty();
        if shown == VReplicationWorkflowState::Running.as_str_name() && !waits {
            continue;
        }
        let message = if waits { "its copy has not started".to_owned() } else { streams::message(stream) };
        help = match (shown, message.as_str()) {
            _ if waits => "wait until the copy is done: see Migrate status",
            ("Copying", _) => "wait until the copy is done: see Migrate status",
            (_, "for vdiff") => "another VDiff is being set up at this moment: run the command again",
            ("Stopped", _) => "start it with Workflow start, then run the command again",
            ("Error", _) => "fix what the message says, then run the command again",
            _ => help,
        };
        let subject = format!("{keyspace}/{} stream {}", target.shard, stream.id);
        let why = if message.is_empty() { shown.to_owned() } else { format!("{shown}: {message}") };
        violations.push(Violation { reason: Reason::STREAM_STATE, subject, text: why });
    }
    if violations.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = violations.iter().map(|v| format!("{} is {}", v.subject, v.text)).collect();
    violations.truncate(names::NAMED);
    let list = names::some(&list, "; ");
    let text = format!("not all streams are running in workflow {keyspace}.{workflow}: {list}");
    Err(Error::Blocked { reason: Reason::STREAMS_NOT_RUNNING, text, help: help.to_owned(), violations })
}

/// A tablet that finds none of the tables would try again for ever.
fn check_tables(arguments: &Arguments, origin: &Origin) -> Result<()> {
    let by_pattern = origin.tables.iter().any(|table| table.starts_with('/'));
    let known: BTreeSet<&String> = origin.tables.iter().collect();
    let unknown = arguments.tables.iter().find(|table| !known.contains(table));
    let Some(table) = unknown.filter(|_| !by_pattern) else { return Ok(()) };
    let text = format!(
        "no tables found to diff: {table} is not a table of workflow {}.{}",
        arguments.keyspace, arguments.workflow
    );
    Err(Error::not_found(Reason::TABLE_UNKNOWN, text, format!("its tables are {}", names::some(&origin.tables, ", "))))
}

/// Makes the diff, stopped, on all shards in parallel; what was made is deleted when one fails.
async fn make(context: &Context, arguments: &Arguments, targets: &[Target], options: &VDiffOptions) -> Result<()> {
    let request = |options: Option<VDiffOptions>| VDiffRequest {
        vdiff_uuid: arguments.uuid.clone(),
        options,
        ..super::control::request(&arguments.keyspace, &arguments.workflow, "create")
    };
    let calls = targets.iter().map(|target| context.tablets.v_diff(&target.primary, request(Some(options.clone()))));
    let answers = join_all(calls).await;
    let was_there = answers.iter().any(|a| a.as_ref().is_err_and(tablet::Error::is_known_vdiff));
    let mut made = Vec::new();
    for (target, answer) in targets.iter().zip(&answers) {
        match answer {
            Ok(_) => made.push(target.clone()),
            // it may have acted; but what may be an older diff of the same UUID is left alone
            Err(error) if error.is_silent() && !was_there => made.push(target.clone()),
            Err(_) => {}
        }
    }
    match super::all(&arguments.keyspace, targets, answers) {
        Ok(_) => Ok(()),
        Err(error) => Err(take_back(context, arguments, &made, error).await),
    }
}

/// Starts the diff on all shards in parallel; it is deleted everywhere when one fails. A tablet that does not know
/// `auto_start` (before Vitess 22) runs it already.
async fn start(context: &Context, arguments: &Arguments, targets: &[Target]) -> Result<()> {
    let request = VDiffRequest {
        vdiff_uuid: arguments.uuid.clone(),
        ..super::control::request(&arguments.keyspace, &arguments.workflow, "resume")
    };
    let calls = targets.iter().map(|target| context.tablets.v_diff(&target.primary, request.clone()));
    let answers = join_all(calls).await.into_iter().map(|answer| match answer {
        Err(error) if error.is_unresumable_vdiff() => Ok(()),
        answer => answer.map(drop),
    });
    match super::all(&arguments.keyspace, targets, answers) {
        Ok(_) => Ok(()),
        Err(error) => Err(take_back(context, arguments, targets, error).await),
    }
}

/// Deletes the diff on these shards; answers the error to report.
async fn take_back(context: &Context, arguments: &Arguments, made: &[Target], error: Error) -> Error {
    let request = VDiffRequest {
        action_arg: arguments.uuid.clone(),
        ..super::control::request(&arguments.keyspace, &arguments.workflow, "delete")
    };
    let calls = made.iter().map(|target| context.tablets.v_diff(&target.primary, request.clone()));
    let answers = join_all(calls).await.into_iter().map(|answer| match answer {
        Err(error) if error.is_unknown_vdiff() => Ok(()),
        answer => answer.map(drop),
    });
    match super::all(&arguments.keyspace, made, answers) {
        Ok(_) => error,
        Err(undo) => Error::HalfTakenBack {
            error: Box::new(error),
            undo: Box::new(undo),
            help: format!("when the tablets answer again: VDiff delete {}", arguments.uuid),
        },
    }
}
