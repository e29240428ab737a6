//! Sequences in which something happens while `DeleteKeyspace` is at work on the target.

use crate::found::{PLAIN, SHARDED, holds};
use crate::step::{Op, Step};
use crate::upset::Upset;
use Op::*;
use Step::*;

/// More calls than it makes.
const CALLS: usize = 50;

/// Tablets end when their records are gone, and make none anew.
#[test]
fn nothing_is_left_of_a_keyspace_that_is_deleted_while_a_shard_is_reparented() {
    for setup in [PLAIN, SHARDED] {
        for call in 0..CALLS {
            let deleted = KeyspaceDeleted(Some((call, Upset::TargetReparents)));
            holds(setup, &[deleted, Our(Create, None), Wait(30), Our(Complete, None)]);
        }
    }
}

/// Streams on tablets that are not in the topology any more are out of its reach.
#[test]
fn a_workflow_can_be_ended_while_its_keyspace_is_deleted() {
    for setup in [PLAIN, SHARDED] {
        for op in [Cancel, CancelKeepingData, Complete, Clean] {
            for call in 0..CALLS {
                let deleted = KeyspaceDeleted(Some((call, Upset::Overtaken(op))));
                holds(setup, &[Our(Create, None), Wait(30), deleted, Our(Create, None), Wait(30), Our(Complete, None)]);
            }
        }
    }
}
