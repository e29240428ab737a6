//! What is known of a way back, and what must hold of it: clients write to the side that serves, as long as that is not denied, and
//! what they were told is never lost.

use std::collections::BTreeMap;

use vtmigrated::context::Context;
use vtmigrated::topo::{paths, shard};
use vtmigrated::vdiff::create as vdiff;
use vtmigrated::workflow::record::way_back::{self as back_record, Facts, Phase};
use vtmigrated::workflow::way_back::reversed::{Reversed, reversed};
use vtmigrated::workflow::way_back::{cancel, complete, prepare, status};
use vtmigrated::workflow::{Error, record as migration};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::vtctldata::VDiffCreateRequest;

use crate::check::Before;
use crate::data::{Name, Shard, covers, place};
use crate::operations::{Outcome, WORKFLOW};
use crate::step::Op;
use crate::world::{SOURCE, State, TABLES, TARGET, World, other};

/// What clients know.
#[derive(Default)]
pub struct Back {
    /// Somebody has asked for a way back, and it is not gone: the source may be written to.
    pub asked: bool,
    /// The target serves.
    pub target_serves: bool,
    /// A call of our last command failed, or had no answer in time.
    pub call_failed: bool,
    /// Nobody could tell whether a shard of the source reads from the target's mount: it stays there, as the answer said.
    mount_stays: bool,
    /// What clients were told since the target serves, by table and key: the version of a row, none for one that is deleted.
    told: BTreeMap<(String, i64), Option<u64>>,
}

/// Versions of rows, by table and key.
type Rows = BTreeMap<(String, i64), u64>;
/// Serving shards with the tables that their records deny.
type Denied = [(Name, Vec<String>)];

/// Runs one of the commands of a way back.
pub async fn run(context: &Context, op: Op, workflow: &str) -> Result<(), Error> {
    let names = (TARGET, workflow);
    match op {
        Op::WayBackPrepare => {
            let (keyspace, workflow) = (TARGET.to_owned(), workflow.to_owned());
            let arguments = prepare::Arguments { keyspace, workflow, ..prepare::Arguments::default() };
            prepare::prepare(context, &arguments).await.map(drop)
        }
        Op::WayBackComplete => complete::complete(context, names).await.map(drop),
        Op::WayBackCancel => cancel::cancel(context, names, false).await.map(drop),
        Op::WayBackVDiff => {
            let Reversed { mirror, keyspace, workflow, shards } = reversed(context, names, true).await?;
            let request = VDiffCreateRequest { target_keyspace: keyspace, workflow, ..VDiffCreateRequest::default() };
            let mut arguments = vdiff::Arguments::try_from(request)?;
            arguments.known = Some(shards);
            vdiff::create(&mirror, &arguments).await.map(drop)
        }
        _ => status::status(context, names).await.map(drop),
    }
}

/// Gives a stream a position: `'<position>' where id = <id>`.
pub fn give_position(state: &State, shard: &mut Shard, rest: &str) -> Result<QueryResult, String> {
    let (position, id) = rest.split_once(" where id = ").ok_or("no id")?;
    let (position, id) = (position.trim().trim_matches('\''), id.trim());
    let Some(stream) = shard.streams.iter_mut().find(|stream| stream.id.to_string() == id) else {
        return Ok(QueryResult::default());
    };
    let from = state.shards.get(&(stream.source.keyspace.clone(), stream.source.shard.clone()));
    let at = from.and_then(|from| (0..=from.log.len()).find(|events| from.position(*events) == position));
    stream.at = Some(at.ok_or_else(|| format!("nobody was ever at {position}"))?);
    stream.position = position.to_owned();
    Ok(QueryResult { rows_affected: 1, ..QueryResult::default() })
}

impl Op {
    /// Whether it may change something in the source, once somebody has asked for a way back.
    fn goes_back(self) -> bool {
        matches!(
            self,
            Self::WayBackPrepare
                | Self::WayBackComplete
                | Self::WayBackCancel
                | Self::WayBackVDiff
                | Self::Complete
                | Self::CompleteIgnoringSource
                | Self::Cancel
                | Self::CancelKeepingData
        )
    }

