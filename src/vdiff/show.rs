//! Show: the raw answers of all shards, as the stock client folds them; differences that the tablets cannot finish are
//! answers (see [`crate::workflow::settle`]).

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};
use vtmigrated_proto::topodata::Tablet;
use vtmigrated_proto::vtctldata::VDiffShowResponse;
use vtmigrated_proto::vtctldata::v_diff_show_response::TabletResponsesEntry;

use super::{ComparedWorkflow, Target, control, uuids};
use crate::context::Context;
use crate::error::Reason;
use crate::failure::{Error, Result};
use crate::workflow::reads::reference_tables;
use crate::workflow::settle::{self, Facts};
use crate::workflow::streams::{self, Keyspace, ShardWorkflow};
use crate::{sql, tablet};

/// The argument of show that asks for all diffs.
pub const ALL: &str = "all";
/// The argument of show that asks for the newest diff.
pub const LAST: &str = "last";

/// What one shard's primary answered.
struct Answer {
    response: VDiffResponse,
    /// Diffs whose log has the error, by lower-case UUID.
    facts: BTreeMap<String, Facts>,
}

/// The answers of all shards that the workflow has streams on, by shard, ascending; rows of a diff ascending by table.
/// Three waves of round trips; up to five more when a diff cannot be finished by its tablets.
///
/// # Errors
/// Every shard must answer, and have the diff: a part of a diff would look like a whole one.
pub async fn show(context: &Context, whose: ComparedWorkflow<'_>, argument: &str) -> Result<VDiffShowResponse> {
    let ComparedWorkflow { keyspace, workflow, .. } = whose;
    let argument = uuids::argument(argument, &[ALL, LAST])?;
    super::check_names(keyspace, workflow)?;
    let loaded = Keyspace::read(context, keyspace).await?;
    whose.refuse_silent(context, &loaded).await?;
    let request = VDiffRequest { action_arg: argument.clone(), ..control::request(keyspace, workflow, "show") };
    let names = [workflow.to_owned()];
    let asked = join_all(loaded.shards.iter().map(|shard| {
        let request = request.clone();
        async move {
            match &shard.primary {
                Some(primary) => Some(ask(context, primary, request).await),
                None => None,
            }
        }
    }));
    let (found, answers) = join(loaded.workflows(context, &names), asked).await;
    let found = found.map_err(|error| unanswered(keyspace, &loaded, &answers).unwrap_or(error))?;
    let targets = super::of(&loaded, workflow, found)?;
    let mut by_shard: BTreeMap<&str, tablet::Result<Answer>> =
        loaded.shards.iter().zip(answers).filter_map(|(s, answer)| Some((s.name.as_str(), answer?))).collect();
    let mine = targets.iter().filter_map(|target| by_shard.remove(target.shard.as_str()));
    let mut answers = super::all(keyspace, &targets, mine)?;
    if argument == LAST {
        check_same(&targets, &answers)?;
    }
    finish(context, keyspace, workflow, &targets, &mut answers).await;
    let entry = |(target, answer): (&Target, Answer)| {
        let mut value = answer.response;
        if let Some(output) = &mut value.output
            && argument != ALL
        {
            let table = output.fields.iter().position(|field| field.name == "table_name");
            output.rows.sort_by_cached_key(|row| {
                table.and_then(|at| sql::rows::values(row).get(at).copied().flatten().map(<[u8]>::to_vec))
            });
        }
        TabletResponsesEntry { key: target.shard.clone(), value: Some(value) }
    };
    Ok(VDiffShowResponse { tablet_responses: targets.iter().zip(answers).map(entry).collect() })
}

async fn ask(context: &Context, primary: &Tablet, request: VDiffRequest) -> tablet::Result<Answer> {
    let log = context.tablets.read(primary, settle::query(&request.keyspace, &request.workflow), settle::MAX_LINES);
    let (response, log) = join(context.tablets.v_diff(primary, request), log).await;
    let facts = match log {
        Ok(log) => settle::parse(&log),
        Err(error) => {
            tracing::warn!("cannot read the log of VDiffs: {error}");
            BTreeMap::new()
        }
    };
    Ok(Answer { response: response?, facts })
}

/// The shards whose primaries gave no answer at all, each with its name.
fn unanswered(keyspace: &str, loaded: &Keyspace, answers: &[Option<tablet::Result<Answer>>]) -> Option<Error> {
    let mut errors = Vec::new();
    for (shard, answer) in loaded.shards.iter().zip(answers) {
        if let Some(Err(error)) = answer
            && error.is_silent()
        {
            errors.push(super::error::on_shard(keyspace, &shard.name, error.clone()));
        }
    }
    Error::several(errors)
}

/// The newest diff must be the same everywhere, else the client would mix two.
fn check_same(targets: &[Target], answers: &[Answer]) -> Result<()> {
    let uuids: BTreeSet<String> = answers.iter().map(|a| a.response.vdiff_uuid.to_lowercase()).collect();
    if uuids.len() <= 1 {
        return Ok(());
    }
    let shown = |(target, answer): (&Target, &Answer)| {
        let uuid = answer.response.vdiff_uuid.as_str();
        format!("{} has {}", target.shard, if uuid.is_empty() { "none" } else { uuid })
    };
    let list: Vec<String> = targets.iter().zip(answers).map(shown).collect();
    let text = format!("the last vdiff is not the same on all shards: {}", list.join(", "));
    let help = "show one by its UUID; delete those that only some shards have with VDiff delete";
    Err(Error::precondition(Reason::VDIFF_NOT_EVERYWHERE, text, help))
}

/// Settles what the tablets cannot finish, and stops it there.
async fn finish(context: &Context, keyspace: &str, workflow: &str, targets: &[Target], answers: &mut [Answer]) {
    if answers.iter().all(|answer| answer.facts.is_empty()) {
        return;
    }
    let on_shards: Vec<ShardWorkflow> =
        targets.iter().enumerate().map(|(shard, t)| ShardWorkflow { shard, found: t.found.clone() }).collect();
    let origin = streams::origin(keyspace, &on_shards.iter().collect::<Vec<_>>()).unwrap_or_default();
    let reference = reference_tables::reference(context, keyspace, &origin).await;
    let mut stops = Vec::new();
    for (target, answer) in targets.iter().zip(answers) {
        let Some(output) = &mut answer.response.output else { continue };
        let uuid = answer.response.vdiff_uuid.to_lowercase();
        let stored = if uuid.is_empty() {
            settle::list(output, &answer.facts)
        } else {
            let facts = answer.facts.get(&uuid);
            let stop = facts.filter(|facts| settle::summary(output, facts, &reference).stop);
            stop.map(|facts| facts.uuid.clone()).into_iter().collect()
        };
        stops.extend(stored.into_iter().map(|uuid| (target, uuid)));
    }
    let calls = stops.iter().map(|(target, uuid)| {
        let request = VDiffRequest { vdiff_uuid: uuid.clone(), ..control::request(keyspace, workflow, "stop") };
        context.tablets.v_diff(&target.primary, request)
    });
    for ((target, uuid), answer) in stops.iter().zip(join_all(calls).await) {
        match answer {
            Ok(_) => tracing::info!("stopped vdiff {uuid} on {keyspace}/{}: its differences are known", target.shard),
            // the next show tries again
            Err(error) => tracing::warn!("vdiff {uuid} on {keyspace}/{} could not be stopped: {error}", target.shard),
        }
    }
}
