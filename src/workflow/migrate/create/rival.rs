//! Whose streams of the workflow's name are: planned here, or somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::binlogdata::BinlogSource;

use super::apply::Creation;
use crate::error::{Reason, check};
use crate::workflow::findings::Finding;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::record::Facts;
use crate::workflow::streams::{self, Keyspace, Listed, ShardWorkflow};
use crate::workflow::{Error, Result, names, plan, removal, rows};

/// True for an error that says so.
pub fn is_rival(error: &Error) -> bool {
    match error {
        Error::Refused { reason, .. } => *reason == Reason::WORKFLOW_RIVAL,
        Error::Several(errors) => errors.iter().any(is_rival),
        _ => false,
    }
}

/// Streams of the workflow's name, by whose they are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sorted {
    /// Ids of those that are planned, by the shard's index.
    ours: BTreeMap<usize, Vec<i64>>,
    /// Shards that have others.
    foreign: Vec<String>,
}

fn sort(keyspace: &Keyspace, rows: &[ShardWorkflow], sources: &plan::Sources) -> Sorted {
    let mut sorted = Sorted::default();
    for (at, shard) in keyspace.shards.iter().enumerate() {
        let mut wanted: Vec<BinlogSource> = planned(sources, &shard.name).iter().map(in_order).collect();
        for stream in streams::on(rows, at) {
            let source = stream.bls.as_ref().map(in_order);
            match wanted.iter().position(|planned| source.as_ref() == Some(planned)) {
                Some(found) => {
                    wanted.swap_remove(found);
                    sorted.ours.entry(at).or_default().push(i64::from(stream.id));
                }
                None => sorted.foreign.push(shard.name.clone()),
            }
        }
    }
    sorted
}

impl Creation<'_> {
    /// Stock takes its locks only after its rows exist: when it worked under the same name meanwhile, our rows go. Answers
    /// the streams that there are.
    ///
    /// # Errors
    /// [`Reason::WORKFLOW_RIVAL`].
    pub async fn no_rival(&self) -> Result<Listed> {
        let keyspace = &self.situation.target.keyspace;
        let rows = keyspace.workflows(self.context, std::slice::from_ref(&self.arguments.workflow)).await?;
        let sorted = sort(keyspace, &rows, self.sources);
        if sorted.foreign.is_empty() {
            return Ok(streams::list(keyspace, &rows));
        }
        for (at, ids) in sorted.ours {
            if let Some(tablet) = keyspace.shards.get(at).and_then(|s| s.primary.as_ref()) {
                // they may have begun to copy by now
                let gone = async {
                    removal::restore_keys_of(self.context, tablet, &ids).await?;
                    self.context
                        .tablets
                        .v_replication_exec(tablet, rows::delete_streams(&ids))
                        .await
                        .map_err(Error::from)
                };
                // the rival is what matters: its streams are not to be taken for ours
                if let Err(error) = gone.await {
                    tracing::warn!("streams that a rival was faster than were not deleted: {error}");
                }
            }
        }
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let text = format!(
            "workflow {workflow} already exists in keyspace {keyspace}: another client created it at the same time"
        );
        Err(Error::exists(Reason::WORKFLOW_RIVAL, text, "choose another name, or wait until that create has ended"))
    }
}

/// What an interrupted create left and what the plan of now would not make: streams, for the vschemas, the source's shards, or
/// the streams themselves were changed in between; streams whose tables are gone.
pub fn changed(situation: &ClusterState, workflow: &str, sources: &plan::Sources, tables: &[String]) -> Vec<Finding> {
    let (keyspace, rows) = (&situation.target.keyspace, &situation.rows);
    let mut found = tables_gone(situation, workflow, tables);
    for (at, shard) in keyspace.shards.iter().enumerate() {
        let planned = planned(sources, &shard.name);
        for stream in streams::on(rows, at) {
            let Some(stored) = &stream.bls else { continue };
            let same = planned.iter().find(|source| {
                (&source.keyspace, &source.shard, &source.external_cluster)
                    == (&stored.keyspace, &stored.shard, &stored.external_cluster)
            });
            let difference = match same {
                None => Some("no such stream is planned now".to_owned()),
                Some(source) => difference(stored, source),
            };
            let Some(difference) = difference else { continue };
            let subject = format!("stream {} of shard {}/{}", stream.id, keyspace.name, shard.name);
            let from = format!("{}/{}", stored.keyspace, stored.shard);
            let cause = format!(
                "the interrupted create of workflow {workflow} left a stream on shard {}/{} from {from} that is not the one planned \
                 now: {difference}",
                keyspace.name, shard.name
            );
            let fix = format!(
                "undo that change, or take the interrupted create back with: Migrate --target-keyspace {} --workflow {workflow} \
                 cancel",
                keyspace.name
            );
            found.push(Finding::new(&check::PLAN_CHANGED, subject, cause, fix));
        }
    }
    found
}

