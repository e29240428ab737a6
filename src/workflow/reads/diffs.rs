//! What tablets say of the last VDiff of a workflow.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, join3};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::VDiffRequest;

use super::reference_tables;
use crate::context::Context;
use crate::workflow::checks::complete::diffs::earlier::{self, Mismatch};
use crate::workflow::checks::complete::diffs::{Diff, Diffs, decode};
use crate::workflow::record::Facts;
use crate::workflow::settle;
use crate::workflow::streams::{Keyspace, Origin, ShardWorkflow};

/// What all primaries answered when they were asked for the last diff, by shard.
pub struct Answers(Vec<(String, Result<Answer, String>)>);

/// One shard's answer.
#[derive(Default)]
struct Answer {
    uuid: String,
    output: Option<QueryResult>,
    /// Diffs whose log has the error that no tablet gets out of.
    facts: BTreeMap<String, settle::Facts>,
    earlier: Vec<Mismatch>,
}

/// Asks every primary for the last diff of a workflow: one wave.
pub async fn read(context: &Context, target: &Keyspace, workflow: &str) -> Answers {
    let asked = target.shards.iter().map(|shard| async {
        let Some(tablet) = &shard.primary else { return (shard.name.clone(), Ok(Answer::default())) };
        let request = VDiffRequest {
            keyspace: target.name.clone(),
            workflow: workflow.to_owned(),
            action: "show".into(),
            action_arg: "last".into(),
            ..VDiffRequest::default()
        };
        let log = context.tablets.read(tablet, settle::query(&target.name, workflow), settle::MAX_LINES);
        let earlier = context.tablets.read(tablet, earlier::query(&target.name, workflow), earlier::MAX_TABLES);
        let (answer, log, earlier) = join3(context.tablets.v_diff(tablet, request), log, earlier).await;
        let facts = log.map(|log| settle::parse(&log)).unwrap_or_else(|error| {
            tracing::debug!("the log of diffs cannot be read: {error}");
            BTreeMap::new()
        });
        let earlier = earlier.map(|answer| earlier::decode(&answer)).unwrap_or_else(|error| {
            tracing::warn!(
                "earlier diffs of workflow {workflow} on {}/{} cannot be read: {error}",
                target.name,
                shard.name
            );
            Vec::new()
        });
        let answer = answer.map(|a| Answer { uuid: a.vdiff_uuid.to_lowercase(), output: a.output, facts, earlier });
        (shard.name.clone(), answer.map_err(|e| e.to_string()))
    });
    Answers(join_all(asked).await)
}

impl Answers {
    /// The diffs as `VDiff show` shows them: what the tablets cannot finish is settled, but nothing is stopped. Up to
    /// five waves more when there is such a one. Those of the shards alone that the workflow with these streams and this record
    /// [is about](Keyspace::concerned): nothing compares the rows of others.
    pub async fn settled(
        self,
        context: &Context,
        origin: &Origin,
        target: &Keyspace,
        (rows, facts): (&[ShardWorkflow], Option<&Facts>),
    ) -> Diffs {
        let own = self.of_shards(target, rows, facts);
        let stuck = |(_, answer): &(String, Result<Answer, String>)| answer.as_ref().is_ok_and(|a| !a.facts.is_empty());
        let reference = match own.0.iter().any(stuck) {
            true => reference_tables::reference(context, &target.name, origin).await,
            false => settle::Reference::default(),
        };
        own.settle(&reference)
    }

    fn of_shards(mut self, target: &Keyspace, rows: &[ShardWorkflow], facts: Option<&Facts>) -> Self {
        let concerned = target.concerned(rows, facts);
        let concerned: BTreeSet<&str> = concerned.into_iter().map(|(_, shard)| shard.name.as_str()).collect();
        self.0.retain(|(shard, _)| concerned.contains(shard.as_str()));
        self
    }

    fn settle(self, reference: &settle::Reference) -> Diffs {
        let settled = |mut answer: Answer| {
            if let (Some(output), Some(facts)) = (&mut answer.output, answer.facts.get(&answer.uuid)) {
                settle::summary(output, facts, reference);
            }
            let diff = answer.output.as_ref().and_then(decode);
            diff.map(|diff| Diff { earlier: answer.earlier, ..diff })
        };
        self.0.into_iter().map(|(shard, answer)| (shard, answer.map(settled))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::rows;
    use crate::workflow::checks::complete::diffs::judge;
    use crate::workflow::vdiff_summary;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_reference_table_that_came_from_several_shards_is_no_mismatch() {
        let report = r#"{"TableName":"t","ProcessedRows":12,"MatchingRows":4,"ExtraRowsSource":8}"#;
        let error = "failed to reconcile extra rows: node doesn't exist: k";
        let row = ["stopped", error, "t", "u", "error", "4", "2027-01-15 07:59:00", "12", "", "0", report];
        let output = vdiff_summary::output(vec![rows::row(row.map(|cell| Some(cell.as_bytes())))]);
        let facts = || {
            let line = |text: &str, count: &str| {
                let cells = ["u", r#"{"core_options":{"auto_retry":true}}"#, text, count, "1", "1799999990"];
                rows::row(cells.map(|cell| Some(cell.as_bytes())))
            };
            let lines = [format!("Table t Error: {error}"), format!("Error: {error}")];
            let mut log: Vec<_> = lines.iter().map(|text| line(text, "1")).collect();
            log.push(line("table t", "0"));
            settle::parse(&QueryResult { rows: log, ..QueryResult::default() })
        };
        let judged = |reference: &settle::Reference| {
            let answer =
                || Answer { uuid: "u".into(), output: Some(output.clone()), facts: facts(), earlier: Vec::new() };
            let answers = Answers(vec![("-80".to_owned(), Ok(answer())), ("80-".to_owned(), Ok(answer()))]);
            let diffs = answers.settle(reference);
            let found = judge("import", "customer", &diffs, &["t".to_owned()], NOW);
            found.into_iter().map(|f| f.id).collect::<Vec<_>>()
        };
        let reference = settle::Reference { source: ["t".to_owned()].into(), ..settle::Reference::default() };
        assert!(judged(&reference).is_empty());
        assert_eq!(judged(&settle::Reference::default()), ["VDIFF_MISMATCH"; 2]);
    }
}
