//! From what was observed of a workflow to what is published of it.

use std::collections::BTreeMap;

use super::history::{History, seconds_left};
use super::snapshot::{Copy, Migration, Problem, Stage, Stream, Table, TableStage, VDiff};
use crate::error::Reason;
use crate::vdiff::report::State;
use crate::workflow::checks::complete::{columns, diffs};
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::progress::TableState;
use crate::workflow::status::observe::{self, Observed, ObservedStream};

/// Longest message of a tablet that is kept, in characters.
const MESSAGE: usize = 2000;
/// Most findings and tables with differences that are kept.
pub(super) const MOST: usize = 200;

/// Findings about one stream that are no trouble.
const NO_TROUBLE: &[Reason] = &[Reason::COPYING, Reason::CATCHING_UP, Reason::PAUSED_FOR_VDIFF];

/// The migration as it is now. `now` is in milliseconds.
pub fn build(
    keyspace: &str,
    observed: Observed,
    before: Option<&Migration>,
    memory: &mut History,
    now: i64,
) -> Migration {
    let seconds = now / 1000;
    let findings = findings(&observed, before.map(|before| before.findings.as_slice()).unwrap_or_default());
    // complete deletes the streams before it has ended: what was seen last stays in sight
    let last = before.filter(|_| observed.completing && observed.streams.is_empty());
    let streams = match last {
        Some(last) => last.streams.clone(),
        None => streams(keyspace, &observed.streams, &findings, memory, seconds),
    };
    let copied = !streams.is_empty() && observed.tables.values().all(|table| table.done);
    let (tables, copy, vdiff) = match last {
        Some(last) => (last.tables.clone(), last.copy.clone(), last.vdiff.clone()),
        None => {
            let tables = tables(&observed.tables, memory, now);
            let copy = copy(&observed, &tables, copied, memory, now);
            (tables, copy, vdiff(&observed.diffs, seconds))
        }
    };
    let stage = stage(&observed, copied, vdiff.as_ref());
    let go = stage != Stage::Creating && findings.iter().all(|finding| finding.severity != Severity::Blocks);
    Migration {
        keyspace: keyspace.to_owned(),
        workflow: observed.workflow,
        mount: observed.origin.mount,
        source_keyspace: observed.origin.keyspace,
        stage,
        first_seen: before.map_or(seconds, |before| before.first_seen),
        last_success: Some(seconds),
        ended_at: None,
        stale: None,
        traffic: observed.traffic,
        verdict: match stage {
            Stage::Creating if streams.is_empty() => "NO-GO (create unfinished, 1 reason)".into(),
            Stage::Completing => "GO (complete has begun: run it again)".into(),
            _ => observe::verdict_of(&findings),
        },
        go,
        max_lag: streams.iter().filter_map(|stream| stream.lag).max(),
        findings,
        copy,
        tables,
        streams,
        vdiff,
    }
}

/// What was found now; differences of columns stay as they were found before until they are compared again.
pub(super) fn findings(observed: &Observed, before: &[Finding]) -> Vec<Finding> {
    let mut findings = observed.findings.clone();
    let copying = observed.tables.values().any(|table| !table.done);
    if !observed.compared && !copying && !observed.completing {
        findings.extend(before.iter().filter(|finding| columns::is_drift(finding)).cloned());
    }
    findings.sort_by_key(|finding| finding.severity);
    findings.truncate(MOST);
    findings
}

fn stage(observed: &Observed, copied: bool, vdiff: Option<&VDiff>) -> Stage {
    match () {
        () if observed.completing => Stage::Completing,
        () if observed.creating || observed.streams.is_empty() => Stage::Creating,
        () if !copied => Stage::Copying,
        () if vdiff.is_some_and(VDiff::is_equal) => Stage::Diffed,
        () => Stage::Running,
    }
}

/// Streams into a keyspace, with what is wrong with them. `now` is in seconds.
pub(super) fn streams(
    keyspace: &str,
    observed: &[ObservedStream],
    findings: &[Finding],
    memory: &mut History,
    now: i64,
) -> Vec<Stream> {
    let key = |stream: &ObservedStream| (stream.shard.clone(), stream.source_shard.clone(), stream.id);
    memory.note_lags(now, observed.iter().map(|stream| (key(stream), stream.lag)));
    let mut trouble: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| !NO_TROUBLE.contains(&finding.id)) {
        trouble.entry(finding.subject.as_str()).or_insert(finding);
    }
    let build = |stream: &ObservedStream| {
        let subject = format!("{keyspace}/{} stream {}", stream.shard, stream.id);
        let known = trouble.get(subject.as_str()).map(|finding| Problem {
            reason: finding.id,
            cause: finding.cause.clone(),
            fix: finding.fix.clone(),
        });
        // a stream that copies may be in trouble too
        let told = || Problem {
            reason: Reason::ERROR,
            cause: stream.message.chars().take(MESSAGE).collect(),
            fix: "fix what the message says; the stream continues by itself".into(),
        };
        Stream {
            id: stream.id,
            source_shard: stream.source_shard.clone(),
            shard: stream.shard.clone(),
            tablet: stream.tablet.clone(),
            state: stream.state.to_owned(),
            lag: stream.lag.filter(|_| !stream.frozen),
            message: stream.message.chars().take(MESSAGE).collect(),
            position: stream.position.clone(),
            rows_copied: stream.rows_copied,
            tables_left: stream.tables_left,
            problem: known.or_else(|| (stream.state == "Error").then(told)),
            history: memory.lags(&key(stream)),
        }
    };
    observed.iter().map(build).collect()
}

