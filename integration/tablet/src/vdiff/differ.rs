//! The comparison of one table.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use tokio::time::Instant;
use vtmigrated_proto::query::QueryResult;

use super::{
    controller::Run,
    order::{self, Class},
    plan::TablePlan,
    reconcile,
    record::{COMPLETED, STARTED},
    report::{Mismatch, Report, Side, sample},
    rows::KeyedRow,
    setup::{self, Snapshots},
    workflow::Workflow,
};
use crate::{
    engine::{
        db::Db,
        error::{Error, Result},
    },
    value::Cell,
};

/// Rows after which progress is saved.
const SAVED_ROWS: i64 = 10_000;
/// As good as never.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Compares a table from where it was left, and saves what was found.
///
/// # Errors
/// CANCELED once the diff is to end; those of both sides.
pub(super) async fn diff_table(run: &Run, db: &mut Db, workflow: &Workflow, plan: TablePlan) -> Result<()> {
    let (parts, core) = (&run.parts, &run.options.core_options);
    let name = plan.table.name.clone();
    let saved = parts.records.get_table(db, run.id, &name).await?.unwrap_or_default();
    let after = plan.decode_last(&saved.lastpk)?;
    parts.records.set_table_state(db, run.id, &name, STARTED, None).await?;
    let limit = u64::try_from(core.max_diff_seconds).ok().filter(|&seconds| seconds > 0);
    let limit = limit.map_or(YEAR, Duration::from_secs);
    let mut differ = Differ { run, plan, after, last: None };
    let mut report = loop {
        run.check()?;
        let snapshots = setup::open(run, workflow, &differ.plan, differ.after.clone()).await?;
        match differ.compare(db, snapshots, Instant::now() + limit).await? {
            End::Done(report) => break report,
            End::TooLong => {
                tracing::warn!(table = name, "table diff was stopped due to exceeding the max-diff-duration time");
                let delay = parts.context.tuning.vdiff_restart_delay;
                let rest = async {
                    tokio::time::sleep(delay).await;
                    Ok(())
                };
                run.unless_cancelled(rest).await?;
            }
        }
    };
    if report.extra_rows_source > 0 || report.extra_rows_target > 0 {
        let reconciled = reconcile::reconcile(
            &mut report,
            &parts.context.topo,
            &workflow.keyspace,
            &parts.context.shared.options.keyspace,
            core.max_extra_rows_to_compare,
            run.options.report_options.max_sample_rows,
        );
        reconciled.await.map_err(|error| error.wrap("failed to reconcile extra rows"))?;
    }
    if report.mismatched_rows > 0 || report.extra_rows_source > 0 || report.extra_rows_target > 0 {
        parts.records.set_mismatch(db, run.id, &name).await?;
    }
    parts.records.set_table_state(db, run.id, &name, COMPLETED, Some(&report)).await
}

enum End {
    Done(Report),
    /// The snapshots are as old as they may get.
    TooLong,
}

struct Differ<'a> {
    run: &'a Run,
    plan: TablePlan,
    /// Where the next snapshots of source and target begin.
    after: (Option<QueryResult>, Option<QueryResult>),
    /// The source row that was read last when the loop came round.
    last: Option<Arc<Vec<Cell>>>,
}

