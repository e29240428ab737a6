//! What the last VDiff of a workflow found.

pub mod earlier;

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::query::QueryResult;

use super::ASK_AGAIN;
use crate::error::check;
use crate::sql::rows::epoch_seconds;
use crate::workflow::findings::Finding;
use crate::workflow::names;
use crate::workflow::vdiff_summary::{self, ShardRow, TableReport};
use earlier::Mismatch;

/// An age from which on a diff says little, in seconds.
const OLD: i64 = 86_400;

/// The last diff of one shard, as its tablet's summary has it (behaviour of Vitess 22.0.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub uuid: String,
    /// `pending`, `started`, `stopped`, `completed` or `error`.
    pub state: String,
    pub error: String,
    pub tables: Vec<DiffTable>,
    /// Epoch seconds.
    pub started: Option<i64>,
    pub completed: Option<i64>,
    /// What diffs before it found, and no later one has compared since.
    pub earlier: Vec<Mismatch>,
}

/// One table of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffTable {
    pub name: String,
    pub state: String,
    /// An estimate.
    pub rows: i64,
    pub compared: i64,
    pub mismatch: bool,
    /// Rows that differ or are on one side only, as counted so far.
    pub differing: i64,
}

/// The last diff on each shard that the workflow is about; `None` when there is none, a text when the tablet does not tell.
pub type Diffs = Vec<(String, Result<Option<Diff>, String>)>;

/// Decodes a summary; `None` when it has no row.
pub fn decode(output: &QueryResult) -> Option<Diff> {
    let rows = vdiff_summary::rows(output);
    let first = rows.first()?;
    Some(Diff {
        uuid: first.uuid.clone(),
        state: first.vdiff_state.clone(),
        error: first.last_error.clone(),
        started: epoch_seconds(&first.started_at),
        completed: epoch_seconds(&first.completed_at),
        tables: rows.iter().filter(|row| !row.table_name.is_empty()).map(DiffTable::of).collect(),
        earlier: Vec::new(),
    })
}

impl DiffTable {
    fn of(row: &ShardRow) -> Self {
        Self {
            name: row.table_name.clone(),
            state: row.table_state.clone(),
            rows: row.table_rows,
            compared: row.rows_compared,
            mismatch: row.has_mismatch,
            differing: TableReport::parse(&row.report).differing(),
        }
    }
}

impl Diff {
    /// True while it compares, or is about to.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "started")
    }

    /// Names of the tables in which rows differ. Rows on one side only may still find their counterpart until a table is
    /// compared to its end: tablets pair them then (Vitess 22.0.4), and a reference table comes once from each shard.
    fn mismatches(&self) -> Vec<&str> {
        let compared = |t: &DiffTable| t.state == "completed" && !self.is_under_way();
        let differs = |t: &&DiffTable| t.mismatch || (t.differing > 0 && compared(t));
        self.tables.iter().filter(differs).map(|t| t.name.as_str()).collect()
    }

    /// What diffs before it found in some tables, by diff. A table that this one has compared to its end is not one of them, also where only
    /// [`settle`](crate::workflow::settle) knows that it has.
    fn found_before(&self, tables: &[String]) -> BTreeMap<&str, Vec<&str>> {
        let completed = self.tables.iter().filter(|table| table.state == "completed");
        let compared: BTreeSet<&String> = completed.map(|table| &table.name).collect();
        let tables: BTreeSet<&String> = tables.iter().collect();
        let counts = |m: &&Mismatch| m.uuid != self.uuid && tables.contains(&m.table) && !compared.contains(&m.table);
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Mismatch { uuid, table } in self.earlier.iter().filter(counts) {
            found.entry(uuid).or_default().push(table);
        }
        found
    }

    fn has_compared(&self, table: &str) -> bool {
        self.tables.iter().any(|of| of.name == table && of.state == "completed")
    }

    /// Rows compared and rows to compare; estimates, the first never more than the second.
    pub fn progress(&self) -> (i64, i64) {
        let table = |t: &DiffTable| {
            let total = t.rows.max(0);
            if t.state == "completed" { (total, total) } else { (t.compared.clamp(0, total), total) }
        };
        let add = |(a, b): (i64, i64), (c, d): (i64, i64)| (a.saturating_add(c), b.saturating_add(d));
        self.tables.iter().map(table).fold((0, 0), add)
    }

    /// `VDiff 43% of rows compared (estimate), about 1m left`, while it is under way.
    pub fn progress_text(&self, now: i64) -> Option<String> {
        if !self.is_under_way() {
            return None;
        }
        let (compared, total) = self.progress();
        if total == 0 {
            return Some("VDiff has begun".into());
        }
        let percent = (compared.saturating_mul(100) / total).min(99);
        let mut text = format!("VDiff {percent}% of rows compared (estimate)");
        let spent = self.started.map_or(0, |started| now.saturating_sub(started));
        if compared > 0 && spent > 0 {
            let left = i128::from(spent) * i128::from(total - compared) / i128::from(compared);
            let left = std::time::Duration::from_secs(u64::try_from(left).unwrap_or_default());
            text = format!("{text}, about {} left", humantime::format_duration(left));
        }
        Some(text)
    }
}

