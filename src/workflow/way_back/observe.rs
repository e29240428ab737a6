//! What watchers see of ways back. To the source each is a migration, so it is looked at as one; what several into the same
//! keyspace share is read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::topodata::{ExternalVitessCluster, TopoConfig};

use super::{exact, mirror, not_ended, side, status};
use crate::context::Context;
use crate::error::check;
use crate::topo::{Node, paths};
use crate::workflow::Result;
use crate::workflow::checks::complete::diffs;
use crate::workflow::findings::Finding;
use crate::workflow::names::back::{self, command};
use crate::workflow::record::way_back::{Config, Facts, Known, Phase};
use crate::workflow::status::observe::{self, Common, Observed, Workflows};
use crate::workflow::streams::Keyspace;

/// Keyspace and name of a migration.
pub type Names = (String, String);

/// A way back, by the names of its migration.
#[derive(Clone, Debug)]
pub struct WayBack {
    pub keyspace: String,
    pub workflow: String,
    pub facts: Facts,
}

impl WayBack {
    /// Those names.
    pub fn names(&self) -> Names {
        (self.keyspace.clone(), self.workflow.clone())
    }

    /// Its workflow in the source.
    fn back(&self) -> String {
        back::name(&self.workflow)
    }

    /// Where it leads.
    fn to(&self) -> (&str, &Config, &str) {
        (&self.facts.mount, &self.facts.source, &self.facts.keyspace)
    }

    /// What the source knows the target by.
    fn mount(&self) -> Node {
        let record = ExternalVitessCluster { topo_config: Some(TopoConfig::from(&self.facts.target)) };
        let (path, value) = (paths::external_cluster(&self.facts.back_mount), record.encode_to_vec().into());
        Node { path, value, version: 0, created: 0 }
    }

    /// The same with what was not proven of an open one.
    fn judged(&self, context: &Context, mut seen: Observed) -> Observed {
        let names = (self.keyspace.as_str(), self.workflow.as_str());
        let equal_since = diffs::equal_since(&seen.diffs, &self.facts.tables);
        let unproven = exact::unproven(context, names, &self.facts, equal_since);
        seen.findings.extend(unproven.filter(|_| self.facts.phase == Phase::Open));
        seen
    }

    /// What speaks against going back, that its streams do not tell themselves.
    fn stands(&self, source: &Keyspace, workflows: &Workflows) -> Vec<Finding> {
        let rows = workflows.get(&self.back()).map(Vec::as_slice).unwrap_or_default();
        side::trouble(source, rows, (&self.keyspace, &self.workflow), &self.facts)
    }
}