/// Tables that are gone on shards where streams of an interrupted create have copied: what the streams have done already
/// would be missing in one that is made anew.
fn tables_gone(situation: &ClusterState, workflow: &str, tables: &[String]) -> Vec<Finding> {
    let keyspace = &situation.target.keyspace;
    let shards = keyspace.shards.iter().zip(&situation.target_tables).enumerate();
    let mut found = Vec::new();
    for (_, (shard, there)) in shards.filter(|(at, _)| situation.has_copied(*at)) {
        let gone: Vec<&String> = tables.iter().filter(|table| !there.contains_key(*table)).collect();
        if gone.is_empty() {
            continue;
        }
        let subject = format!("shard {}/{}", keyspace.name, shard.name);
        let cause = format!(
            "streams of the interrupted create of workflow {workflow} have copied to {subject}, and tables are not there any more: {}",
            names::some(&gone, ", ")
        );
        let fix = format!(
            "take the interrupted create back, then create it again: Migrate --target-keyspace {} --workflow {workflow} cancel",
            keyspace.name
        );
        found.push(Finding::new(&check::PLAN_CHANGED, subject, cause, fix));
    }
    found
}

/// Tables that a create which goes on would have to move besides those it began with, or not any more.
pub fn other_tables(workflow: &str, facts: &Facts, chosen: &[String]) -> Option<Finding> {
    let (was, is): (BTreeSet<&String>, BTreeSet<&String>) = (facts.tables.iter().collect(), chosen.iter().collect());
    let named = |tables: Vec<&&String>| names::some(&tables, ", ");
    let (more, gone) = (is.difference(&was).collect::<Vec<_>>(), was.difference(&is).collect::<Vec<_>>());
    let cause = match (more.is_empty(), gone.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("the source has tables that it had not when create began: {}", named(more)),
        (true, false) => format!("the source has not the tables any more with which create began: {}", named(gone)),
        (false, false) => {
            format!("the source has other tables than when create began: {}, and not {}", named(more), named(gone))
        }
    };
    let fix = "take what was begun back with cancel, then create it again";
    Some(Finding::new(&check::PLAN_CHANGED, format!("workflow {workflow}"), cause, fix))
}

/// The first thing in which a stored stream differs from the planned one.
fn difference(stored: &BinlogSource, planned: &BinlogSource) -> Option<String> {
    let (stored, planned) = (in_order(stored), in_order(planned));
    if stored == planned {
        return None;
    }
    let rules = |source: &BinlogSource| -> Vec<(String, String)> {
        let rules = source.filter.iter().flat_map(|filter| &filter.rules);
        rules.map(|rule| (rule.r#match.clone(), rule.filter.clone())).collect()
    };
    let (was, is) = (rules(&stored), rules(&planned));
    let (were, are): (BTreeSet<_>, BTreeSet<_>) = (was.iter().collect(), is.iter().collect());
    if let Some((table, filter)) = was.iter().find(|rule| !are.contains(rule)) {
        let now = is.iter().find(|(name, _)| name == table).map_or("not moved", |(_, filter)| filter.as_str());
        return Some(format!("table {table} was {filter}, now {now}"));
    }
    if let Some((table, _)) = is.iter().find(|rule| !were.contains(rule)) {
        return Some(format!("table {table} was not moved"));
    }
    if stored.on_ddl != planned.on_ddl {
        let (was, is) = (stored.on_ddl().as_str_name(), planned.on_ddl().as_str_name());
        return Some(format!("on-ddl was {was}, now {is}"));
    }
    Some("its options are others".to_owned())
}

fn planned<'p>(sources: &'p plan::Sources, shard: &str) -> &'p [BinlogSource] {
    sources.iter().find(|(name, _)| name == shard).map(|(_, sources)| sources.as_slice()).unwrap_or_default()
}

/// The source with its rules in an order of their own: tablets keep them in any.
fn in_order(source: &BinlogSource) -> BinlogSource {
    let mut source = source.clone();
    if let Some(filter) = &mut source.filter {
        filter.rules.sort_by(|a, b| (&a.r#match, &a.filter).cmp(&(&b.r#match, &b.filter)));
    }
    source
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::{Filter, OnDdlAction, Rule};

    use super::*;

    fn source(shard: &str, rules: &[(&str, &str)]) -> BinlogSource {
        let rule = |(table, filter): &(&str, &str)| Rule {
            r#match: (*table).into(),
            filter: (*filter).into(),
            ..Rule::default()
        };
        let filter = Filter { rules: rules.iter().map(rule).collect(), ..Filter::default() };
        BinlogSource { shard: shard.into(), filter: Some(filter), ..BinlogSource::default() }
    }

    #[test]
    fn a_changed_stream_says_what_has_changed() {
        let was = source("0", &[("t", "select * from t where in_keyrange(a)"), ("u", "select * from u")]);
        let reordered = source("0", &[("u", "select * from u"), ("t", "select * from t where in_keyrange(a)")]);
        assert_eq!(difference(&was, &reordered), None);
        let other = source("0", &[("t", "select * from t where in_keyrange(b)"), ("u", "select * from u")]);
        let text = difference(&was, &other).unwrap();
        assert_eq!(text, "table t was select * from t where in_keyrange(a), now select * from t where in_keyrange(b)");
        let more = source("0", &[("t", "select * from t where in_keyrange(a)"), ("u", "select * from u"), ("v", "")]);
        assert_eq!(difference(&was, &more).unwrap(), "table v was not moved");
        assert_eq!(difference(&more, &was).unwrap(), "table v was , now not moved");
        let exec = BinlogSource { on_ddl: OnDdlAction::Exec.into(), ..was.clone() };
        assert_eq!(difference(&exec, &was).unwrap(), "on-ddl was EXEC, now IGNORE");
    }
}
