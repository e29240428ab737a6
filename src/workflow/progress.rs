//! How far a copy is: rows and bytes of each table on both sides, folded to percent, rate and time left.
//!
//! The figures are InnoDB's running estimates (`information_schema.innodb_tablestats`), or the table statistics where
//! InnoDB has none in memory; never more than the total.

pub mod copying;
pub mod folding;

use std::collections::BTreeMap;

use vtmigrated_proto::vtctldata::TableCopyPhase;
use vtmigrated_proto::vtctldata::workflow_status_response::TableCopyState;

/// Rows and bytes of a table, estimated by the server that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub rows: i64,
    pub bytes: i64,
}

impl Size {
    /// A part of it, from 0 to 1.
    pub fn part(self, part: f64) -> Self {
        #[allow(clippy::cast_possible_truncation)]
        let of = |whole: i64| (float(whole) * part.clamp(0.0, 1.0)).floor() as i64;
        Self { rows: of(self.rows), bytes: of(self.bytes) }
    }
}

/// Sizes by table.
pub type Sizes = BTreeMap<String, Size>;

/// What is known of one table of a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// On the target, all shards together.
    pub here: Size,
    /// On the source; `None` when it cannot be asked.
    pub there: Option<Size>,
    /// No shard has anything of it left to copy.
    pub done: bool,
    /// The copy has not begun.
    pub untouched: bool,
}

impl TableState {
    /// As the status RPC answers it. A table that is done is whole; one that is not never shows more than its total.
    pub fn copy_state(&self) -> TableCopyState {
        let there = self.there.unwrap_or(self.here);
        let here = match (self.done, self.untouched) {
            (true, _) => there,
            (false, true) => Size::default(),
            (false, false) => Size { rows: self.here.rows.min(there.rows), bytes: self.here.bytes.min(there.bytes) },
        };
        let phase = match (self.done, self.untouched) {
            (true, _) => TableCopyPhase::Complete,
            (false, true) => TableCopyPhase::NotStarted,
            (false, false) => TableCopyPhase::InProgress,
        };
        TableCopyState {
            rows_copied: here.rows,
            rows_total: there.rows,
            rows_percentage: percentage(here.rows, there.rows, self.done),
            bytes_copied: here.bytes,
            bytes_total: there.bytes,
            bytes_percentage: percentage(here.bytes, there.bytes, self.done),
            phase: phase.into(),
        }
    }
}

/// Progress of a whole copy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overall {
    pub copied: i64,
    pub total: i64,
    pub tables_left: usize,
    pub tables: usize,
    /// Rows in a second since the copy began; `None` before it began.
    pub rate: Option<f64>,
}

impl Overall {
    /// Adds the tables up. `seconds` is the time since the copy began.
    pub fn of<'a>(tables: impl Iterator<Item = &'a TableState>, seconds: Option<f64>) -> Self {
        let mut overall = Self::default();
        for table in tables {
            let state = table.copy_state();
            overall.copied = overall.copied.saturating_add(state.rows_copied);
            overall.total = overall.total.saturating_add(state.rows_total);
            overall.tables += 1;
            overall.tables_left += usize::from(!table.done);
        }
        // enough of a start that the figure means something
        overall.rate = seconds.filter(|s| *s >= 1.0 && overall.copied > 0).map(|s| float(overall.copied) / s);
        overall
    }

    /// `Copying 63% (estimate), 12000 rows/s, about 2m 5s left, 2 of 3 tables left`.
    pub fn text(&self) -> String {
        let mut text = format!("Copying {:.0}% of rows (estimate)", percentage(self.copied, self.total, false).floor());
        if let Some(rate) = self.rate.filter(|rate| *rate >= 1.0) {
            let left = (float((self.total - self.copied).max(0)) / rate).ceil();
            let left = std::time::Duration::try_from_secs_f64(left).unwrap_or_default();
            text = format!("{text}, {rate:.0} rows/s, about {} left", humantime::format_duration(left));
        }
        format!("{text}, {} of {} tables left", self.tables_left, self.tables)
    }
}

fn percentage(part: i64, total: i64, done: bool) -> f32 {
    if done {
        return 100.0;
    }
    if total <= 0 {
        return 0.0;
    }
    // below 100 until it is done
    #[allow(clippy::cast_possible_truncation)]
    let percentage = (float(part) * 100.0 / float(total)).clamp(0.0, 99.99) as f32;
    percentage
}

#[allow(clippy::cast_precision_loss)]
fn float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: i64) -> Size {
        Size { rows, bytes: rows * 100 }
    }

    #[test]
    fn estimates_never_pass_the_total() {
        let over = TableState { here: size(150), there: Some(size(100)), ..TableState::default() };
        let state = over.copy_state();
        assert_eq!((state.rows_copied, state.rows_total), (100, 100));
        assert!(state.rows_percentage < 100.0);
        let done = TableState { done: true, ..over };
        assert!((done.copy_state().rows_percentage - 100.0).abs() < f32::EPSILON);
        let untouched = TableState { untouched: true, ..over };
        assert_eq!(untouched.copy_state().rows_copied, 0);
        let phases = [untouched, over, done].map(|table| table.copy_state().phase());
        assert_eq!(phases, [TableCopyPhase::NotStarted, TableCopyPhase::InProgress, TableCopyPhase::Complete]);
    }

    #[test]
    fn an_empty_table_that_is_done_is_whole() {
        let state = TableState { there: Some(size(0)), done: true, ..TableState::default() }.copy_state();
        assert!((state.rows_percentage - 100.0).abs() < f32::EPSILON);
        assert_eq!(state.rows_total, 0);
    }

    #[test]
    fn the_text_has_percent_rate_and_time_left() {
        let half = TableState { here: size(500), there: Some(size(1000)), ..TableState::default() };
        let done = TableState { here: size(500), there: Some(size(500)), done: true, untouched: false };
        let overall = Overall::of([half, done].iter(), Some(10.0));
        assert_eq!(overall.text(), "Copying 66% of rows (estimate), 100 rows/s, about 5s left, 1 of 2 tables left");
        assert_eq!(Overall::of([half].iter(), None).text(), "Copying 50% of rows (estimate), 1 of 1 tables left");
    }
}
