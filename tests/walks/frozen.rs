//! Sequences with streams that were stopped for good before their workflow ended, and another workflow for the same tables.

use crate::found::{PLAIN, SHARDED, holds};
use crate::step::{Op, Step};
use crate::walk::{Walked, run};
use crate::world::Setup;
use Op::*;
use Step::*;

#[track_caller]
fn held(setup: Setup, steps: &[Step]) -> Walked {
    let walked = run(setup, steps);
    assert!(walked.violations.is_empty(), "{:#?}\n{:#?}", walked.violations, walked.told);
    walked
}

/// They may run on as long as clients are denied them; nor could anybody tell then whose these denials are.
#[test]
fn tables_of_streams_that_may_run_on_go_to_no_other_workflow() {
    let dropped = [Our(Create, None), Wait(9), StreamsFrozen, UserDropsTables(3)];
    let empty = [StockCreate, StreamsFrozen];
    for setup in [PLAIN, SHARDED] {
        for first_way_out in 0..6 {
            let setup = Setup { first_way_out, ..setup };
            for before in [&dropped[..], &empty] {
                let walked = held(setup, &[before, &[Our(CreateSecond, None)]].concat());
                assert!(!walked.done.contains_key("CreateSecond done"), "{:#?}", walked.told);
                let ended = [Our(CreateSecond, None), Wait(30), Our(CompleteSecond, None), Our(Cancel, None)];
                held(setup, &[before, &ended].concat());
            }
            holds(setup, &[StockCreate, StreamsFrozen, Both(Create, CreateSecond, 93)]);
        }
    }
}

/// Where they may not, another workflow gets them, and denies them anew.
#[test]
fn streams_that_were_stopped_for_good_do_not_run_on_beside_another_workflow() {
    let lifted = [StreamsFrozen, LiftedByHand, UserDropsTables(3), Our(CreateSecond, None)];
    for setup in [PLAIN, SHARDED] {
        for begun in [&[Our(Create, None), Wait(9)][..], &[StockCreate, Wait(9)]] {
            let before = [begun, &lifted].concat();
            for op in [Start, Complete, CompleteIgnoringSource, Cancel, Clean] {
                let walked = held(setup, &[&before[..], &[Our(op, None), Wait(30)]].concat());
                assert!(walked.done.contains_key("CreateSecond done"), "{:#?}", walked.told);
                for end in [CompleteSecond, CancelSecond] {
                    let after = [Our(op, None), Wait(30), Our(end, None), Our(Cancel, None)];
                    let walked = held(setup, &[&before[..], &after].concat());
                    assert!(walked.done.contains_key(&format!("{end:?} done")), "{:#?}", walked.told);
                }
            }
            let walked = held(setup, &[&before[..], &[Our(Start, None)]].concat());
            let refused = |text: &String| text.starts_with("Start: Refused(\"TABLES_SHARED");
            assert!(walked.told.iter().any(refused), "{:#?}", walked.told);
        }
    }
}

/// Where a workflow ends whose tables another one works on, its record stays for what it denied, until somebody cleans.
#[test]
fn a_workflow_ends_beside_another_one_on_its_tables() {
    for setup in [PLAIN, SHARDED] {
        let setup = Setup { first_way_out: 2, ..setup };
        let before = [Our(Create, None), Wait(9), StreamsFrozen, LiftedByHand, UserDropsTables(3)];
        for end in [CompleteSecond, CancelSecond, CancelSecondKeepingData] {
            let after = [Our(CreateSecond, None), Our(CancelKeepingData, None), Wait(30), Our(end, None)];
            let walked = held(setup, &[&before[..], &after].concat());
            for done in ["CancelKeepingData".to_owned(), format!("{end:?}")] {
                assert!(walked.done.contains_key(&format!("{done} done")), "{:#?}", walked.told);
            }
        }
    }
}