impl Differ<'_> {
    /// Compares until the end of both sides, and saves how far it came also when it fails.
    async fn compare(&mut self, db: &mut Db, mut snapshots: Snapshots, until: Instant) -> Result<End> {
        let (run, name) = (self.run, self.plan.table.name.clone());
        let saved = run.parts.records.get_table(db, run.id, &name).await?;
        let missing = || {
            let tablet = run.tablet();
            Error::unknown(format!("no state found for vdiff table {name} for vdiff_id {} on tablet {tablet}", run.id))
        };
        let saved = saved.ok_or_else(missing)?;
        let mut report = Report { table_name: name, ..saved.report };
        self.last = None;
        let ended = self.walk(db, &mut snapshots, &mut report, saved.mismatch, until).await;
        let last = self.last.take();
        if let Err(error) = self.save(db, &report, last.as_deref()).await {
            tracing::error!(table = report.table_name, %error, "failed to update vdiff progress");
        }
        Ok(if ended? { End::Done(report) } else { End::TooLong })
    }

    /// False when the time is over.
    async fn walk(
        &mut self,
        db: &mut Db,
        snapshots: &mut Snapshots,
        report: &mut Report,
        mut flagged: bool,
        until: Instant,
    ) -> Result<bool> {
        let run = self.run;
        let mut left = run.options.core_options.max_rows;
        let (mut source, mut target): (Option<KeyedRow>, Option<KeyedRow>) = (None, None);
        let (mut read_source, mut read_target) = (true, true);
        loop {
            self.last = source.as_ref().map(|row| Arc::clone(&row.cells));
            run.check()?;
            if Instant::now() >= until {
                return Ok(false);
            }
            if !flagged && report.mismatched_rows > 0 {
                flagged = true;
                run.parts.records.set_mismatch(db, run.id, &report.table_name).await?;
            }
            left -= 1;
            if left < 0 {
                return Ok(true);
            }
            if read_source {
                source = run.unless_cancelled(snapshots.source.next()).await?;
            }
            if read_target {
                target = run.unless_cancelled(snapshots.target.next()).await?;
            }
            let (Some(left_row), Some(right_row)) = (&source, &target) else {
                self.count_rest(snapshots, report, source.as_ref(), target.as_ref()).await?;
                return Ok(true);
            };
            report.processed_rows += 1;
            let order = order::compare(&left_row.key, &right_row.key);
            (read_source, read_target) = (order.is_le(), order.is_ge());
            match order {
                Ordering::Equal => self.judge(report, &left_row.cells, &right_row.cells),
                Ordering::Less => self.extra(report, Side::Source, &left_row.cells),
                Ordering::Greater => self.extra(report, Side::Target, &right_row.cells),
            }
            // an extra row is not progress that is worth a statement
            if order.is_eq() && report.processed_rows % SAVED_ROWS == 0 {
                let cells = Arc::clone(&left_row.cells);
                self.save(db, report, Some(&cells)).await?;
            }
        }
    }

    /// One side or both are at their end: what is left of the other is extra.
    async fn count_rest(
        &self,
        snapshots: &mut Snapshots,
        report: &mut Report,
        source: Option<&KeyedRow>,
        target: Option<&KeyedRow>,
    ) -> Result<()> {
        let options = &self.run.options.report_options;
        if let Some(row) = target {
            report.extra_rows_target_sample.push(sample(&self.plan, Side::Source, &row.cells, options));
            let count = 1 + self.run.unless_cancelled(snapshots.target.drain()).await?;
            report.extra_rows_target += count;
            report.processed_rows += count;
        } else if let Some(row) = source {
            report.extra_rows_source_sample.push(sample(&self.plan, Side::Source, &row.cells, options));
            let count = 1 + self.run.unless_cancelled(snapshots.source.drain()).await?;
            report.extra_rows_source += count;
            report.processed_rows += count;
        }
        Ok(())
    }

    fn extra(&self, report: &mut Report, side: Side, row: &[Cell]) {
        let (count, samples) = match side {
            Side::Source => (&mut report.extra_rows_source, &mut report.extra_rows_source_sample),
            Side::Target => (&mut report.extra_rows_target, &mut report.extra_rows_target_sample),
        };
        if *count < self.run.options.core_options.max_extra_rows_to_compare {
            samples.push(sample(&self.plan, side, row, &self.run.options.report_options));
        }
        *count += 1;
    }

    /// Rows of one key: the other columns decide.
    fn judge(&self, report: &mut Report, source: &[Cell], target: &[Cell]) {
        let others = self.plan.columns.iter().enumerate().filter(|(at, _)| !self.plan.key.contains(at));
        let mut others = others.map(|(at, selected)| (at, &selected.column));
        let same = others.all(|(at, column)| match (source.get(at), target.get(at)) {
            (Some(source), Some(target)) => source == target || Class::of(column).same(source, target),
            _ => false,
        });
        if same {
            report.matching_rows += 1;
            return;
        }
        let options = &self.run.options.report_options;
        if options.max_sample_rows == 0 || report.mismatched_rows < options.max_sample_rows {
            report.mismatched_rows_sample.push(Mismatch {
                source: sample(&self.plan, Side::Target, source, options),
                target: sample(&self.plan, Side::Target, target, options),
            });
        }
        report.mismatched_rows += 1;
    }

    async fn save(&mut self, db: &mut Db, report: &Report, row: Option<&Vec<Cell>>) -> Result<()> {
        let (records, id) = (&self.run.parts.records, self.run.id);
        let Some(row) = row else {
            return records.set_progress(db, id, &report.table_name, report, None).await;
        };
        let (text, last) = self.plan.encode_last(row)?;
        if self.run.options.core_options.max_diff_seconds > 0 {
            self.after = (last.source.or_else(|| last.target.clone()), last.target);
        }
        records.set_progress(db, id, &report.table_name, report, Some(&text)).await
    }
}
