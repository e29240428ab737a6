//! Two of our commands side by side: at a call of the one another server begins the other, and does all that it can without waiting
//! for the first. `PAIRS` sets how many are tried (1,500), `PAIRS_FROM` the first seed (0).

use crate::found::{PLAIN, SHARDED, holds, holds_at_every_call};
use crate::step::{Dice, Op, Step};
use crate::upset::Upset;
use crate::walk::run;
use crate::world::Setup;
use crate::{setting, walk_all};
use Op::*;
use Step::*;

/// What was there before, to which the commands come.
fn before(dice: &mut Dice) -> Vec<Step> {
    let copied = [Our(Create, None), Wait(30)];
    let cut_off = |dice: &mut Dice, op: Op, most: usize| {
        let upset = [Upset::KillAfter, Upset::FailBefore, Upset::FailAfter][dice.roll(3)];
        Our(op, Some((dice.roll(most), upset)))
    };
    match dice.roll(12) {
        0..=2 => vec![],
        3 => vec![Our(Create, None)],
        4 => copied.to_vec(),
        5 => vec![cut_off(dice, Create, 110)],
        6 => vec![ReshardSource, cut_off(dice, Create, 110)],
        7 => vec![Our(Create, None), Wait(1), ReshardSource, Wait(20)],
        8 => [&copied[..], &[cut_off(dice, Cancel, 50)]].concat(),
        9 => [&copied[..], &[cut_off(dice, CancelKeepingData, 50)]].concat(),
        10 => [&copied[..], &[cut_off(dice, Complete, 50)]].concat(),
        _ => vec![StockCreate, Wait(dice.roll(30))],
    }
}

/// The pair of a number, with what comes before and after it.
fn pair(seed: u64) -> (Setup, Vec<Step>) {
    let mut dice = Dice::new(seed);
    let setup = Setup {
        source_sharded: dice.one_in(2),
        target_sharded: dice.one_in(2),
        tables_there: dice.one_in(4),
        from_replicas: dice.one_in(4),
        first_way_out: dice.roll(6),
        ..PLAIN
    };
    let mut steps = before(&mut dice);
    let most = [8, 30, 80][dice.roll(3)];
    steps.push(Our(dice.op(), Some((dice.roll(most), Upset::Beside(dice.op())))));
    let after = [ClientWrites, SourceWrites(3), Wait(9), UserMakesTables(3)];
    steps.extend(after.into_iter().filter(|_| dice.one_in(2)));
    (setup, steps)
}

#[test]
fn pairs_of_commands_keep_the_promises() {
    let (count, from) = (setting("PAIRS", 1500), setting("PAIRS_FROM", 0));
    walk_all(from..from + count, pair);
}

/// The delete comes first, for the lock is its: nothing that the create brings then was handed over.
#[test]
fn what_a_create_brings_after_a_delete_that_keeps_data_is_its_own() {
    let replicas = Setup { from_replicas: true, source_sharded: true, ..PLAIN };
    let failed = Our(Create, Some((74, Upset::FailBefore)));
    holds(replicas, &[ReshardSource, failed, Both(Create, CancelKeepingData, 670)]);
    for pace in [0, 670] {
        holds_at_every_call(PLAIN, &[], Create, Upset::FailBefore, &[Both(Create, CancelKeepingData, pace)]);
    }
}

/// One judges by what it read once it has the lock: what the other one changed while it waited is seen.
#[test]
fn a_create_and_what_ends_a_workflow_do_not_take_what_the_other_brought() {
    let failed = Our(Create, Some((74, Upset::FailBefore)));
    let after = [Wait(9), ClientWrites, Our(Cancel, None)];
    for before in [vec![], vec![failed], vec![Our(Create, None), Wait(30)]] {
        for end in [CancelKeepingData, Cancel, Complete, Clean] {
            holds_at_some_calls(&before, Create, end, &after);
            holds_at_some_calls(&before, end, Create, &after);
        }
    }
}

#[test]
fn a_diff_that_is_made_while_its_workflow_is_ended_is_deleted() {
    let before = [Our(Create, None), Wait(30)];
    for end in [CancelKeepingData, Cancel, Complete] {
        holds_at_some_calls(&before, VDiff, end, &[]);
        holds_at_some_calls(&before, end, VDiff, &[]);
    }
}

/// `b` begins at every third call of `a`, or at all where `PAIRS_EVERY` is 1.
#[track_caller]
fn holds_at_some_calls(before: &[Step], a: Op, b: Op, after: &[Step]) {
    let every = usize::try_from(setting("PAIRS_EVERY", 3)).unwrap();
    for call in (0..).step_by(every) {
        let steps = [before, &[Our(a, Some((call, Upset::Beside(b))))], after].concat();
        let walked = run(SHARDED, &steps);
        assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
        if !walked.upset_happened {
            return;
        }
    }
}
