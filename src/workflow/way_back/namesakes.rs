//! Other ways back that have the same name in the same source keyspace: while one of them is there this one cannot be opened.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::topodata::TopoConfig;

use crate::context::Context;
use crate::deadline;
use crate::error::Reason;
use crate::topo::{external_cluster, paths};
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::back::{self, command};
use crate::workflow::reads::clusters;
use crate::workflow::record::way_back::{self as back_record, Facts, Known, Phase};
use crate::workflow::{Error, Result};

/// Bound of asking another cluster.
const READING: Duration = Duration::from_secs(3);

/// One of this cluster, by its records.
///
/// # Errors
/// Those of the topology.
pub async fn here(context: &Context, names: (&str, &str), facts: &Facts) -> Result<Option<Finding>> {
    let nodes = context.topo.global().list(paths::WORKFLOW_RECORDS).await?;
    let is_there = |other: &Facts| {
        let same = (&other.source, &other.keyspace) == (&facts.source, &facts.keyspace);
        same && other.phase != Phase::Missed
    };
    let is_namesake = |(keyspace, workflow, other): &Known| {
        let is_other = keyspace != names.0 && workflow == names.1;
        is_other && other.as_ref().is_ok_and(is_there)
    };
    let Some((keyspace, workflow, _)) = back_record::known(&nodes).into_iter().find(is_namesake) else {
        return Ok(None);
    };
    let of = (keyspace.as_str(), workflow.as_str());
    Ok(Some(taken(names, has_name("", of, facts), end_that("", of))))
}

/// What is told of another one, `of` a workflow, and where that is.
fn has_name(of_cluster: &str, of: (&str, &str), facts: &Facts) -> String {
    let (back, source) = (back::name(of.1), &facts.keyspace);
    format!(
        "the way back of workflow {}.{}{of_cluster} has the name {back} in the source keyspace {source} already",
        of.0, of.1
    )
}

fn end_that(there: &str, of: (&str, &str)) -> String {
    let (complete, cancel) = (command("complete", of), command("cancel", of));
    format!("end that one first{there}: {complete}, or {cancel}; or create this workflow under another name")
}

fn taken(names: (&str, &str), text: String, help: String) -> Finding {
    Finding::of(&Error::exists(Reason::WAY_BACK_NAME_TAKEN, text, help), format!("workflow {}.{}", names.0, names.1))
}

/// Those of other clusters: the source has a mount for each, whose name tells of which workflow it is, and the cluster that it leads to
/// tells the rest. One that does not tell is a warning.
///
/// # Errors
/// Those of the source's topology.
pub async fn elsewhere(mirror: &Context, names: (&str, &str), facts: &Facts) -> Result<Vec<Finding>> {
    let mounts = external_cluster::names(mirror.topo.global()).await?;
    let others = mounts.iter().filter(|mount| **mount != facts.back_mount);
    let others = others.filter_map(|mount| Some((mount.as_str(), back::keyspace_of(mount, names.1)?)));
    let asked: Vec<_> = others.map(|(mount, keyspace)| of_mount(mirror, (mount, keyspace), names, facts)).collect();
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

async fn of_mount(
    mirror: &Context,
    (mount, keyspace): (&str, &str),
    names: (&str, &str),
    facts: &Facts,
) -> Option<Finding> {
    let reading = async {
        let known = clusters::mount(mirror, mount).await?;
        // those of this cluster are told by its records
        if known.value.topo_config == Some(TopoConfig::from(&facts.target)) {
            return Ok(None);
        }
        let topo = clusters::open(mirror, mount, &known.value).await?;
        back_record::look(topo.global(), keyspace, names.1).await
    };
    let kept = match tokio::time::timeout(deadline::remaining(READING), reading).await {
        Ok(read) => read.map_err(|error| error.to_string()).and_then(Option::transpose),
        Err(_) => Err("it did not answer in time".to_owned()),
    };
    let of = (keyspace, names.1);
    match kept {
        Ok(Some(other))
            if other.keyspace == facts.keyspace && other.back_mount == mount && other.phase != Phase::Missed =>
        {
            let text = has_name(&format!(" of another cluster, mount {mount},"), of, facts);
            Some(taken(names, text, end_that(", in its cluster", of)))
        }
        Ok(_) => None,
        Err(why) => {
            let text = format!(
                "the source has a mount {mount}, as a way back of workflow {keyspace}.{} of another cluster has it, which does not tell \
                 where that leads ({why}): of two into {} only the first can be opened",
                names.1, facts.keyspace
            );
            let help = format!(
                "see Mount show --name {mount} in the source's cluster, or create this workflow under another name"
            );
            Some(Finding { severity: Severity::Warns, ..taken(names, text, help) })
        }
    }
}