    /// Whether it hands the target over to clients.
    fn hands_over(self) -> bool {
        matches!(self, Self::Complete) || self.insists()
    }

    /// The same without a proof that nothing is lost.
    fn insists(self) -> bool {
        matches!(self, Self::CompleteIgnoringSource | Self::CancelKeepingData)
    }
}

impl State {
    /// An operation changes something in the source's cluster: without a way back that must not be.
    pub fn source_is_changed(&mut self, by: Option<Op>, what: String) {
        if !(self.back.asked && by.is_some_and(Op::goes_back)) {
            self.violate(what);
        }
    }

    /// Clients write to the side that serves, and delete something now and then.
    pub fn writes(&mut self, rows: usize) {
        let deletes = rows.is_multiple_of(3);
        if self.back.target_serves {
            (0..rows).for_each(|number| self.writes_on_target(TABLES[number % TABLES.len()]));
            let first = self.first_on_target(TABLES[1]).filter(|_| deletes);
            first.into_iter().for_each(|id| self.target_change(TABLES[1], id, None));
        } else {
            self.source_writes(rows);
            (0..usize::from(deletes)).for_each(|_| self.source_deletes());
        }
    }

    /// A client of the target writes a new row, and one that is there.
    pub fn writes_on_target(&mut self, table: &str) {
        let (id, version) = (self.next_row, self.next_version());
        self.next_row += 1;
        self.target_change(table, id, Some(version));
        if let Some(first) = self.first_on_target(table) {
            let version = self.next_version();
            self.target_change(table, first, Some(version));
        }
    }

    fn first_on_target(&self, table: &str) -> Option<i64> {
        let mut tables = self.serving(TARGET).into_iter().filter_map(|name| self.shards[&name].tables.get(table));
        tables.find_map(|table| table.rows.keys().next().copied())
    }

    /// A change of the target, unless that is denied. What is done is told.
    fn target_change(&mut self, table: &str, id: i64, version: Option<u64>) {
        let Some(home) = self.home(TARGET, id) else { return };
        let primary = self.shards[&home].primary;
        let denied = self.is_down(primary) || self.seats[&primary].denied.contains(table);
        if denied || !self.shards[&home].tables.contains_key(table) {
            return;
        }
        let when = self.next_version();
        self.shards.get_mut(&home).unwrap().write(table, id, version, when);
        if self.back.target_serves {
            self.back.told.insert((table.to_owned(), id), version);
        }
    }

    /// The target serves from now on. `proven`: it has all that the source had when complete was called. `exact`: it has all that clients
    /// of the source were told until they were kept from it.
    fn handed_over(&mut self, proven: bool, exact: bool) {
        let there = self.source_rows();
        let here: Rows = self.target_rows().into_iter().map(|(key, (version, _))| (key, version)).collect();
        let known =
            here.iter().filter(|(key, version)| proven || there.get(*key).is_some_and(|found| found >= *version));
        self.back.told = known.map(|(key, version)| (key.clone(), Some(*version))).collect();
        self.back.target_serves = true;
        if exact {
            self.is_cut_exactly(&there, &here);
        }
    }

    /// What clients of the source were told is told, and the target has it: rows, and that they are gone.
    fn is_cut_exactly(&mut self, source: &Rows, target: &Rows) {
        let mut wrong = Vec::new();
        for (key, version) in source {
            let found = target.get(key);
            if found.is_none_or(|found| found < version) {
                self.back.told.insert(key.clone(), Some(*version));
                wrong.push(format!(
                    "complete lost what a client of the source was told: {key:?} {version}, target {found:?}"
                ));
            }
        }
        for key in target.keys().filter(|key| !source.contains_key(*key) && self.changes.contains_key(*key)) {
            self.back.told.insert(key.clone(), None);
            wrong.push(format!("complete lost that a client of the source deleted {key:?}"));
        }
        wrong.into_iter().for_each(|text| self.violate(text));
    }