/// What the diffs of all shards say together.
pub fn judge(workflow: &str, keyspace: &str, diffs: &Diffs, tables: &[String], now: i64) -> Vec<Finding> {
    let command = format!("VDiff --target-keyspace {keyspace} --workflow {workflow} create --wait");
    let subject = |shard: &str| format!("shard {keyspace}/{shard}");
    let mut found = Vec::new();
    let mut unfinished = Vec::new();
    let mut known: Vec<&Diff> = Vec::new();
    for (shard, diff) in diffs {
        match diff {
            Err(why) => found.push(Finding::new(&check::VDIFF_UNKNOWN, subject(shard), why.clone(), ASK_AGAIN)),
            Ok(None) => unfinished.push(format!("{shard} has none")),
            Ok(Some(diff)) => {
                known.push(diff);
                let differing = diff.mismatches();
                if !differing.is_empty() {
                    let differing = names::some(&differing, ", ");
                    let text = format!("the last VDiff ({}) found rows that differ in {differing}", diff.uuid);
                    let fix = format!("see VDiff show last, fix the rows, then compare again: {command}");
                    found.push(Finding::new(&check::VDIFF_MISMATCH, subject(shard), text, fix));
                } else if diff.state != "completed" {
                    let error = if diff.error.is_empty() { String::new() } else { format!(" ({})", diff.error) };
                    unfinished.push(format!("{shard} is {}{error}", diff.state));
                }
                for (uuid, differing) in diff.found_before(tables) {
                    let text = format!(
                        "an earlier VDiff ({uuid}) found rows that differ in {}, and no later one compared them",
                        names::some(&differing, ", ")
                    );
                    let fix = format!(
                        "see VDiff show {uuid}, fix the rows, then compare again: {command}; or forget it: VDiff \
                         --target-keyspace {keyspace} --workflow {workflow} delete {uuid}"
                    );
                    found.push(Finding::new(&check::VDIFF_MISMATCH, subject(shard), text, fix));
                }
            }
        }
    }
    let Some(newest) = known.iter().max_by_key(|diff| diff.started) else {
        if found.is_empty() {
            let subject = format!("workflow {workflow}");
            found.push(Finding::new(&check::VDIFF_NONE, subject, "the rows were never compared", command));
        }
        return found;
    };
    let subject = format!("vdiff {}", newest.uuid);
    if !unfinished.is_empty() {
        let text = format!("it is not completed: {}", names::some(&unfinished, ", "));
        found.push(Finding::new(&check::VDIFF_UNFINISHED, subject, text, format!("wait for it, or: {command}")));
        return found;
    }
    let looked_at: BTreeSet<&String> = newest.tables.iter().map(|table| &table.name).collect();
    let left_out: Vec<&String> = tables.iter().filter(|table| !looked_at.contains(table)).collect();
    if !left_out.is_empty() {
        let text = format!("it left out {}", names::some(&left_out, ", "));
        found.push(Finding::new(&check::VDIFF_PARTIAL, subject.clone(), text, command.clone()));
    }
    if let Some(age) = age(&known, now).filter(|age| *age > OLD) {
        let age = humantime::format_duration(std::time::Duration::from_secs(age.unsigned_abs() / 60 * 60));
        found.push(Finding::new(
            &check::VDIFF_OLD,
            subject,
            format!("it ended {age} ago; rows were written since"),
            command,
        ));
    }
    found
}

/// When the last diff began, where it has compared all of these tables on all shards, and nothing differs.
pub fn equal_since(diffs: &Diffs, tables: &[String]) -> Option<i64> {
    let begun = |diff: &Diff| {
        let is_whole = diff.state == "completed" && tables.iter().all(|table| diff.has_compared(table));
        let is_equal = diff.mismatches().is_empty() && diff.found_before(tables).is_empty();
        diff.started.filter(|_| is_whole && is_equal)
    };
    let begun: Option<Vec<i64>> = diffs.iter().map(|(_, diff)| begun(diff.as_ref().ok()?.as_ref()?)).collect();
    begun?.into_iter().min()
}

/// One sentence about the last diff, for people.
pub fn sentence(diffs: &Diffs, now: i64) -> String {
    let known: Vec<&Diff> = diffs.iter().filter_map(|(_, diff)| diff.as_ref().ok()?.as_ref()).collect();
    if known.is_empty() {
        return "none".into();
    }
    if known.iter().any(|diff| !diff.mismatches().is_empty()) {
        return "rows differ".into();
    }
    if let Some(text) = known.iter().find_map(|diff| diff.progress_text(now)) {
        return text;
    }
    let equal = known.len() == diffs.len() && known.iter().all(|diff| diff.state == "completed");
    match age(&known, now).filter(|_| equal) {
        Some(age) => {
            let compared = known.iter().flat_map(|diff| &diff.tables).map(|t| t.compared);
            let rows = compared.fold(0_i64, i64::saturating_add);
            let age = humantime::format_duration(std::time::Duration::from_secs(age.unsigned_abs()));
            format!("equal, {rows} rows compared, ended {age} ago")
        }
        None => "not completed".into(),
    }
}

/// Seconds since the first shard completed.
fn age(known: &[&Diff], now: i64) -> Option<i64> {
    let first = known.iter().filter_map(|diff| diff.completed).min()?;
    Some(now.saturating_sub(first).max(0))
}

#[cfg(test)]
mod tests;
