//! What is known between rounds, and how the answers of a round change it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::history::History;
use super::migration;
use super::snapshot::{Migration, Mount, Problem, Snapshot, Stage, UnreadKeyspace};
use super::way_back::{self, WaysBack};
use crate::context::{Changes, End};
use crate::failure::Result;
use crate::workflow::status::observe::Observed;

/// How long migrations that ended are shown, in seconds.
pub(super) const REMEMBERED: i64 = 86_400;
/// How many of them, the newest.
const MOST_ENDED: usize = 50;

/// Everything known.
#[derive(Default)]
pub struct State {
    sequence: u64,
    interval: u64,
    problem: Option<Problem>,
    mounts: BTreeMap<String, Mount>,
    /// For each keyspace when it was read last, and why it could not be.
    keyspaces: BTreeMap<String, (Option<i64>, Option<Problem>)>,
    migrations: BTreeMap<(String, String), TrackedMigration>,
    pub ways_back: WaysBack,
}

#[derive(Default)]
struct TrackedMigration {
    migration: Arc<Migration>,
    memory: History,
}

impl State {
    /// Nothing is known.
    pub fn new(interval: Duration) -> Self {
        Self { interval: interval.as_secs(), ..Self::default() }
    }

    /// What is known, to be published.
    pub fn snapshot(&mut self, now: i64) -> Snapshot {
        self.sequence += 1;
        self.recall(now);
        let unread = |(name, (last, problem)): (&String, &(Option<i64>, Option<Problem>))| {
            Some(UnreadKeyspace { keyspace: name.clone(), problem: problem.clone()?, last_success: *last })
        };
        Snapshot {
            sequence: self.sequence,
            taken_at: now / 1000,
            interval: self.interval,
            problem: self.problem.clone(),
            mounts: self.mounts_in_use(),
            keyspaces: self.keyspaces.iter().filter_map(unread).collect(),
            migrations: self.migrations.values().map(|known| Arc::clone(&known.migration)).collect(),
            ways_back: self.ways_back.all().map(Arc::clone).collect(),
        }
    }