    /// The source serves again: it has all that clients were told, each row where it belongs. The target's tables stay denied.
    fn returned(&mut self) {
        let (told, there) = (std::mem::take(&mut self.back.told), self.source_rows());
        let mut wrong = Vec::new();
        for ((table, id), version) in &told {
            let found = there.get(&(table.clone(), *id));
            let kept = match version {
                Some(version) => found.is_some_and(|found| found >= version),
                None => found.is_none(),
            };
            if !kept {
                wrong.push(format!("going back lost row {id} of {table}: clients know {version:?}, source {found:?}"));
            }
        }
        for name in self.serving(SOURCE) {
            for (table, of) in &self.shards[&name].tables {
                if let Some(id) = of.rows.keys().find(|id| !covers(&name.1, place(**id))) {
                    wrong.push(format!("going back brought row {id} of {table} to shard {}", name.1));
                }
            }
        }
        for name in self.serving(TARGET) {
            self.denied_by_nobody.extend(TABLES.map(|table| (name.clone(), table.to_owned())));
        }
        self.back.target_serves = false;
        wrong.into_iter().for_each(|text| self.violate(text));
    }
}

/// Tables that clients may write to, with their shards.
fn open(denied: &Denied) -> Vec<String> {
    let on = |(name, denied): &(Name, Vec<String>)| {
        let tables = TABLES.iter().filter(|table| !denied.iter().any(|denied| denied == *table));
        tables.map(|table| format!("{table} on {}/{}", name.0, name.1)).collect::<Vec<_>>()
    };
    denied.iter().flat_map(on).collect()
}

fn all_open(denied: &Denied) -> bool {
    open(denied).len() == denied.len() * TABLES.len()
}

impl World {
    /// Whether the migration has a record, in a walk with a way back.
    pub async fn has_record(&self) -> bool {
        let with_way_back = self.state().setup.way_back;
        with_way_back && migration::find(&self.global, TARGET, WORKFLOW).await.unwrap().is_some()
    }

    /// What its record says.
    pub async fn way_back(&self) -> Option<Facts> {
        back_record::find(&self.global, TARGET, WORKFLOW).await.unwrap()
    }

    async fn denied_in(&self, keyspace: &str) -> Vec<(Name, Vec<String>)> {
        let shards = self.state().serving(keyspace);
        let mut denied = Vec::new();
        for name in shards {
            let record = self.record(keyspace, &name.1).await;
            denied.push((name, record.as_ref().map(shard::denied).unwrap_or_default()));
        }
        denied
    }

    /// Checks what holds after each operation of a walk with a way back, and notes who serves. `had_record`: the migration had
    /// one before.
    pub async fn after_back(&self, done: &[(Op, &Outcome)], had_record: bool, before: &Before) {
        if !self.state().setup.way_back {
            return;
        }
        let facts = self.way_back().await;
        self.state().back.asked = facts.is_some();
        let (source, target) = (self.denied_in(SOURCE).await, self.denied_in(TARGET).await);
        self.one_side(facts.as_ref(), &source, &target);
        self.nothing_left(facts.is_none(), &source).await;
        let phase = facts.as_ref().map(|facts| facts.phase);
        let target_serves = self.state().back.target_serves;
        if target_serves {
            let went_back = done.iter().any(|(op, _)| *op == Op::WayBackComplete);
            let over = went_back && facts.is_none() && open(&target).is_empty() && all_open(&source);
            if over || phase == Some(Phase::Returned) {
                self.state().returned();
            }
        } else if phase != Some(Phase::Returned) && self.is_handed_over(done, had_record, facts.as_ref(), &target).await
        {
            let proven = !done.iter().any(|(op, _)| op.insists());
            if proven {
                self.completed(WORKFLOW, before);
            }
            let cut = |facts: &Facts| matches!(facts.phase, Phase::Handed | Phase::Open) && !facts.inexact;
            self.state().handed_over(proven, proven && facts.as_ref().is_some_and(cut));
        }
    }

