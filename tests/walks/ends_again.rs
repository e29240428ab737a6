//! Ends of workflows that are cut off, and what users, stock and a repeated command make of that.

use crate::found::{PLAIN, SHARDED, holds, holds_at_every_call};
use crate::step::{Op, Step};
use crate::upset::Upset;
use crate::walk::run;
use Op::*;
use Step::*;

/// Of a workflow that stock made there is no record before its cancel begins.
#[test]
fn what_users_make_after_a_cut_off_cancel_of_what_stock_made_is_theirs() {
    let written = [UserMakesTables(2), ClientWrites, Our(Cancel, None)];
    let copied_into = [UserMakesTables(2), Our(Start, None), Wait(30), Our(Cancel, None)];
    for setup in [PLAIN, SHARDED] {
        for copied in [0, 30] {
            for upset in [Upset::KillAfter, Upset::Hangs] {
                for after in [&written[..], &copied_into] {
                    holds_at_every_call(setup, &[StockCreate, Wait(copied)], Cancel, upset, after);
                }
            }
        }
    }
}

#[test]
fn what_stock_made_is_not_completed_once_its_cancel_has_dropped_tables() {
    for setup in [PLAIN, SHARDED] {
        for copied in [0, 1, 30] {
            for upset in [Upset::KillAfter, Upset::FailAfter] {
                let after = [UserMakesTables(3), Our(Start, None), Wait(30), Our(Complete, None)];
                holds_at_every_call(setup, &[StockCreate, Wait(copied)], Cancel, upset, &after);
            }
        }
    }
}

/// Nothing but their ids tells whose the copy states of streams are that were replaced.
#[test]
fn a_repeated_cancel_takes_what_replaced_streams_of_stock_left() {
    for setup in [PLAIN, SHARDED] {
        let before = [StockCreate, Wait(1), ReshardSource, Wait(20)];
        for upset in [Upset::KillAfter, Upset::FailBefore] {
            holds_at_every_call(setup, &before, Cancel, upset, &[Our(Cancel, None)]);
        }
    }
}

#[test]
fn a_cut_off_cancel_of_what_stock_made_says_nothing_of_what_it_makes_later() {
    for setup in [PLAIN, SHARDED] {
        let mut made = 0;
        for call in 0.. {
            let cut_off = Our(Cancel, Some((call, Upset::KillAfter)));
            let steps = [StockCreate, Wait(30), cut_off, StockCreate, Wait(30)];
            let walked = run(setup, &[&steps[..], &[Our(Complete, None)]].concat());
            assert!(walked.violations.is_empty(), "call {call}: {:#?}\n{:#?}", walked.violations, walked.told);
            let is_made = walked.done.get("StockCreate done") == Some(&2);
            assert!(!is_made || walked.done.contains_key("Complete done"), "call {call}: {:#?}", walked.told);
            holds(setup, &[&steps[..], &[cut_off, Our(Cancel, None)]].concat());
            made += usize::from(is_made);
            if !walked.upset_happened {
                break;
            }
        }
        // before the record is deleted, and after it
        assert!(made > 1, "{made}");
    }
}

#[test]
fn diffs_are_gone_when_an_end_says_that_it_is_done() {
    for begins in [Our(Create, None), StockCreate] {
        let before = [begins, Wait(30), Our(VDiff, None)];
        let walked = run(PLAIN, &before);
        assert_eq!(walked.done.get("VDiff done"), Some(&1), "{:#?}", walked.told);
        for end in [Cancel, Complete, CancelKeepingData] {
            for (setup, upset) in [(PLAIN, Upset::FailBefore), (SHARDED, Upset::Hangs)] {
                holds_at_every_call(setup, &before, end, upset, &[Our(end, None)]);
            }
        }
    }
}