fn tables(observed: &BTreeMap<String, TableState>, memory: &mut History, now: i64) -> Vec<Table> {
    let mut tables = Vec::with_capacity(observed.len());
    for (name, state) in observed {
        let told = state.copy_state();
        let stage = match (state.done, state.untouched) {
            (true, _) => TableStage::Done,
            (false, true) => TableStage::Pending,
            (false, false) => TableStage::Copying,
        };
        let rate = if stage == TableStage::Copying {
            memory.rate(name, now, told.rows_copied)
        } else {
            memory.rest(name);
            None
        };
        tables.push(Table {
            name: name.clone(),
            stage,
            rows_copied: told.rows_copied,
            rows_total: told.rows_total,
            bytes_copied: told.bytes_copied,
            bytes_total: told.bytes_total,
            percent: f64::from(told.rows_percentage),
            rows_per_second: rate,
            seconds_left: seconds_left(told.rows_total - told.rows_copied, rate),
        });
    }
    tables
}

fn copy(observed: &Observed, tables: &[Table], copied: bool, memory: &mut History, now: i64) -> Copy {
    let sum = |of: fn(&Table) -> i64| tables.iter().map(of).fold(0, i64::saturating_add);
    let (rows_copied, rows_total) = (sum(|table| table.rows_copied), sum(|table| table.rows_total));
    let lately = memory.rate_of_all(now, rows_copied);
    // the mean since the beginning, until there is a younger one
    let rate = if copied || tables.is_empty() { None } else { lately.or(observed.overall.rate) };
    Copy {
        rows_copied,
        rows_total,
        bytes_copied: sum(|table| table.bytes_copied),
        bytes_total: sum(|table| table.bytes_total),
        percent: percent(rows_copied, rows_total, copied),
        rows_per_second: rate,
        seconds_left: seconds_left(rows_total - rows_copied, rate),
        tables_done: tables.iter().filter(|table| table.stage == TableStage::Done).count(),
        tables: tables.len(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn percent(part: i64, whole: i64, done: bool) -> f64 {
    match (done, whole) {
        (true, _) => 100.0,
        (false, ..=0) => 0.0,
        (false, whole) => (part as f64 * 100.0 / whole as f64).clamp(0.0, 99.99),
    }
}

/// The last diff of all shards; `None` when no shard has one.
pub(super) fn vdiff(diffs: &diffs::Diffs, now: i64) -> Option<VDiff> {
    let known: Vec<(&String, &diffs::Diff)> =
        diffs.iter().filter_map(|(shard, diff)| Some((shard, diff.as_ref().ok()?.as_ref()?))).collect();
    let newest = known.iter().map(|(_, diff)| *diff).max_by_key(|diff| diff.started)?;
    // shards whose last diff is an older one have none of this
    let of_newest = || known.iter().filter(|(_, diff)| diff.uuid == newest.uuid);
    let state = of_newest().map(|(_, diff)| State::of(&diff.state)).max().unwrap_or_default();
    let whole = of_newest().count() == diffs.len();
    let mut vdiff = VDiff {
        uuid: newest.uuid.clone(),
        state: if whole || state != State::Completed { state.as_str().to_owned() } else { String::new() },
        started_at: of_newest().filter_map(|(_, diff)| diff.started).min(),
        completed_at: of_newest().filter_map(|(_, diff)| diff.completed).max().filter(|_| whole),
        sentence: diffs::sentence(diffs, now),
        ..VDiff::default()
    };
    for (shard, diff) in of_newest() {
        vdiff.shards.insert((*shard).clone(), diff.state.clone());
        if !diff.error.is_empty() {
            vdiff.errors.insert((*shard).clone(), diff.error.chars().take(MESSAGE).collect());
        }
        for table in &diff.tables {
            // the number of rows is an estimate, and 0 where nobody made one
            vdiff.rows_compared = vdiff.rows_compared.saturating_add(table.compared);
            vdiff.rows = vdiff.rows.saturating_add(table.rows.max(table.compared));
            vdiff.differing = vdiff.differing.saturating_add(table.differing);
            if table.mismatch || (table.differing > 0 && !diff.is_under_way()) {
                vdiff.mismatches.push(table.name.clone());
            }
        }
    }
    for (shard, diff) in diffs {
        if let Err(why) = diff {
            vdiff.errors.insert(shard.clone(), why.chars().take(MESSAGE).collect());
        }
    }
    vdiff.mismatches.sort();
    vdiff.mismatches.dedup();
    vdiff.has_mismatch = !vdiff.mismatches.is_empty();
    vdiff.mismatches.truncate(MOST);
    Some(vdiff)
}