    /// Whether clients got the target by these operations.
    async fn is_handed_over(
        &self,
        done: &[(Op, &Outcome)],
        had_record: bool,
        facts: Option<&Facts>,
        target: &Denied,
    ) -> bool {
        let stored = migration::find(&self.global, TARGET, WORKFLOW).await.unwrap();
        if facts.is_some_and(|facts| facts.since > 0) || stored.as_ref().is_some_and(|stored| stored.facts.handed_over)
        {
            return true;
        }
        let handing: Vec<&Outcome> =
            done.iter().filter(|(op, _)| op.hands_over()).map(|(_, outcome)| *outcome).collect();
        // cut off at the very end; an empty table may be what a cancel has left
        let filled = !self.state().target_rows().is_empty();
        let at_its_end = !handing.is_empty() && had_record && stored.is_none() && filled && all_open(target);
        at_its_end || handing.iter().any(|outcome| **outcome == Outcome::Done)
    }

    /// Clients never have both sides, once the way back is open; and while the source takes over they have not the target.
    fn one_side(&self, facts: Option<&Facts>, source: &Denied, target: &Denied) {
        let Some(facts) = facts else { return };
        let closed = match facts.phase {
            Phase::Open | Phase::Closing => source,
            Phase::Returned => target,
            _ => return,
        };
        for what in open(closed) {
            self.state().violate(format!("clients may write to {what}, and the way back is {}", facts.phase.word()));
        }
    }

    /// Locks of the source are given back; and without a record nothing of a way back is there.
    async fn nothing_left(&self, is_gone: bool, source: &Denied) {
        let nodes = self.source.list("").await.unwrap();
        let with = |part: &str| -> Vec<String> {
            nodes.iter().map(|node| node.path.clone()).filter(|path| path.contains(part)).collect()
        };
        let mut left = with("/locks/");
        if is_gone {
            let mount_stays = self.state().mount_stays();
            left.extend(with(paths::EXTERNAL_CLUSTERS).into_iter().filter(|_| !mount_stays));
            let denied = source.iter().filter(|(_, denied)| !denied.is_empty());
            left.extend(denied.map(|(name, denied)| format!("{} denied on {}", denied.join(", "), name.1)));
            left.extend(self.state().streams_of_source());
        }
        left.into_iter().for_each(|what| self.state().violate(format!("left in the source: {what}")));
    }

    /// Users take away what is left on a target that does not serve any more.
    pub async fn target_cleared(&self) {
        let serves = self.state().back.target_serves;
        if serves || self.way_back().await.is_some() || !self.left_of(&[WORKFLOW]).await.is_empty() {
            return;
        }
        self.edit_shards(|record| record.tablet_controls.clear()).await;
        let mut state = self.state();
        state.denied_by_nobody.retain(|(name, _)| name.0 != TARGET);
        for name in state.of(TARGET) {
            state.shards.get_mut(&name).unwrap().tables.clear();
        }
    }
}

impl State {
    /// Whether no tablet of some shard of the source answers, or answered when a way back ended before; with a primary that does not, the
    /// call that failed may have been the one that asked in its place.
    fn mount_stays(&mut self) -> bool {
        let is_mute = |uid: u32| self.is_down(uid) || self.hung.contains(&uid);
        let primaries = self.primaries(SOURCE);
        self.back.mount_stays |=
            primaries.into_iter().any(|uid| is_mute(uid) && (is_mute(other(uid)) || self.back.call_failed));
        self.back.mount_stays
    }

    /// Streams of the source's shards, and tables that their primaries refuse to clients although all of them answer.
    fn streams_of_source(&self) -> Vec<String> {
        let mut left = Vec::new();
        for name in self.of(SOURCE) {
            let shard = &self.shards[&name];
            let streams = shard.streams.iter();
            left.extend(streams.map(|stream| format!("stream {} of {} on {}", stream.id, stream.workflow, name.1)));
            let refused = &self.seats[&shard.primary].denied;
            if !refused.is_empty() && self.down.is_empty() && self.hung.is_empty() {
                left.push(format!("{refused:?} refused by the primary of {}", name.1));
            }
        }
        left
    }
}
