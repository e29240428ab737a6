//! Sequences with a way back: undisturbed, and with something that happens at calls of one command.

use crate::found::{PLAIN, SHARDED, holds};
use crate::step::{Op, Step};
use crate::upset::Upset;
use crate::walk::run;
use crate::world::Setup;
use Op::*;
use Step::*;

fn setups() -> [Setup; 3] {
    let two = Setup { target_sharded: true, ..PLAIN };
    [PLAIN, two, SHARDED].map(|setup| Setup { way_back: true, ..setup })
}

/// `upset` at calls that `op` makes, others for each setup; `op` comes after `before`. From where that leads everything ends clean.
#[track_caller]
fn holds_at_calls(before: &[Step], op: Op, upset: Upset, after: &[Step]) {
    let every = usize::try_from(crate::setting("WALKS_EVERY", 10)).unwrap();
    holds_at_each(every, before, op, upset, after);
}

/// The same at each of so many calls.
#[track_caller]
fn holds_at_each(every: usize, before: &[Step], op: Op, upset: Upset, after: &[Step]) {
    for (from, setup) in setups().into_iter().enumerate() {
        holds_in(setup, (from..).step_by(every), before, op, upset, after);
    }
}

/// The same at some calls in one setup.
#[track_caller]
fn holds_in(setup: Setup, calls: impl Iterator<Item = usize>, before: &[Step], op: Op, upset: Upset, after: &[Step]) {
    for call in calls {
        let steps = [before, &[Our(op, Some((call, upset)))], after].concat();
        let walked = run(setup, &steps);
        let (violations, told) = (&walked.violations, &walked.told);
        assert!(violations.is_empty(), "call {call} of {setup:?}: {violations:#?}\n{told:#?}");
        if !walked.upset_happened {
            assert!(call >= 10, "{op:?} makes {call} calls only: {told:#?}");
            return;
        }
    }
}

fn copied() -> Vec<Step> {
    vec![Our(Create, None), Wait(30), Writes(3), Wait(9)]
}

fn prepared() -> Vec<Step> {
    [&copied()[..], &[Our(WayBackPrepare, None)]].concat()
}

fn open() -> Vec<Step> {
    [&prepared()[..], &[Our(Complete, None), Writes(3)]].concat()
}

#[test]
fn what_clients_were_told_is_there_and_back_again() {
    for source_sharded in [false, true] {
        for target_sharded in [false, true] {
            let setup = Setup { way_back: true, source_sharded, target_sharded, ..PLAIN };
            let back = [Writes(6), Wait(20), Our(WayBackStatus, None), Our(WayBackComplete, None), Writes(3)];
            let again = [TargetCleared, Our(Create, None), Wait(60), Our(WayBackPrepare, None), Our(Complete, None)];
            let stay = [Writes(3), Our(WayBackCancel, None), Writes(3)];
            let walked = run(setup, &[&open()[..], &back, &again, &stay].concat());
            assert!(walked.violations.is_empty(), "{setup:?}: {:#?}\n{:#?}", walked.violations, walked.told);
            for (done, times) in [
                ("Create done", 2),
                ("WayBackPrepare done", 2),
                ("Complete done", 2),
                ("WayBackStatus done", 1),
                ("WayBackComplete done", 1),
                ("WayBackCancel done", 1),
            ] {
                assert_eq!(walked.done.get(done), Some(&times), "{done} of {setup:?}: {:#?}", walked.told);
            }
        }
    }
}

#[test]
fn a_migration_that_is_cancelled_takes_its_way_back_along() {
    for setup in setups() {
        let walked = run(setup, &[&prepared()[..], &[Our(Cancel, None), Writes(3)]].concat());
        assert!(walked.violations.is_empty(), "{setup:?}: {:#?}\n{:#?}", walked.violations, walked.told);
        assert_eq!(walked.done.get("Cancel done"), Some(&1), "{:#?}", walked.told);
        assert_eq!(walked.done.get("WayBackCancel done"), None, "{:#?}", walked.told);
    }
}

#[test]
fn a_server_that_dies_at_a_call_of_a_way_back_loses_nothing_and_leaves_nothing() {
    let after = [Writes(3), Wait(9), Writes(2)];
    for upset in [Upset::KillBefore, Upset::KillAfter] {
        holds_at_calls(&copied(), WayBackPrepare, upset, &after);
        holds_at_calls(&prepared(), Complete, upset, &after);
        holds_at_calls(&open(), WayBackComplete, upset, &after);
        holds_at_calls(&open(), WayBackCancel, upset, &after);
    }
}

