//! Sequences that walks found, each with the fault that it showed. What depends on where an operation is cut is tried at
//! every call.

use crate::step::{Op, Position, Step};
use crate::upset::Upset;
use crate::walk::run;
use crate::world::Setup;
use Op::*;
use Step::*;

pub const PLAIN: Setup = Setup {
    source_sharded: false,
    target_sharded: false,
    tables_there: false,
    denied_before: false,
    stop_after_copy: false,
    from_replicas: false,
    first_way_out: 0,
    way_back: false,
};
pub const SHARDED: Setup = Setup { source_sharded: true, target_sharded: true, ..PLAIN };

#[track_caller]
pub fn holds(setup: Setup, steps: &[Step]) {
    let walked = run(setup, steps);
    assert!(walked.violations.is_empty(), "{:#?}\n{:#?}", walked.violations, walked.told);
}

/// The same with `upset` at every call that `op` makes, which comes after `before`.
#[track_caller]
pub fn holds_at_every_call(setup: Setup, before: &[Step], op: Op, upset: Upset, after: &[Step]) {
    for call in 0.. {
        let steps = [before, &[Our(op, Some((call, upset)))], after].concat();
        let walked = run(setup, &steps);
        assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
        if !walked.upset_happened {
            // all of its calls were tried
            assert!(call > 10, "{op:?} makes {call} calls only: {:#?}", walked.told);
            return;
        }
    }
}

#[test]
fn tables_of_users_survive_a_cancel_after_stock_ended_the_workflow() {
    holds(PLAIN, &[Our(Create, None), Wait(30), StockDelete { keep_data: true }, Our(Cancel, None)]);
    holds(SHARDED, &[Our(Create, None), Wait(30), StockComplete, Our(Cancel, None)]);
    holds(PLAIN, &[Our(Create, None), Wait(30), KeyspaceAnew, UserMakesTables(1), ClientWrites, Our(Cancel, None)]);
    holds(PLAIN, &[Our(Create, None), StockComplete, UserMakesTables(1), Our(Clean, None)]);
}

#[test]
fn a_workflow_whose_cancel_was_cut_off_is_not_completed() {
    let stops = Setup { source_sharded: true, stop_after_copy: true, ..PLAIN };
    for setup in [PLAIN, stops] {
        let before = [Our(Create, None), Wait(30)];
        holds_at_every_call(
            setup,
            &before,
            Cancel,
            Upset::LeaseLost,
            &[Our(Start, None), Wait(30), Our(Complete, None)],
        );
    }
}

#[test]
fn a_stream_that_fails_while_complete_waits_is_not_one_that_caught_up() {
    let before = [Our(Create, None), Wait(30), SourceWrites(6)];
    for setup in [PLAIN, SHARDED] {
        holds_at_every_call(setup, &before, Complete, Upset::StreamFails, &[]);
    }
}

#[test]
fn complete_proves_the_position_of_a_source_that_does_not_answer() {
    let setup = Setup { from_replicas: true, ..PLAIN };
    holds(setup, &[Our(Create, None), Wait(30), Stall, SourceWrites(4), SourceDies, Our(Complete, None)]);
    holds(setup, &[Our(Create, None), Wait(30), Stall, SourceWrites(4), SourceTopologyDies, Our(Complete, None)]);
    holds_at_every_call(setup, &[Our(Create, None), Wait(30), SourceWrites(6)], Complete, Upset::SourceDies, &[]);
}

#[test]
fn shards_that_the_source_got_since_create_are_waited_for() {
    let steps = [Our(Create, None), Wait(30), ReshardSource, Wait(3), Stall, SourceWrites(4)];
    holds(PLAIN, &[&steps[..], &[Our(Complete, None)]].concat());
    holds(SHARDED, &[&steps[..], &[OldShardsDeleted, Our(Complete, None)]].concat());
}

#[test]
fn a_complete_that_is_repeated_after_the_freeze_looks_at_the_positions_again() {
    for upset in [Upset::KillAfter, Upset::FailBefore, Upset::LeaseLost] {
        let after = [SourceWrites(3), Our(Complete, None)];
        holds_at_every_call(PLAIN, &[Our(Create, None), Wait(30)], Complete, upset, &after);
    }
}

#[test]
fn a_create_that_goes_on_takes_no_tables_that_others_filled() {
    for upset in [Upset::KillAfter, Upset::KillBefore] {
        let after = [UserMakesTables(1), ClientWrites, Our(Create, None), Wait(20), Our(Cancel, None)];
        holds_at_every_call(PLAIN, &[], Create, upset, &after);
        holds_at_every_call(PLAIN, &[], Create, upset, &[UserMakesTables(1), ClientWrites, Our(Cancel, None)]);
    }
}

