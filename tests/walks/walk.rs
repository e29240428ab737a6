//! Runs walks, and makes those that fail short.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::Before;
use crate::operations::{Outcome, Server, WORKFLOW};
use crate::step::{Op, Step};
use crate::upset::{LATE, Upset};
use crate::world::{Setup, TABLES, TARGET, World, chosen};

/// What a walk came to: the violations of the first step that had any, and how often each operation was done.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    pub violations: Vec<String>,
    pub done: BTreeMap<String, usize>,
    pub told: Vec<String>,
    /// Tables of the target after its steps.
    pub tables: BTreeSet<String>,
    /// Whether the upset of the last operation of ours happened that had one.
    pub upset_happened: bool,
}

pub struct Walker {
    pub world: Arc<World>,
    server: Server,
    walked: Walked,
}

/// Runs a walk to its end, or to its first violation.
pub async fn walk(setup: Setup, steps: &[Step]) -> Walked {
    let world = World::new(setup).await;
    let server = Server::start(&world).await;
    let mut walker = Walker { world, server, walked: Walked::default() };
    for step in steps {
        walker.step(*step).await;
        if walker.is_over() {
            return walker.walked;
        }
    }
    walker.walked.tables = walker.world.state().tables_of_target();
    walker.end(setup).await;
    walker.is_over();
    walker.walked
}

impl Walker {
    fn is_over(&mut self) -> bool {
        self.walked.violations = std::mem::take(&mut self.world.state().violations);
        !self.walked.violations.is_empty()
    }

    async fn step(&mut self, step: Step) {
        let world = Arc::clone(&self.world);
        let ours = matches!(step, Step::Our(_, None) | Step::SourceWrites(_) | Step::SourceDeletes | Step::Wait(_));
        world.state().pristine &= ours;
        if !matches!(step, Step::Our(..) | Step::Both(..)) {
            self.walked.told.push(format!("{step:?}"));
        }
        match step {
            Step::StockCreate => {
                let made = world.stock_create(WORKFLOW).await;
                self.count("StockCreate", if made { "done" } else { "refused" });
            }
            Step::KeyspaceDeleted(upset) => self.keyspace_deleted(upset).await,
            Step::PositionEdited(number, to) => world.state().position_edited(number, to),
            Step::SourceFailsOver(number) => world.source_fails_over(number).await,
            Step::Our(op, upset) => drop(self.our(op, upset).await),
            Step::Both(a, b, pace) => self.both(a, b, pace).await,
            Step::StockDelete { keep_data } => world.stock_delete(WORKFLOW, keep_data).await,
            Step::StockComplete => world.stock_complete(WORKFLOW).await,
            Step::StreamDeleted(number) => world.state().stream_deleted(number),
            Step::StreamFails(number) => world.state().stream_fails(number),
            Step::StreamsStopped => world.state().streams_stopped(),
            Step::StreamsFrozen => world.state().streams_frozen(),
            Step::StreamsThawed => world.state().streams_thawed(),
            Step::KeyspaceAnew => world.keyspace_anew().await,
            Step::ReparentTarget(number) => world.reparent(TARGET, number).await,
            Step::ReparentSource(number) => world.reparent(crate::world::SOURCE, number).await,
            Step::ReshardSource => world.reshard_source().await,
            Step::OldShardsDeleted => world.old_shards_deleted().await,
            Step::SourceWrites(rows) => world.state().source_writes(rows),
            Step::SourceDeletes => world.state().source_deletes(),
            Step::ClientWrites => TABLES.iter().for_each(|table| world.state().client_writes(table)),
            Step::UserMakesTables(which) => world.users_make_tables(which).await,
            Step::UserDropsTables(which) => chosen(which).for_each(|table| world.state().user_drops_table(table)),
            Step::LiftedByHand => world.lifted_by_hand().await,
            Step::SourceDies => world.state().source_dies(),
            Step::SourceHangs => world.state().hangs(crate::world::SOURCE),
            Step::SourceTopologyDies => world.state().source_topology_down = true,
            Step::TargetDies => {
                let mut state = world.state();
                let primary = state.serving(TARGET).last().map(|name| state.shards[name].primary);
                state.down.extend(primary);
            }
            Step::TargetHangs => world.state().hangs(TARGET),
            Step::Stall => world.state().stalled = true,
            Step::Heal => world.heal().await,
            Step::Wait(ticks) => (0..ticks).for_each(|_| world.state().tick()),
            Step::Writes(rows) => world.state().writes(rows),
            Step::TargetCleared => world.target_cleared().await,
        }
        world.forget_denials().await;
    }

