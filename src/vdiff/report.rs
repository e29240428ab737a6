//! What the answers of all shards say together: pure, for the verdict, HTTP, the service of legacy commands and the
//! demonstration. The stock client folds the same answers by itself.
//!
//! Where stock's folding depends on the order of a map, calls an empty diff started, or an absent one completed, this one
//! does not: the gravest state of a table wins, a diff without rows is pending, no answer is unknown.

mod listing;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use vtmigrated_proto::vtctldata::VDiffShowResponse;

pub use listing::{Listing, listings};
pub use text::{eta, text};

use crate::sql::rows::epoch_seconds;
pub use crate::workflow::vdiff_summary::{ShardRow, State, TableReport, rows};

/// Error in the time left past which it is not told: a year in seconds.
const FAR: f64 = 365.0 * 86400.0;

/// A diff over all shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Empty when there is no diff.
    pub uuid: String,
    pub state: State,
    /// Shards that answered, ascending, with their states.
    pub shards: BTreeMap<String, State>,
    pub tables: BTreeMap<String, TableSummary>,
    pub rows_compared: i64,
    /// Estimate of the rows to compare.
    pub rows: i64,
    /// True when a difference is known already, whatever the state.
    pub has_mismatch: bool,
    /// Errors by shard; a completed diff may carry remarks there.
    pub errors: BTreeMap<String, String>,
    /// UTC, `YYYY-MM-DD hh:mm:ss`; empty before it starts.
    pub started_at: String,
    /// Likewise; only of a completed diff.
    pub completed_at: String,
    /// Of one that is under way.
    pub progress: Option<Progress>,
    /// Seconds since it was completed, else since it was started.
    pub age_seconds: Option<i64>,
}

/// A table over all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableSummary {
    pub state: State,
    pub rows_compared: i64,
    pub matching_rows: i64,
    pub mismatched_rows: i64,
    pub extra_rows_source: i64,
    pub extra_rows_target: i64,
    pub has_mismatch: bool,
}

/// How far a running diff is. Estimates, for the number of rows is one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// 0 to 99.99.
    pub percent: f64,
    pub seconds_left: Option<i64>,
}

impl Summary {
    /// Folds the answers of all shards; `now` is in seconds since the epoch.
    pub fn of(response: &VDiffShowResponse, now: i64) -> Self {
        let mut summary = Self::default();
        for entry in &response.tablet_responses {
            let Some(answer) = &entry.value else { continue };
            if summary.uuid.is_empty() {
                summary.uuid.clone_from(&answer.vdiff_uuid);
            }
            if let Some(output) = &answer.output {
                summary.add_shard(&entry.key, &rows(output));
            }
        }
        summary.finish(now);
        summary
    }

    fn add_shard(&mut self, shard: &str, rows: &[ShardRow]) {
        let Some(first) = rows.first() else {
            self.shards.insert(shard.to_owned(), State::Unknown);
            return;
        };
        self.shards.insert(shard.to_owned(), State::of(&first.vdiff_state));
        if !first.last_error.is_empty() {
            self.errors.insert(shard.to_owned(), first.last_error.clone());
        }
        let earlier = self.started_at.is_empty() || first.started_at < self.started_at;
        if earlier && !first.started_at.is_empty() {
            self.started_at.clone_from(&first.started_at);
        }
        if first.completed_at > self.completed_at {
            self.completed_at.clone_from(&first.completed_at);
        }
        for row in rows {
            self.rows_compared = self.rows_compared.saturating_add(row.rows_compared);
            self.rows = self.rows.saturating_add(row.table_rows);
            if !row.table_name.is_empty() {
                self.tables.entry(row.table_name.clone()).or_default().add(row);
            }
        }
    }

    fn finish(&mut self, now: i64) {
        self.has_mismatch = self.tables.values().any(|table| table.has_mismatch);
        self.state = self.overall();
        if self.state != State::Completed {
            self.completed_at.clear();
        }
        let since = |text: &str| epoch_seconds(text).map(|then| now.saturating_sub(then).max(0));
        let running = since(&self.started_at);
        self.age_seconds = since(&self.completed_at).or(running);
        if self.state == State::Started {
            self.progress = Some(Progress::of(self.rows_compared, self.rows, running));
        }
    }

    fn overall(&self) -> State {
        let any = |state| self.shards.values().any(|s| *s == state);
        let any_table = |state| self.tables.values().any(|t| t.state == state);
        let all = |state| self.shards.values().all(|s| *s == state);
        match () {
            () if self.shards.is_empty() || any(State::Unknown) => State::Unknown,
            () if any(State::Stopped) => State::Stopped,
            () if any(State::Error) || any_table(State::Error) => State::Error,
            () if all(State::Completed) => State::Completed,
            () if all(State::Pending) => State::Pending,
            () => State::Started,
        }
    }
}

impl TableSummary {
    fn add(&mut self, row: &ShardRow) {
        let state = State::of(&row.table_state);
        self.state = self.state.max(state);
        let report = TableReport::parse(&row.report);
        self.rows_compared = self.rows_compared.saturating_add(report.processed_rows);
        self.matching_rows = self.matching_rows.saturating_add(report.matching_rows);
        self.mismatched_rows = self.mismatched_rows.saturating_add(report.mismatched_rows);
        self.extra_rows_source = self.extra_rows_source.saturating_add(report.extra_rows_source);
        self.extra_rows_target = self.extra_rows_target.saturating_add(report.extra_rows_target);
        // extra rows of a table that is not done may find their partner yet
        let extra = state == State::Completed && (report.extra_rows_source > 0 || report.extra_rows_target > 0);
        self.has_mismatch |= row.has_mismatch || report.mismatched_rows > 0 || extra;
    }
}

impl Progress {
    fn of(compared: i64, total: i64, elapsed: Option<i64>) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let (done, total, elapsed) = (compared.max(0) as f64, total.max(1) as f64, elapsed.map(|e| e as f64));
        let share = (done / total).min(0.9999);
        let left = elapsed.filter(|_| share >= 0.01).map(|elapsed| elapsed / share * (1.0 - share));
        #[allow(clippy::cast_possible_truncation, reason = "at most a year of seconds")]
        let seconds_left = left.filter(|left| *left < FAR).map(|left| left.round() as i64);
        Self { percent: (share * 10_000.0).floor() / 100.0, seconds_left }
    }
}

/// What tests print of a diff that has ended: rows differ, and one shard tells an error.
#[cfg(test)]
pub(crate) fn differing() -> Summary {
    let table = TableSummary {
        state: State::Completed,
        rows_compared: 11,
        matching_rows: 8,
        mismatched_rows: 1,
        extra_rows_source: 2,
        ..TableSummary::default()
    };
    Summary {
        uuid: "u".into(),
        state: State::Completed,
        shards: [("-80".into(), State::Completed), ("80-".into(), State::Completed)].into(),
        tables: [("customer".to_owned(), table)].into(),
        rows_compared: 28,
        has_mismatch: true,
        errors: [("80-".to_owned(), "it's <late>".to_owned())].into(),
        started_at: "2026-11-22 01:12:09".into(),
        completed_at: "2026-11-22 02:00:01".into(),
        ..Summary::default()
    }
}

#[cfg(test)]
mod tests;