    /// The mounts, each with the migrations and ways back that use it.
    fn mounts_in_use(&self) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = self.mounts.values().cloned().collect();
        let live = self.migrations.values().map(|known| &known.migration).filter(|known| !known.stage.is_over());
        let live = live.map(|known| (&known.mount, &known.keyspace, &known.workflow));
        let back = self.ways_back.all().filter(|known| !known.stage.is_over());
        let back = back.map(|known| (&known.mount, &known.keyspace, &known.workflow));
        for (mount, keyspace, workflow) in live.chain(back) {
            let user = format!("{keyspace}.{workflow}");
            if let Some(mount) = mounts.iter_mut().find(|m| m.name == *mount && !m.used_by.contains(&user)) {
                mount.used_by.push(user);
            }
        }
        mounts
    }

    /// A way back may be there long after its migration: that is told with it. A keyspace that was not read yet may have it still.
    fn recall(&mut self, now: i64) {
        for way_back in self.ways_back.all() {
            let key = (way_back.keyspace.clone(), way_back.workflow.clone());
            let was_read = self.keyspaces.get(&key.0).is_some_and(|(last, _)| last.is_some());
            if was_read && !self.migrations.contains_key(&key) {
                let migration = Arc::new(way_back::migration_of(way_back, now / 1000));
                self.migrations.insert(key, TrackedMigration { migration, ..TrackedMigration::default() });
            }
        }
    }

    /// The own topology did not answer: everything is stale.
    pub fn lost(&mut self, problem: &Problem) {
        self.problem = Some(problem.clone());
        for known in self.migrations.values_mut().filter(|known| !known.migration.stage.is_over()) {
            Arc::make_mut(&mut known.migration).stale = Some(problem.clone());
        }
        self.ways_back.lost(problem);
    }

    /// The own topology told these keyspaces and mounts; what is not among them is gone.
    pub fn found(&mut self, keyspaces: &[String], mounts: &[String], changes: &Changes, now: i64) {
        self.problem = None;
        self.mounts.retain(|name, _| mounts.contains(name));
        self.keyspaces.retain(|name, _| keyspaces.contains(name));
        let gone: Vec<(String, String)> =
            self.migrations.keys().filter(|(keyspace, _)| !keyspaces.contains(keyspace)).cloned().collect();
        for key in gone {
            self.end(&key, changes, now);
        }
        self.forget(now);
    }

    /// True when a keyspace has migrations that have not ended, was never read, or could not be.
    pub fn has_migrations(&self, keyspace: &str) -> bool {
        let here = |((of, _), known): (&(String, String), &TrackedMigration)| {
            of == keyspace && !known.migration.stage.is_over()
        };
        self.migrations.iter().any(here) || self.keyspaces.get(keyspace).is_none_or(|(_, problem)| problem.is_some())
    }

    /// A mount was looked at.
    pub fn mount(&mut self, mut mount: Mount) {
        if let Some(before) = self.mounts.remove(&mount.name).filter(|_| !mount.reachable) {
            mount.last_success = before.last_success;
            (mount.cells, mount.keyspaces) = (before.cells, before.keyspaces);
        }
        self.mounts.insert(mount.name.clone(), mount);
    }

    /// A keyspace could not be read.
    pub fn unread(&mut self, keyspace: &str, problem: &Problem) {
        self.keyspaces.entry(keyspace.to_owned()).or_default().1 = Some(problem.clone());
        let mine = self.migrations.iter_mut().filter(|((of, _), _)| of == keyspace);
        for (_, known) in mine.filter(|(_, known)| !known.migration.stage.is_over()) {
            Arc::make_mut(&mut known.migration).stale = Some(problem.clone());
        }
    }

    /// A keyspace was read. `now` is in milliseconds.
    pub fn keyspace(&mut self, keyspace: &str, observed: Vec<(String, Result<Observed>)>, changes: &Changes, now: i64) {
        self.keyspaces.insert(keyspace.to_owned(), (Some(now / 1000), None));
        let gone: Vec<(String, String)> = self
            .migrations
            .keys()
            .filter(|(of, workflow)| of == keyspace && !observed.iter().any(|(name, _)| name == workflow))
            .cloned()
            .collect();
        for key in gone {
            self.end(&key, changes, now);
        }
        for (workflow, observed) in observed {
            let key = (keyspace.to_owned(), workflow.clone());
            // one of the same name that ended is another one
            let known = self.migrations.remove(&key).filter(|known| !known.migration.stage.is_over());
            if known.is_none() {
                changes.take_end(keyspace, &workflow);
            }
            let is_new = known.is_none();
            let mut known = known.unwrap_or_default();
            match observed {
                Ok(observed) => {
                    let before = (!is_new).then_some(known.migration.as_ref());
                    let migration = migration::build(keyspace, observed, before, &mut known.memory, now);
                    known.migration = Arc::new(migration);
                }
                Err(error) => {
                    let migration = Arc::make_mut(&mut known.migration);
                    if is_new {
                        (migration.keyspace, migration.workflow) = key.clone();
                        migration.first_seen = now / 1000;
                    }
                    migration.stale = Some(error.into());
                }
            }
            self.migrations.insert(key, known);
        }
    }

    /// A workflow is gone.
    fn end(&mut self, key: &(String, String), changes: &Changes, now: i64) {
        let Some(known) = self.migrations.get_mut(key).filter(|known| !known.migration.stage.is_over()) else { return };
        let migration = Arc::make_mut(&mut known.migration);
        migration.stage = match changes.take_end(&key.0, &key.1) {
            Some(End::Completed) => Stage::Completed,
            Some(End::Cancelled) => Stage::Cancelled,
            // nothing else can follow
            None if migration.stage == Stage::Completing => Stage::Completed,
            None => Stage::Ended,
        };
        migration.ended_at = Some(now / 1000);
        migration.stale = None;
        migration.go = false;
        migration.verdict.clear();
        migration.findings.clear();
        migration.copy.rows_per_second = None;
        migration.copy.seconds_left = None;
        for stream in &mut migration.streams {
            stream.problem = None;
        }
        known.memory = History::default();
    }

    /// Forgets what ended long ago.
    fn forget(&mut self, now: i64) {
        let forgettable = self.migrations.iter().filter(|(key, _)| !self.ways_back.has(key));
        let mut ended: Vec<((String, String), i64)> =
            forgettable.filter_map(|(key, known)| Some((key.clone(), known.migration.ended_at?))).collect();
        ended.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        let old = |(number, (key, at)): (usize, ((String, String), i64))| {
            (number >= MOST_ENDED || now / 1000 - at > REMEMBERED).then_some(key)
        };
        let old: Vec<(String, String)> = ended.into_iter().enumerate().filter_map(old).collect();
        for key in old {
            self.migrations.remove(&key);
        }
    }
}
