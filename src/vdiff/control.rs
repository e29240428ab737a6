//! Stop, resume and delete.

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::VDiffRequest;

use super::{ComparedWorkflow, Target, report, uuids};
use crate::context::Context;
use crate::error::Reason;
use crate::failure::{Error, Result};

/// Which diff, on which shards.
#[derive(Clone, Debug, Default)]
pub struct DiffSelector {
    pub keyspace: String,
    pub workflow: String,
    pub uuid: String,
    /// Only these shards; all when empty.
    pub shards: Vec<String>,
    /// As in [`ComparedWorkflow::known`].
    pub known: Option<Vec<String>>,
}

impl DiffSelector {
    fn whose(&self) -> ComparedWorkflow<'_> {
        ComparedWorkflow { keyspace: &self.keyspace, workflow: &self.workflow, known: self.known.as_deref() }
    }
}

/// The request of an action without its arguments.
pub(super) fn request(keyspace: &str, workflow: &str, action: &str) -> VDiffRequest {
    VDiffRequest {
        keyspace: keyspace.to_owned(),
        workflow: workflow.to_owned(),
        action: action.to_owned(),
        ..VDiffRequest::default()
    }
}

/// A shard that has the diff.
struct DiffOnShard {
    target: Target,
    /// The UUID as the shard has stored it: stop compares letter by letter (Vitess 22.0.3).
    stored: String,
    state: report::State,
}

/// Stops a diff: five waves of round trips.
///
/// # Errors
/// A diff that no shard has; stock's answer to that is success.
pub async fn stop(context: &Context, which: &DiffSelector) -> Result<()> {
    let having = having(context, which).await?;
    let to_stop: Vec<&DiffOnShard> = having.iter().collect();
    send_each(context, which, "stop", &to_stop).await
}

/// Lets a stopped or completed diff go on, from where it was: at most six waves. One that stands in an error is stopped
/// first, for tablets do not resume those.
pub async fn resume(context: &Context, which: &DiffSelector) -> Result<()> {
    let having = having(context, which).await?;
    let targets: Vec<Target> = having.iter().map(|having| having.target.clone()).collect();
    super::refuse_frozen(&which.keyspace, &which.workflow, &targets)?;
    let failed: Vec<&DiffOnShard> = having.iter().filter(|h| h.state == report::State::Error).collect();
    if !failed.is_empty() {
        send_each(context, which, "stop", &failed).await?;
    }
    send_each(context, which, "resume", &having.iter().collect::<Vec<_>>()).await
}

/// Deletes a diff, or all of the workflow with the argument `all`: four waves. A diff that only some shards have, because
/// its create was interrupted, is deleted on those.
pub async fn delete(context: &Context, whose: ComparedWorkflow<'_>, argument: &str) -> Result<()> {
    let ComparedWorkflow { keyspace, workflow, .. } = whose;
    let action_arg = uuids::argument(argument, &["all"])?;
    let targets = super::targets(context, whose).await?;
    let request = VDiffRequest { action_arg, ..request(keyspace, workflow, "delete") };
    let calls = targets.iter().map(|target| context.tablets.v_diff(&target.primary, request.clone()));
    let answers = join_all(calls).await;
    let some = answers.iter().any(|answer| answer.is_ok());
    let answers = answers.into_iter().map(|answer| match answer {
        Err(error) if some && error.is_unknown_vdiff() => Ok(()),
        answer => answer.map(drop),
    });
    super::all(keyspace, &targets, answers).map(drop)
}

async fn send_each(context: &Context, which: &DiffSelector, action: &str, shards: &[&DiffOnShard]) -> Result<()> {
    let calls = shards.iter().map(|having| {
        let request =
            VDiffRequest { vdiff_uuid: having.stored.clone(), ..request(&which.keyspace, &which.workflow, action) };
        context.tablets.v_diff(&having.target.primary, request)
    });
    let answers = join_all(calls).await;
    let targets: Vec<Target> = shards.iter().map(|having| having.target.clone()).collect();
    super::all(&which.keyspace, &targets, answers).map(drop)
}

/// The shards of the request that have the diff: four waves.
async fn having(context: &Context, which: &DiffSelector) -> Result<Vec<DiffOnShard>> {
    let uuid = uuids::canonical(&which.uuid)?;
    let targets = chosen(super::targets(context, which.whose()).await?, which)?;
    let request = VDiffRequest { action_arg: uuid.clone(), ..request(&which.keyspace, &which.workflow, "show") };
    let calls = targets.iter().map(|target| context.tablets.v_diff(&target.primary, request.clone()));
    let answers = join_all(calls).await;
    let some = answers.iter().any(|answer| answer.is_ok());
    let answers = answers.into_iter().map(|answer| match answer {
        Err(error) if some && error.is_unknown_vdiff() => Ok(None),
        answer => answer.map(Some),
    });
    let answers = super::all(&which.keyspace, &targets, answers)?;
    let mut found = Vec::new();
    for (target, answer) in targets.into_iter().zip(answers) {
        let Some(output) = answer.and_then(|answer| answer.output) else { continue };
        let first = report::rows(&output).into_iter().next().unwrap_or_default();
        let stored = if first.uuid.is_empty() { uuid.clone() } else { first.uuid };
        found.push(DiffOnShard { target, stored, state: report::State::of(&first.vdiff_state) });
    }
    Ok(found)
}

/// The targets that the request names.
fn chosen(targets: Vec<Target>, which: &DiffSelector) -> Result<Vec<Target>> {
    if let Some(unknown) = which.shards.iter().find(|name| !targets.iter().any(|t| t.shard == **name)) {
        let shown: String = unknown.chars().take(64).filter(|c| !c.is_control()).collect();
        let text = format!("specified target shard {shown} not a valid target for workflow {}", which.workflow);
        let names: Vec<&str> = targets.iter().map(|t| t.shard.as_str()).collect();
        return Err(Error::invalid(Reason::SHARD_UNKNOWN, text, format!("its target shards are {}", names.join(", "))));
    }
    Ok(targets.into_iter().filter(|t| which.shards.is_empty() || which.shards.contains(&t.shard)).collect())
}