/// A table is create's own once its record notes that create made it.
#[test]
fn an_empty_table_that_somebody_makes_beside_create_stays() {
    for setup in [PLAIN, SHARDED] {
        for upset in [Upset::KillAfter, Upset::KillBefore] {
            let after = [UserMakesTables(1), Our(Create, None), Wait(20), Our(Cancel, None)];
            holds_at_every_call(setup, &[], Create, upset, &after);
            holds_at_every_call(setup, &[], Create, upset, &[UserMakesTables(1), Our(Cancel, None)]);
        }
        holds_at_every_call(setup, &[], Create, Upset::UserMakesTable, &[Our(Cancel, None)]);
    }
}

#[test]
fn what_a_failed_create_made_is_taken_back_when_nothing_is_under_way() {
    for upset in [Upset::FailBefore, Upset::FailAfter, Upset::Slow] {
        holds_at_every_call(SHARDED, &[], Create, upset, &[Our(Create, None)]);
    }
}

#[test]
fn denied_tables_of_an_earlier_record_are_lifted_in_the_end() {
    let steps = [Our(Create, None), StockDelete { keep_data: false }, Our(Create, None), Wait(30), Our(Complete, None)];
    holds(PLAIN, &steps);
}

#[test]
fn a_missing_stream_beside_another_one_keeps_complete_from_going_on() {
    for number in 0..2 {
        let setup = Setup { source_sharded: true, ..PLAIN };
        let steps = [Our(Create, None), Wait(30), StreamDeleted(number), SourceWrites(4), Wait(9), Our(Complete, None)];
        holds(setup, &steps);
    }
}

/// Clients may write to tables that were there before until these are denied.
#[test]
fn rows_that_are_written_between_the_look_and_the_denial_are_not_taken_over() {
    for setup in [PLAIN, SHARDED] {
        let setup = Setup { tables_there: true, ..setup };
        for after in [Cancel, Create, Clean] {
            holds_at_every_call(setup, &[], Create, Upset::ClientWrites, &[Our(after, None), Our(Cancel, None)]);
        }
    }
}

#[test]
fn streams_that_somebody_stopped_for_good_while_they_copied_are_not_handed_over() {
    for setup in [PLAIN, SHARDED] {
        holds(setup, &[Our(Create, None), StreamsFrozen, Our(Complete, None)]);
        holds(setup, &[Our(Create, None), Wait(1), StreamsFrozen, Our(CompleteIgnoringSource, None)]);
    }
}

/// The target's tablets meet the source's journal while they copy, and replace the streams.
#[test]
fn what_a_reshard_of_the_source_left_uncopied_is_not_handed_over() {
    for setup in [PLAIN, SHARDED, Setup { stop_after_copy: true, ..PLAIN }] {
        for complete in [Complete, CompleteIgnoringSource] {
            let mut refused = 0;
            // whether a stream meets the journal while it copies depends on when that is written
            for moment in 0..3 {
                let steps = [Our(Create, None), Wait(moment), ReshardSource, Wait(20), Our(complete, None)];
                let walked = run(setup, &steps);
                assert!(walked.violations.is_empty(), "{:#?}\n{:#?}", walked.violations, walked.told);
                refused += u32::from(!walked.done.contains_key(&format!("{complete:?} done")));
                // what tells of it is no leftover
                holds(setup, &[&steps[..4], &[Our(Clean, None), Our(complete, None)]].concat());
            }
            // the few rows of one shard of several are copied before the journal comes
            assert!(refused > 0 || setup.source_sharded, "{setup:?}: no stream was replaced while it copied");
        }
        let before = [Our(Create, None), Wait(1), ReshardSource, Wait(20)];
        for upset in [Upset::KillAfter, Upset::FailBefore] {
            holds_at_every_call(setup, &before, Cancel, upset, &[Our(Complete, None), Our(Cancel, None)]);
            holds_at_every_call(setup, &before, CancelKeepingData, upset, &[Our(CancelKeepingData, None)]);
        }
        holds(setup, &[StockCreate, Wait(1), ReshardSource, Wait(20), Our(Complete, None), Our(Cancel, None)]);
    }
}

/// Of streams that stock has made when those of our create were gone, whose record is there still.
#[test]
fn what_a_reshard_left_uncopied_of_streams_that_no_record_lists_is_not_handed_over() {
    for setup in [PLAIN, SHARDED] {
        for end in [Complete, CompleteIgnoringSource, Cancel, CancelKeepingData] {
            let mut refused = 0;
            for moment in 0..3 {
                let gone = [Our(Create, None), UserDropsTables(3), StreamDeleted(0), StreamDeleted(0)];
                let steps = [&gone[..], &[StockCreate, Wait(moment), ReshardSource, Wait(20), Our(end, None)]].concat();
                let walked = run(setup, &steps);
                assert!(walked.violations.is_empty(), "{setup:?}: {:#?}\n{:#?}", walked.violations, walked.told);
                assert!(walked.done.contains_key("StockCreate done"), "{:#?}", walked.told);
                refused += u32::from(!walked.done.contains_key(&format!("{end:?} done")));
            }
            let hands_over = matches!(end, Complete | CompleteIgnoringSource);
            assert!(
                refused > 0 || !hands_over || setup.source_sharded,
                "{setup:?}: no stream was replaced while it copied"
            );
        }
    }
}

