//! What is known of ways back between rounds: their records are read with the own topology, their streams from the source.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::history::History;
use super::migration::{self, MOST};
use super::snapshot::{BackStage, Copy, Migration, Problem, Stage, WayBack};
use super::state::REMEMBERED;
use crate::context::{Changes, End};
use crate::error::Reason;
use crate::failure::Result;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::back;
use crate::workflow::record::way_back::{Facts, Known as Record, Phase};
use crate::workflow::status::observe::{self, Observed};
use crate::workflow::way_back::observe::{Names, told};

/// Everything known of ways back.
#[derive(Default)]
pub struct WaysBack {
    known: BTreeMap<Names, Known>,
}

#[derive(Default)]
struct Known {
    way_back: Arc<WayBack>,
    /// What its record says of it.
    told: Option<Finding>,
    /// What was found in the source.
    seen: Vec<Finding>,
    /// The source was read since its streams run.
    read: bool,
    memory: History,
}

impl WaysBack {
    /// All of them, ascending by keyspace and workflow.
    pub fn all(&self) -> impl Iterator<Item = &Arc<WayBack>> {
        self.known.values().map(|known| &known.way_back)
    }

    /// True when one of this name is known.
    pub fn has(&self, names: &Names) -> bool {
        self.known.contains_key(names)
    }

    /// The own topology told these records; what is not among them is gone. `unfinished`: whether the complete of a migration has
    /// handed the target over and has not ended. `now` is in milliseconds.
    pub fn found(&mut self, records: &[Record], unfinished: impl Fn(&str, &str) -> bool, changes: &Changes, now: i64) {
        let now = now / 1000;
        self.known.retain(|_, known| known.way_back.ended_at.is_none_or(|at| now - at <= REMEMBERED));
        for (names, known) in &mut self.known {
            if !records.iter().any(|(keyspace, workflow, _)| (keyspace, workflow) == (&names.0, &names.1)) {
                known.end(names, changes, now);
            }
        }
        for (keyspace, workflow, facts) in records {
            let names = (keyspace.clone(), workflow.clone());
            // one of the same name that ended is another one
            let known = self.known.remove(&names).filter(|known| !known.way_back.stage.is_over());
            if known.is_none() {
                changes.take_way_back_end(keyspace, workflow);
            }
            let mut known = known.unwrap_or_else(|| Known::of(&names, now));
            match facts {
                Ok(facts) => {
                    known.told = told((keyspace, workflow), facts, unfinished(keyspace, workflow));
                    known.recorded(facts, now);
                }
                Err(why) => known.stale(&Problem {
                    reason: Reason::NOT_READ,
                    cause: format!("its record cannot be read: {why}"),
                    fix: format!("remove it: {}", back::forget_command((keyspace, workflow))),
                }),
            }
            self.known.insert(names, known);
        }
    }

    /// The source was asked for these, and answered so.
    pub fn read(
        &mut self,
        asked: &[Names],
        answer: std::result::Result<Vec<(Names, Result<Observed>)>, Problem>,
        now: i64,
    ) {
        let answers: Vec<(Names, std::result::Result<Observed, Problem>)> = match answer {
            Ok(read) => read.into_iter().map(|(names, seen)| (names, seen.map_err(Problem::from))).collect(),
            Err(problem) => asked.iter().map(|names| (names.clone(), Err(problem.clone()))).collect(),
        };
        for (names, seen) in answers {
            let Some(known) = self.known.get_mut(&names) else { continue };
            match seen {
                Ok(seen) => known.observed(&seen, now),
                Err(problem) => known.stale(&problem),
            }
        }
    }

    /// The own topology did not answer: everything is stale.
    pub fn lost(&mut self, problem: &Problem) {
        for known in self.known.values_mut().filter(|known| !known.way_back.stage.is_over()) {
            known.stale(problem);
        }
    }
}

impl Known {
    fn of((keyspace, workflow): &Names, now: i64) -> Self {
        let (keyspace, workflow) = (keyspace.clone(), workflow.clone());
        let way_back = WayBack { keyspace, workflow, first_seen: now, ..WayBack::default() };
        Self { way_back: Arc::new(way_back), ..Self::default() }
    }

    fn stale(&mut self, problem: &Problem) {
        Arc::make_mut(&mut self.way_back).stale = Some(problem.clone());
    }