    /// Our DeleteKeyspace, until it ends; then the keyspace is made anew.
    async fn keyspace_deleted(&mut self, upset: Option<(usize, Upset)>) {
        if !self.world.state().has_room() {
            return;
        }
        for upset in [upset, None] {
            let (outcome, _) = self.server.run(Op::DeleteKeyspace, upset).await;
            self.told(Op::DeleteKeyspace, &outcome);
            match (outcome, upset) {
                (Outcome::Done, _) => break,
                // the first try may have been cut off at the very end
                (Outcome::Refused(_), None) if self.world.left_of_target().await.is_empty() => break,
                (Outcome::Refused(why), None) => {
                    self.world.state().violate(format!("DeleteKeyspace cannot be repeated: {why}"));
                    return;
                }
                (Outcome::Refused(_), Some(_)) => {}
                (Outcome::Died, _) => self.server = Server::start(&self.world).await,
            }
        }
        let left = self.world.left_of_target().await;
        if !left.is_empty() {
            self.world.state().violate(format!("DeleteKeyspace left {}", left.join(", ")));
        }
        self.world.state().target_is_gone();
        self.world.make_target_anew().await;
    }

    pub async fn our(&mut self, op: Op, upset: Option<(usize, Upset)>) -> Outcome {
        let before = self.world.before().await;
        let had_record = self.world.has_record().await;
        let (outcome, upset_happened) = self.server.run(op, upset).await;
        let beside = self.beside().await;
        if upset.is_some() {
            self.walked.upset_happened = upset_happened;
        }
        self.told(op, &outcome);
        match (&beside, upset) {
            (Some((other, two)), _) => self.after_both((op, &outcome), (*other, two), &before).await,
            // what it promises the other one may have undone
            (_, Some((_, Upset::Overtaken(_)))) if upset_happened => self.world.state().settle(op, &outcome),
            _ => self.world.after(op, &outcome, &before).await,
        }
        let other = beside.iter().map(|(other, two)| (*other, two));
        let done: Vec<(Op, &Outcome)> = other.chain([(op, &outcome)]).collect();
        self.world.after_back(&done, had_record, &before).await;
        if outcome == Outcome::Died {
            self.server = Server::start(&self.world).await;
        }
        outcome
    }

    /// What another server began beside, and how it ended.
    async fn beside(&self) -> Option<(Op, Outcome)> {
        let (op, running) = self.world.state().beside.take()?;
        Some((op, running.await))
    }

    fn told(&mut self, op: Op, outcome: &Outcome) {
        self.walked.told.push(format!("{op:?}: {outcome:?}"));
        let word = match outcome {
            Outcome::Done => "done",
            Outcome::Refused(_) => "refused",
            Outcome::Died => "died",
        };
        self.count(&format!("{op:?}"), word);
    }

    fn count(&mut self, what: &str, word: &str) {
        *self.walked.done.entry(format!("{what} {word}")).or_default() += 1;
    }

    async fn both(&mut self, a: Op, b: Op, pace: usize) {
        let before = self.world.before().await;
        let had_record = self.world.has_record().await;
        let other = Server::start(&self.world).await;
        let both = futures::future::join(self.server.run_beside(a, b, pace), other.run_beside(b, a, pace / 3));
        let (one, two) = both.await;
        tokio::time::sleep(LATE * 2).await;
        self.told(a, &one);
        self.after_both((a, &one), (b, &two), &before).await;
        self.world.after_back(&[(a, &one), (b, &two)], had_record, &before).await;
    }

    /// What one promises the other may have undone meanwhile: then only the last word counts.
    async fn after_both(&mut self, (a, one): (Op, &Outcome), (b, two): (Op, &Outcome), before: &Before) {
        self.told(b, two);
        if b.is_quiet() {
            self.world.after(a, one, before).await;
        }
        if a.is_quiet() {
            self.world.after(b, two, before).await;
        }
        self.world.is_mounted([(a, one), (b, two)]).await;
    }