/// Only the record tells whose denied tables are.
#[test]
fn the_cleaner_keeps_a_record_whose_denied_tables_another_workflow_works_on() {
    for setup in [PLAIN, SHARDED] {
        let steps = [Our(Create, None), StockDelete { keep_data: false }, Our(CreateSecond, None), Our(Clean, None)];
        holds(setup, &[&steps[..], &[Wait(30), Our(CompleteSecond, None)]].concat());
    }
}

/// Streams that were to stop after their copy, and were started again, are held to the source's position like others.
#[test]
fn a_copy_that_was_started_again_is_no_snapshot_when_its_complete_is_repeated() {
    let setup = Setup { stop_after_copy: true, ..PLAIN };
    let before = [Our(Create, None), Wait(30), Our(Start, None), Wait(9)];
    for upset in [Upset::KillAfter, Upset::FailAfter] {
        holds_at_every_call(setup, &before, Complete, upset, &[SourceWrites(3), Our(Complete, None)]);
    }
    holds(setup, &[Our(Create, None), Wait(30), SourceWrites(3), Our(Complete, None)]);
}

/// What complete wrote of the handover does not make the denied tables of others the workflow's.
#[test]
fn denied_tables_of_others_stay_when_somebody_starts_streams_that_were_handed_over() {
    for setup in [PLAIN, SHARDED] {
        let setup = Setup { denied_before: true, ..setup };
        let before = [Our(Create, None), Wait(30)];
        let after = [StreamsThawed, Our(Cancel, None), Our(CancelKeepingData, None)];
        holds_at_every_call(setup, &before, Complete, Upset::KillAfter, &after);
    }
}

/// When all but the record of a workflow is gone, that keeps no later one from its end.
#[test]
fn what_stock_makes_after_a_cancel_that_was_cut_off_is_completed() {
    for setup in [PLAIN, SHARDED] {
        let mut made = 0;
        for call in 0.. {
            let cut_off = Our(Cancel, Some((call, Upset::KillAfter)));
            let steps = [Our(Create, None), Wait(30), cut_off, StockCreate, Wait(30), Our(Complete, None)];
            let walked = run(setup, &steps);
            assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
            if !walked.upset_happened {
                break;
            }
            let (makes, completes) =
                (walked.done.contains_key("StockCreate done"), walked.done.contains_key("Complete done"));
            assert!(!makes || completes, "call {call}: {:#?}", walked.told);
            made += usize::from(makes);
        }
        // before the record is deleted, and after it
        assert!(made > 1, "{made}");
    }
}

/// What our complete has written of streams that stock has deleted does not count for those that stock makes.
#[test]
fn a_complete_that_was_cut_off_says_nothing_of_what_stock_makes_later() {
    for setup in [PLAIN, SHARDED] {
        let after = [StockDelete { keep_data: false }, StockCreate, Wait(1), StreamsFrozen, Our(Complete, None)];
        holds_at_every_call(setup, &[Our(Create, None), Wait(30)], Complete, Upset::KillAfter, &after);
    }
}

#[test]
fn a_source_primary_that_was_replaced_does_not_tell_what_the_source_has() {
    for setup in [PLAIN, SHARDED] {
        let steps = [Our(Create, None), Wait(30), Stall, SourceFailsOver(0), SourceWrites(4), Our(Complete, None)];
        holds(setup, &steps);
    }
}

#[test]
fn what_somebody_writes_as_a_position_does_not_make_complete_pass_over_rows() {
    for to in [Position::Empty, Position::Garbled, Position::Older(1), Position::Older(9)] {
        for setup in [PLAIN, SHARDED, Setup { stop_after_copy: true, ..PLAIN }] {
            let steps = [Our(Create, None), Wait(30), SourceWrites(4), Wait(9), PositionEdited(0, to), SourceDeletes];
            holds(setup, &[&steps[..], &[Our(Complete, None)]].concat());
            holds(setup, &[&steps[..], &[StreamsStopped, Our(Start, None), Wait(30), Our(Complete, None)]].concat());
            holds(setup, &[&steps[..], &[Our(Cancel, None)]].concat());
        }
    }
}