    /// What the record says.
    fn recorded(&mut self, facts: &Facts, now: i64) {
        let known = |at: i64| Some(at).filter(|at| *at > 0);
        let way_back = Arc::make_mut(&mut self.way_back);
        way_back.stage = stage(facts.phase);
        self.read &= way_back.stage == BackStage::Running;
        way_back.mount.clone_from(&facts.mount);
        way_back.source_keyspace.clone_from(&facts.keyspace);
        (way_back.prepared_at, way_back.opened_at) = (known(facts.prepared), known(facts.since));
        if matches!(facts.phase, Phase::Prepared | Phase::Missed) {
            // nothing of it is in the source
            (way_back.last_success, way_back.stale) = (Some(now), None);
            self.seen.clear();
        }
        self.judge();
    }

    /// What the source says.
    fn observed(&mut self, observed: &Observed, now: i64) {
        let now = now / 1000;
        let before = if self.way_back.stage == BackStage::Running { self.seen.as_slice() } else { &[] };
        self.seen = migration::findings(observed, before);
        let way_back = Arc::make_mut(&mut self.way_back);
        let keyspace = way_back.source_keyspace.as_str();
        way_back.streams = migration::streams(keyspace, &observed.streams, &self.seen, &mut self.memory, now);
        way_back.max_lag = way_back.streams.iter().filter_map(|stream| stream.lag).max();
        way_back.vdiff = migration::vdiff(&observed.diffs, now);
        (way_back.last_success, way_back.stale) = (Some(now), None);
        self.read = way_back.stage == BackStage::Running;
        self.judge();
    }

    fn judge(&mut self) {
        let mut findings: Vec<Finding> = self.told.iter().chain(&self.seen).cloned().collect();
        findings.sort_by_key(|finding| finding.severity);
        findings.truncate(MOST);
        let way_back = Arc::make_mut(&mut self.way_back);
        way_back.verdict = verdict(way_back.stage, &findings, self.read);
        way_back.go = way_back.verdict.starts_with("GO");
        way_back.findings = findings;
    }

    /// It is gone.
    fn end(&mut self, names: &Names, changes: &Changes, now: i64) {
        if self.way_back.stage.is_over() {
            return;
        }
        let way_back = Arc::make_mut(&mut self.way_back);
        way_back.stage = match (changes.take_way_back_end(&names.0, &names.1), way_back.stage) {
            // nothing else can follow
            (Some(End::Completed), _) | (None, BackStage::Returning) => BackStage::Back,
            (Some(End::Cancelled), _) | (None, BackStage::Cancelling) => BackStage::Cancelled,
            (None, _) => BackStage::Ended,
        };
        way_back.ended_at = Some(now);
        way_back.stale = None;
        for stream in &mut way_back.streams {
            stream.problem = None;
        }
        (self.told, self.memory) = (None, History::default());
        self.seen.clear();
        self.judge();
    }
}

fn stage(phase: Phase) -> BackStage {
    match phase {
        Phase::Prepared => BackStage::Prepared,
        Phase::Noted | Phase::Handed => BackStage::Opening,
        Phase::Missed => BackStage::Missed,
        Phase::Open => BackStage::Running,
        Phase::Closing => BackStage::Closing,
        Phase::Returned => BackStage::Returning,
        Phase::Cancelling => BackStage::Cancelling,
    }
}

/// Whether going back would be refused, in short; empty where that is no question any more. `read`: the source was read since its
/// streams run.
fn verdict(stage: BackStage, findings: &[Finding], read: bool) -> String {
    let blocked = findings.iter().any(|finding| finding.severity == Severity::Blocks);
    match stage {
        BackStage::Closing | BackStage::Returning => "NO-GO (going back has begun: run it again)".into(),
        _ if blocked => observe::verdict_of(findings),
        BackStage::Running if !read => "NO-GO (not read yet)".into(),
        BackStage::Running => observe::verdict_of(findings),
        BackStage::Prepared => "NO-GO (complete opens it)".into(),
        BackStage::Opening => "NO-GO (complete has begun)".into(),
        BackStage::Cancelling => "NO-GO (its cancel has begun)".into(),
        _ => String::new(),
    }
}

/// The migration of a way back when nobody remembers it. `now` is in seconds.
pub fn migration_of(way_back: &WayBack, now: i64) -> Migration {
    let (keyspace, workflow) = (way_back.keyspace.clone(), way_back.workflow.clone());
    // complete notes the moment at which it hands the target over
    let stage = if way_back.opened_at.is_some() { Stage::Completed } else { Stage::Ended };
    Migration {
        keyspace,
        workflow,
        mount: way_back.mount.clone(),
        source_keyspace: way_back.source_keyspace.clone(),
        stage,
        first_seen: now,
        ended_at: Some(way_back.opened_at.unwrap_or(now)),
        copy: Copy { percent: 100.0, ..Copy::default() },
        ..Migration::default()
    }
}

#[cfg(test)]
mod tests;