/// Ways back that may have streams, those into the same keyspace together.
pub fn groups(known: &[Known]) -> Vec<Vec<WayBack>> {
    let mut groups: Vec<Vec<WayBack>> = Vec::new();
    for (keyspace, workflow, facts) in known {
        let Ok(facts) = facts else { continue };
        if matches!(facts.phase, Phase::Prepared | Phase::Missed) {
            continue;
        }
        let one = WayBack { keyspace: keyspace.clone(), workflow: workflow.clone(), facts: facts.clone() };
        match groups.iter_mut().find(|group| group.iter().any(|other| other.to() == one.to())) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// Looks at the streams of ways back into the same keyspace, as status does: at most seven waves, and two more where shards do not serve.
///
/// # Errors
/// The source must answer, with every primary of the keyspace but those that are [left out](Keyspace::answering).
pub async fn look(
    context: &Context,
    group: &[WayBack],
    common: &Common,
    columns: bool,
) -> Result<Vec<(Names, Result<Observed>)>> {
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    let record = common.mount(&first.facts.mount).ok_or_else(|| mirror::unknown(&first.facts))?;
    let mirror = mirror::of_record(context, &first.facts, &record).await?;
    for other in group {
        mirror.mounts.keep(&other.facts.back_mount, (&other.facts.target).into(), Arc::clone(&context.topo));
    }
    let source = Keyspace::read(&mirror, &first.facts.keyspace).await?;
    let mut names: Vec<String> = group.iter().map(WayBack::back).collect();
    names.sort();
    names.dedup();
    let workflows = observe::by_name(source.workflows(&mirror, &names).await?);
    let found: Vec<Vec<Finding>> = group.iter().map(|one| one.stands(&source, &workflows)).collect();
    let mounts = Common::of_mounts(group.iter().map(WayBack::mount).collect());
    let seen = observe::migrations(&mirror, &source, workflows, &mounts, (columns, false)).await?;
    let mut seen: BTreeMap<String, Result<Observed>> = seen.into_iter().collect();
    let mut told = Vec::with_capacity(group.len());
    for (one, found) in group.iter().zip(found) {
        let is_whole = source.refuse_silent_among(|shard| one.facts.is_on(shard));
        let seen = is_whole.and_then(|()| joined(one, seen.remove(&one.back()), found));
        told.push((one.names(), seen.map(|seen| one.judged(context, seen))));
    }
    Ok(told)
}

/// What was seen of a way back: nothing of streams that are somebody else's. Whether they do well matters once they run.
fn joined(one: &WayBack, seen: Option<Result<Observed>>, found: impl IntoIterator<Item = Finding>) -> Result<Observed> {
    let own = seen.transpose()?.filter(|seen| seen.origin.mount == one.facts.back_mount);
    let mut seen = own.unwrap_or_else(|| Observed { workflow: one.back(), ..Observed::default() });
    if one.facts.phase != Phase::Open {
        seen.findings.clear();
    }
    let names = (one.keyspace.as_str(), one.workflow.as_str());
    let own = std::mem::take(&mut seen.findings).into_iter();
    let own = own.map(|finding| Finding { fix: status::here(&finding.fix, names, &one.facts), ..finding });
    seen.findings = found.into_iter().chain(own).collect();
    Ok(seen)
}

/// What there is to tell of a way back by its record alone. `unfinished`: the complete of its migration has handed the target over
/// and has not ended.
pub fn told(names: (&str, &str), facts: &Facts, unfinished: bool) -> Option<Finding> {
    let subject = format!("workflow {}.{}", names.0, names.1);
    match facts.phase {
        Phase::Missed => {
            let fix = format!("take it away: {}", command("cancel", names));
            Some(Finding::new(&check::WAY_BACK_MISSED, subject, facts.missed(), fix))
        }
        Phase::Handed | Phase::Open if unfinished => Some(Finding::of(&not_ended(names), subject)),
        Phase::Handed => {
            let fix = format!("open it: {}", command("prepare", names));
            Some(Finding::new(&check::WAY_BACK_NOT_OPEN, subject, "its streams do not run yet", fix))
        }
        Phase::Prepared | Phase::Noted | Phase::Open | Phase::Closing | Phase::Returned | Phase::Cancelling => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(workflow: &str, phase: &str, mount: &str, keyspace: &str) -> Known {
        let text = format!(
            r#"{{"phase":"{phase}","mount":"{mount}","source":{{"topo_type":"etcd2","server":"s:1","root":"/r"}},
                "keyspace":"{keyspace}","tables":["t"],"back_mount":"customer.{workflow}","mount_made":true,"on_ddl":1,
                "target":{{"topo_type":"etcd2","server":"t:1","root":"/r"}},"why":"nobody told"}}"#
        );
        ("customer".to_owned(), workflow.to_owned(), Ok(serde_json::from_str(&text).unwrap()))
    }

    #[test]
    fn ways_back_into_one_keyspace_are_read_together_and_those_without_streams_are_not_read() {
        let all = [
            known("a", "open", "ext1", "commerce"),
            known("b", "prepared", "ext1", "commerce"),
            known("c", "noted", "ext1", "commerce"),
            known("d", "missed", "ext1", "commerce"),
            known("e", "closing", "ext1", "other"),
            known("f", "open", "ext2", "commerce"),
            ("customer".to_owned(), "g".to_owned(), Err("garbage".to_owned())),
        ];
        let groups = groups(&all);
        let names: Vec<Vec<&str>> =
            groups.iter().map(|group| group.iter().map(|one| one.workflow.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a", "c"], vec!["e"], vec!["f"]]);
        assert_eq!(groups[0][0].mount().path, "ExternalClusters/vitess/customer.a");
    }

    #[test]
    fn what_a_record_says_is_told_with_its_command() {
        let told = |phase: &str, unfinished: bool| {
            let (_, _, facts) = known("a", phase, "ext1", "commerce");
            told(("customer", "a"), &facts.unwrap(), unfinished).map(|finding| (finding.id, finding.fix))
        };
        for phase in ["prepared", "noted", "open", "closing", "returned", "cancelling"] {
            assert_eq!(told(phase, false), None, "{phase}");
        }
        let (missed, fix) = told("missed", false).unwrap();
        assert!(missed == "WAY_BACK_MISSED" && fix.contains("way-back cancel"), "{fix}");
        let (handed, fix) = told("handed", false).unwrap();
        assert!(handed == "WAY_BACK_NOT_OPEN" && fix.contains("way-back prepare"), "{fix}");
        for phase in ["handed", "open"] {
            let (unfinished, fix) = told(phase, true).unwrap();
            assert!(unfinished == "COMPLETE_HAS_BEGUN" && fix.contains("complete"), "{fix}");
        }
    }

    #[test]
    fn one_that_was_missed_tells_that_the_source_is_denied_still() {
        let (_, _, facts) = known("a", "missed", "ext1", "commerce");
        let cause = |source_denied: Vec<(String, Vec<String>)>| {
            let facts = Facts { source_denied, ..facts.clone().unwrap() };
            told(("customer", "a"), &facts, false).unwrap().cause
        };
        assert_eq!(cause(Vec::new()), "nobody told");
        assert_eq!(cause(vec![("0".to_owned(), Vec::new())]), "nobody told");
        let denied = "nobody told; until it is taken away the source's tables stay denied to clients";
        assert_eq!(cause(vec![("0".to_owned(), vec!["t".to_owned()])]), denied);
    }

    #[test]
    fn streams_of_somebody_else_are_not_shown_as_its_own() {
        let (keyspace, workflow, facts) = known("a", "open", "ext1", "commerce");
        let one = WayBack { keyspace, workflow, facts: facts.unwrap() };
        let seen = |mount: &str| {
            let mut seen = Observed { workflow: "a_back".into(), traffic: "seen".into(), ..Observed::default() };
            seen.origin.mount = mount.to_owned();
            Some(Ok(seen))
        };
        let finding = Finding::new(&check::WAY_BACK_NOT_OPEN, "w", "c", "m");
        let own = joined(&one, seen("customer.a"), None).unwrap();
        assert_eq!((own.traffic.as_str(), own.findings.len()), ("seen", 0));
        let mut missing = seen("customer.a").unwrap().unwrap();
        missing.findings.push(Finding::new(
            &check::STREAM_MISSING,
            "s",
            "c",
            "cancel the workflow and create it again, or x",
        ));
        let told = joined(&one, Some(Ok(missing)), None).unwrap().findings.remove(0);
        assert!(told.fix.ends_with("way-back cancel --target-keyspace customer --workflow a"), "{told:?}");
        let others = joined(&one, seen("elsewhere"), Some(finding)).unwrap();
        assert_eq!((others.traffic.as_str(), others.findings.len()), ("", 1));
        assert!(joined(&one, Some(Err(mirror::unknown(&one.facts))), None).is_err());
    }
}