    /// From every state some documented sequence reaches a clean end.
    async fn end(&mut self, setup: Setup) {
        self.world.heal().await;
        if setup.way_back {
            return self.end_with_way_back(setup.first_way_out).await;
        }
        let pristine = self.world.state().pristine && !setup.stop_after_copy;
        if self.our(Op::Register, None).await != Outcome::Done {
            self.world.state().violate("the mount cannot be registered again".to_owned());
        }
        let has_streams = self.world.left_of(&[WORKFLOW]).await.iter().any(|text| text.contains("stream"));
        if pristine && has_streams && self.our(Op::Start, None).await == Outcome::Done {
            (0..80).for_each(|_| self.world.state().tick());
            if let Outcome::Refused(why) = self.our(Op::Complete, None).await {
                self.world.state().violate(format!("complete of a workflow that nobody disturbed is refused: {why}"));
            }
        }
        let ways: [&[Op]; 6] = [
            &[Op::Complete, Op::CompleteSecond],
            &[Op::Cancel, Op::CancelSecond],
            &[Op::Clean],
            &[Op::CancelKeepingData, Op::CancelSecondKeepingData],
            &[Op::CompleteIgnoringSource],
            &[Op::Start, Op::Complete],
        ];
        for round in 0..ways.len() * 2 {
            for op in ways[(round + setup.first_way_out) % ways.len()] {
                if !self.world.state().violations.is_empty() || self.world.left_at_all().await.is_empty() {
                    return;
                }
                self.our(*op, None).await;
                self.world.forget_denials().await;
                (0..10).for_each(|_| self.world.state().tick());
            }
        }
        let mut left = self.world.left_at_all().await;
        // of what a stock vtctld has deleted nothing tells any more who is to be refreshed: the answer to a cancel names all
        let deleted = self.world.state().stock_deleted;
        if deleted && !left.is_empty() && left.iter().all(|text| text.contains("refused by the primary")) {
            let answer = self.our(Op::Cancel, None).await;
            if !matches!(&answer, Outcome::Refused(why) if why.contains("RefreshStateByShard customer/")) {
                self.world.state().violate(format!("nobody tells to refresh the primaries: {answer:?}"));
            }
            self.world.refresh_target().await;
            left = self.world.left_at_all().await;
        }
        if !left.is_empty() {
            self.world.state().violate(format!("no way out, left: {}", left.join("; ")));
        }
    }
}

/// The futures of whole operations are large where nothing is optimised.
const STACK: usize = 64 << 20;

/// Runs a walk on a thread and a runtime of its own, whose clock goes on when everything waits for it.
pub fn run(setup: Setup, steps: &[Step]) -> Walked {
    let steps = steps.to_vec();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { walk(setup, &steps).await })
    });
    let panicked = |_| Walked { violations: vec!["it panicked".to_owned()], ..Walked::default() };
    thread.unwrap().join().unwrap_or_else(panicked)
}

impl Walked {
    /// What kind of violation there was first, if any: its text without numbers.
    pub fn kind(&self) -> Option<String> {
        let text = self.violations.first()?;
        Some(text.chars().filter(|c| !c.is_ascii_digit()).collect())
    }
}

/// A shorter walk that fails in the same way: steps are left out, upsets are taken away.
pub fn shrink(setup: Setup, steps: &[Step], kind: &str) -> (Setup, Vec<Step>) {
    let fails = |setup: Setup, steps: &[Step]| run(setup, steps).kind().as_deref() == Some(kind);
    let (mut setup, mut steps) = (setup, steps.to_vec());
    let mut chunk = steps.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let shorter = [&steps[..at], &steps[(at + chunk).min(steps.len())..]].concat();
            if fails(setup, &shorter) {
                steps = shorter;
            } else {
                at += chunk;
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    for at in 0..steps.len() {
        let without = match steps[at] {
            Step::Our(op, Some(_)) => Step::Our(op, None),
            Step::KeyspaceDeleted(Some(_)) => Step::KeyspaceDeleted(None),
            _ => continue,
        };
        let mut calm = steps.clone();
        calm[at] = without;
        if fails(setup, &calm) {
            steps = calm;
        }
    }
    for plain in [
        Setup { denied_before: false, ..setup },
        Setup { stop_after_copy: false, ..setup },
        Setup { tables_there: false, ..setup },
        Setup { from_replicas: false, ..setup },
        Setup { source_sharded: false, ..setup },
        Setup { target_sharded: false, ..setup },
    ] {
        let plain = Setup {
            denied_before: plain.denied_before && setup.denied_before,
            stop_after_copy: plain.stop_after_copy && setup.stop_after_copy,
            tables_there: plain.tables_there && setup.tables_there,
            from_replicas: plain.from_replicas && setup.from_replicas,
            source_sharded: plain.source_sharded && setup.source_sharded,
            target_sharded: plain.target_sharded && setup.target_sharded,
            ..setup
        };
        if plain != setup && fails(plain, &steps) {
            setup = plain;
        }
    }
    (setup, steps)
}
