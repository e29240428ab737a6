//! The steps of walks with a way back, and those that end it.
//!
//! The first leave out what is not for them: other workflows, stock programs that end the migration, shards and keyspaces that come
//! and go, and a server that is overtaken by another one (mounts in the source are made without a fence).

use crate::operations::WORKFLOW;
use crate::step::{Dice, Op, Step};
use crate::upset::Upset;
use crate::walk::Walker;
use crate::world::Setup;

/// One walk in so many has a way back.
pub const ONE_IN: u64 = 6;

/// What happens to calls of such a walk.
const UPSETS: [Upset; 13] = [
    Upset::KillBefore,
    Upset::KillAfter,
    Upset::FailBefore,
    Upset::FailAfter,
    Upset::Slow,
    Upset::Hangs,
    Upset::Late,
    Upset::LeaseLost,
    Upset::SourceWrites,
    Upset::ClientWrites,
    Upset::SourceDies,
    Upset::StreamFails,
    Upset::TargetReparents,
];

fn op(dice: &mut Dice) -> Op {
    dice.pick(&[
        (4, Op::Create),
        (1, Op::Status),
        (1, Op::Verdict),
        (1, Op::Stop),
        (3, Op::Start),
        (10, Op::Complete),
        (1, Op::CompleteIgnoringSource),
        (2, Op::Cancel),
        (1, Op::CancelKeepingData),
        (1, Op::Clean),
        (8, Op::WayBackPrepare),
        (2, Op::WayBackStatus),
        (8, Op::WayBackComplete),
        (3, Op::WayBackCancel),
    ])
}

fn upset_at(dice: &mut Dice) -> Option<(usize, Upset)> {
    let most = [20, 60, 160][dice.roll(3)];
    (dice.roll(100) < 45).then(|| (dice.roll(most), UPSETS[dice.roll(UPSETS.len())]))
}

fn step(dice: &mut Dice) -> Step {
    if dice.roll(100) < 45 {
        return Step::Our(op(dice), upset_at(dice));
    }
    match dice.roll(24) {
        0 => Step::Both(op(dice), op(dice), dice.roll(1000)),
        1 => Step::ReparentTarget(dice.roll(2)),
        2 => Step::ReparentSource(dice.roll(2)),
        3..=8 => Step::Writes(1 + dice.roll(5)),
        9 => Step::StreamFails(dice.roll(3)),
        10 => dice.silence(),
        11 => Step::Stall,
        12..=14 => Step::Heal,
        15 => Step::TargetCleared,
        _ => Step::Wait(1 + dice.roll(20)),
    }
}

/// The walk of a number.
pub fn walk(seed: u64, steps: usize) -> (Setup, Vec<Step>) {
    let mut dice = Dice::new(seed);
    let setup = Setup {
        source_sharded: dice.one_in(2),
        target_sharded: dice.one_in(2),
        from_replicas: dice.one_in(3),
        first_way_out: dice.roll(8),
        way_back: true,
        ..Setup::default()
    };
    let mut walk = vec![Step::Our(Op::Create, None), Step::Wait(30)];
    // most are prepared, and many are open, before anything goes wrong
    let calm = dice.roll(6);
    if calm > 0 {
        walk.push(Step::Our(Op::WayBackPrepare, None));
    }
    if calm > 2 {
        walk.push(Step::Our(Op::Complete, None));
    }
    while walk.len() < steps {
        walk.push(step(&mut dice));
    }
    (setup, walk)
}

impl Walker {
    /// From every state some documented sequence ends the migration and its way back.
    pub async fn end_with_way_back(&mut self, first: usize) {
        let ways: [&[Op]; 8] = [
            &[Op::WayBackComplete],
            &[Op::Complete],
            &[Op::WayBackPrepare, Op::WayBackVDiff, Op::WayBackComplete],
            &[Op::Cancel],
            &[Op::WayBackCancel],
            &[Op::Start, Op::Complete],
            &[Op::Clean],
            &[Op::CancelKeepingData, Op::WayBackCancel],
        ];
        for round in 0..ways.len() * 2 {
            for op in ways[(round + first) % ways.len()] {
                if !self.world.state().violations.is_empty() || self.left().await.is_empty() {
                    return;
                }
                self.our(*op, None).await;
                (0..10).for_each(|_| self.world.state().tick());
            }
        }
        let left = self.left().await;
        if !left.is_empty() {
            self.world.state().violate(format!("no way out, left: {}", left.join("; ")));
        }
    }

    async fn left(&self) -> Vec<String> {
        let mut left = self.world.left_of(&[WORKFLOW]).await;
        let phase = self.world.way_back().await.map(|facts| facts.phase.word());
        left.extend(phase.map(|phase| format!("the way back, which is {phase}")));
        left
    }
}