#[test]
fn a_keyspace_that_is_deleted_takes_the_records_of_its_workflows_with_it() {
    for upset in [Upset::KillAfter, Upset::FailBefore, Upset::LeaseLost] {
        for call in 0..30 {
            let deleted = KeyspaceDeleted(Some((call, upset)));
            holds(SHARDED, &[Our(Create, None), Wait(9), deleted, Our(Create, None), Wait(30), Our(Complete, None)]);
        }
    }
}

/// A cancel that was cut off after its DROP finds the workflow's tables gone, and what users have made there since is theirs.
#[test]
fn a_table_that_a_user_made_anew_survives_the_cancel_that_goes_on() {
    for setup in [PLAIN, SHARDED] {
        for upset in [Upset::KillAfter, Upset::FailBefore, Upset::LeaseLost] {
            let after = [UserMakesTables(1), ClientWrites, Our(Cancel, None)];
            holds_at_every_call(setup, &[Our(Create, None), Wait(30)], Cancel, upset, &after);
        }
    }
}

/// Any of them: those that the cancel had dropped, and those that it had not.
#[test]
fn tables_that_users_made_anew_survive_the_cancel_that_goes_on() {
    for setup in [PLAIN, SHARDED] {
        for tables in [1, 3] {
            let made = [UserMakesTables(tables), ClientWrites, Our(Cancel, None)];
            let dropped = [&[UserDropsTables(tables)][..], &made].concat();
            for after in [&made[..], &dropped] {
                holds_at_every_call(setup, &[Our(Create, None), Wait(30)], Cancel, Upset::KillAfter, after);
            }
        }
        // where the streams have hardly begun
        for end in [Cancel, Clean] {
            let after = [UserDropsTables(1), UserMakesTables(1), Our(end, None)];
            holds_at_every_call(setup, &[Our(Create, None)], Cancel, Upset::KillAfter, &after);
        }
    }
}

/// Of the tables that one statement drops, one was gone before.
#[test]
fn a_table_that_was_gone_before_the_first_cancel_keeps_no_other_one_there() {
    for setup in [PLAIN, SHARDED] {
        for call in 0.. {
            let cut_off = Our(Cancel, Some((call, Upset::KillAfter)));
            let steps = [Our(Create, None), Wait(30), UserDropsTables(1), cut_off, Our(Cancel, None)];
            let walked = run(setup, &steps);
            assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
            assert!(walked.tables.is_empty(), "call {call}: {:?} are left\n{:#?}", walked.tables, walked.told);
            let made = [&steps[..4], &[UserMakesTables(1), ClientWrites, Our(Cancel, None)]].concat();
            holds(setup, &made);
            if !walked.upset_happened {
                break;
            }
        }
    }
}

/// What a silent tablet still inserts after a create was taken back belongs to that create, whose record stays.
#[test]
fn streams_that_come_after_a_create_was_taken_back_are_not_a_later_workflows() {
    for setup in [PLAIN, SHARDED].map(|setup| Setup { tables_there: true, ..setup }) {
        for upset in [Upset::Late, Upset::Hangs] {
            let after = [Wait(30), StreamsThawed, Our(Start, None), Wait(30), Our(Cancel, None)];
            holds_at_every_call(setup, &[], Create, upset, &after);
        }
    }
}

/// A cell that does not answer for a moment has tablets whose streams read.
#[test]
fn a_mount_stays_as_long_as_nobody_can_tell_who_reads_from_it() {
    for setup in [PLAIN, SHARDED] {
        for upset in [Upset::FailBefore, Upset::FailAfter, Upset::Late, Upset::Hangs] {
            for call in 0.. {
                let walked = run(setup, &[StockCreate, Our(Unregister, Some((call, upset)))]);
                assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
                if !walked.upset_happened {
                    assert!(call > 6, "{call} calls only: {:#?}", walked.told);
                    break;
                }
            }
        }
    }
}

#[test]
fn the_commands_work_when_nobody_disturbs_them() {
    for setup in [PLAIN, SHARDED, Setup { tables_there: true, denied_before: true, ..SHARDED }] {
        let walked = run(setup, &[Our(Create, None), Wait(30), Our(VDiff, None), SourceWrites(3), Our(Complete, None)]);
        assert!(walked.violations.is_empty(), "{:#?}\n{:#?}", walked.violations, walked.told);
        for done in ["Create done", "VDiff done", "Complete done"] {
            assert_eq!(walked.done.get(done), Some(&1), "{:#?}", walked.told);
        }
        let walked = run(setup, &[Our(Create, None), Wait(3), Our(Cancel, None)]);
        assert!(walked.violations.is_empty(), "{:#?}\n{:#?}", walked.violations, walked.told);
        assert_eq!(walked.done.get("Cancel done"), Some(&1), "{:#?}", walked.told);
    }
}