#[test]
fn a_server_that_was_overtaken_by_a_cancel_registers_nothing_in_the_source() {
    holds_at_calls(&copied(), WayBackPrepare, Upset::Overtaken(WayBackCancel), &[Writes(3)]);
}

#[test]
fn what_clients_write_while_somebody_goes_back_is_not_lost() {
    for upset in [Upset::ClientWrites, Upset::TargetReparents, Upset::LeaseLost] {
        holds_at_calls(&open(), WayBackComplete, upset, &[Writes(3), Our(WayBackComplete, None)]);
    }
}

#[test]
fn what_is_asked_of_the_source_in_vain_leaves_clients_one_side() {
    for upset in [Upset::SourceDies, Upset::FailAfter] {
        holds_at_calls(&prepared(), Complete, upset, &[Writes(3), Heal, Our(WayBackPrepare, None), Wait(9)]);
        holds_at_calls(&open(), WayBackComplete, upset, &[Writes(3), Heal, Our(WayBackComplete, None)]);
    }
}

/// Of a call that is never answered, whoever is called.
#[test]
fn clients_are_not_kept_from_both_sides_for_as_long_as_somebody_hangs() {
    let setup = Setup { way_back: true, ..PLAIN };
    holds_in(setup, 0.., &prepared(), Complete, Upset::Hangs, &[Writes(3)]);
    holds_in(setup, (0..).step_by(3), &open(), WayBackComplete, Upset::Hangs, &[Writes(3)]);
}

/// Nobody stops the application: it writes to the source until it is refused. Each setup begins at another call.
#[test]
fn what_clients_of_the_source_were_told_while_complete_ran_is_there() {
    holds_at_each(3, &prepared(), Complete, Upset::SourceWrites, &[Writes(3), Wait(9), Our(WayBackComplete, None)]);
}

/// Complete went on without a stream that had failed, and the source had deleted a row by then: a client of the target changes it, which
/// changes nothing in the source.
#[test]
fn nobody_goes_back_after_a_cut_that_was_not_exact_until_a_diff_has_found_both_sides_equal() {
    let before = [Our(Create, None), Wait(30), StreamFails(0), Our(WayBackPrepare, None)];
    let cut = |writes: &[Step]| [&before, writes, &[Our(CompleteIgnoringSource, None)]].concat();
    let goes_back = |setup: Setup, steps: &[Step]| {
        let walked = run(setup, steps);
        assert!(walked.violations.is_empty(), "{setup:?}: {:#?}\n{:#?}", walked.violations, walked.told);
        assert!(walked.done.contains_key("CompleteIgnoringSource done"), "{setup:?}: {:#?}", walked.told);
        walked.done.contains_key("WayBackComplete done")
    };
    for setup in setups() {
        let (equal, differ) = (cut(&[]), cut(&[Writes(3)]));
        let changed = [&differ[..], &[Writes(1), Wait(9), Our(WayBackComplete, None)]].concat();
        let compared = [&changed[..], &[Our(WayBackVDiff, None), Our(WayBackComplete, None)]].concat();
        assert!(!goes_back(setup, &changed) && !goes_back(setup, &compared), "{setup:?}");
        let equal = [&equal[..], &[Writes(4), Wait(9), Our(WayBackVDiff, None)]].concat();
        assert!(
            goes_back(setup, &[&equal[..], &[Writes(3), Wait(9), Our(WayBackComplete, None)]].concat()),
            "{setup:?}"
        );
        holds_in(setup, (0..).step_by(8), &differ, WayBackComplete, Upset::ClientWrites, &[]);
        holds_in(setup, (0..).step_by(8), &equal, WayBackComplete, Upset::ClientWrites, &[Our(WayBackComplete, None)]);
    }
}

/// Replicas tell who reads from the mount in their place.
#[test]
fn primaries_of_the_source_that_hang_keep_no_mount_there() {
    let one = Setup { source_sharded: true, ..PLAIN };
    for setup in [one, SHARDED] {
        let setup = Setup { way_back: true, ..setup };
        holds(setup, &[Our(Create, None), Our(WayBackPrepare, None), SourceHangs, Our(WayBackCancel, None)]);
    }
}
