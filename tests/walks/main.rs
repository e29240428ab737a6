//! Random walks over the real operations: our commands, what others do at the same time, and faults; after each step the
//! promises are checked, and from where a walk ends some documented sequence of commands reaches a clean end.
//!
//! `WALKS` sets how many (2,000), `WALKS_FROM` the first seed (0), `WALKS_STEPS` their length (30), `WALKS_THREADS` how
//! many are walked at a time. A walk that fails is
//! printed with its seed, and as a short sequence that can be put into `walks/found.rs`. One walk in six has a way back;
//! `WALKS_EVERY` (10) says at how many calls the sequences of `walks/there_and_back.rs` are upset: 1 is all of them.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod check;
mod data;
mod deleted;
mod ends_again;
mod found;
mod frozen;
mod hands;
mod kept_out;
mod operations;
mod others;
mod pairs;
mod replicate;
mod sql;
mod step;
mod stock;
mod tablet;
mod there_and_back;
mod upset;
mod walk;
mod way_back;
mod way_back_steps;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

type Walk = (world::Setup, Vec<step::Step>);

/// Prints a walk that failed, and a short one that fails in the same way.
fn tell(seed: u64, setup: world::Setup, walk: &[step::Step], kind: &str) {
    let (setup, short) = walk::shrink(setup, walk, kind);
    let walked = walk::run(setup, &short);
    let (violations, told) = (walked.violations.join("\n  "), walked.told.join("\n    "));
    println!("seed {seed}:\n  {violations}\n  {setup:?}\n  &{short:?}\n    {told}\n");
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Kinds of failure that are looked at before the walks end.
const ENOUGH: usize = 12;

/// Walks all walks of these numbers; answers how often each operation was done.
fn walk_all(numbers: std::ops::Range<u64>, walk: impl Fn(u64) -> Walk + Sync) -> BTreeMap<String, usize> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let next = AtomicU64::new(numbers.start);
    let (failed, done) = (Mutex::new(BTreeMap::<String, Vec<u64>>::new()), Mutex::new(BTreeMap::new()));
    let walk_on = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= numbers.end || failed.lock().unwrap().len() >= ENOUGH {
                return;
            }
            let (setup, walk) = walk(seed);
            let walked = walk::run(setup, &walk);
            let mut done = done.lock().unwrap();
            for (what, times) in &walked.done {
                *done.entry(what.clone()).or_insert(0) += times;
            }
            drop(done);
            let Some(kind) = walked.kind() else { continue };
            let mut kinds = failed.lock().unwrap();
            let seeds = kinds.entry(kind.clone()).or_default();
            seeds.push(seed);
            let first = seeds.len() == 1;
            drop(kinds);
            if first {
                tell(seed, setup, &walk, &kind);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..setting("WALKS_THREADS", cores) {
            scope.spawn(walk_on);
        }
    });
    let done = done.into_inner().unwrap();
    println!("{done:#?}");
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "the first of each kind is above: {failed:#?}");
    done
}

#[test]
fn walks_keep_the_promises() {
    let (count, from) = (setting("WALKS", 2000), setting("WALKS_FROM", 0));
    let steps = usize::try_from(setting("WALKS_STEPS", 30)).unwrap();
    let done = walk_all(from..from + count, |seed| step::walk(seed, steps));
    // the walks get somewhere
    let ours = ["Create", "Complete", "Cancel", "CancelKeepingData", "VDiff", "Start", "Clean", "DeleteKeyspace"];
    for what in ours.into_iter().chain(["StockCreate"]) {
        let times = done.get(&format!("{what} done")).copied().unwrap_or_default();
        assert!(times as u64 >= count / 50, "{what} succeeded {times} times only");
    }
    for what in ["WayBackPrepare", "WayBackStatus", "WayBackComplete", "WayBackCancel"] {
        let times = done.get(&format!("{what} done")).copied().unwrap_or_default();
        assert!(times as u64 >= count / (50 * way_back_steps::ONE_IN), "{what} succeeded {times} times only");
    }
}
