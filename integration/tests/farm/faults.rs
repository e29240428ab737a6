//! Faults under load: rounds of small lives (create, copy, complete or cancel) over servers of ours, a farm of light tablets and an
//! etcd of three members, while these are killed, cut off, slow, hanging, failing, out of files or of disk. Then the faults end, a
//! documented sequence of commands must come to a clean end, and what both topologies and all tablets hold is judged: nothing of a
//! workflow is left, what an accepted complete handed over is whole, no table of others is gone, the source is as it was. The
//! server that nobody kills must not hold more and more.
//!
//! `FAULT_RUNS` sets how many lives at least (300), `FAULT_SEED` the first round's seed (0), `FAULT_MINUTES` how long it goes on at
//! least. A round is replayed by `FAULT_RUNS=1 FAULT_SEED=<seed>`; moments of faults and calls are the same, what the machine makes
//! of them is not.

mod check;
mod dice;
mod fault;
mod life;
mod round;
mod world;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use integration::load::held;
use life::End;
use world::{LIVES, World};

/// Rounds from which something can be told about growth.
const SERIES: usize = 12;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_under_faults_lose_nothing_and_leave_nothing() {
    let (runs, first) = (setting("FAULT_RUNS", 300), setting("FAULT_SEED", 0));
    let long = Duration::from_secs(setting("FAULT_MINUTES", 0) * 60);
    let rounds = runs.div_ceil(LIVES as u64);
    let (world, begin) = (World::start().await, Instant::now());
    let (mut series, mut ends) = (Vec::new(), BTreeMap::<End, usize>::new());
    for seed in first.. {
        if seed >= first + rounds && begin.elapsed() >= long {
            break;
        }
        let round = round::run(&world, seed).await;
        let held = world.held();
        println!("{round}; the steady server: {held}");
        assert!(round.wrong.is_empty(), "FAULT_RUNS=1 FAULT_SEED={seed}:\n{}", round.wrong.join("\n"));
        series.push(held);
        for (end, count) in round.ends {
            *ends.entry(end).or_default() += count;
        }
    }
    println!("{ends:?} in {:?}", begin.elapsed());
    if series.len() >= SERIES {
        assert_eq!(held::grown(&series), Vec::<String>::new());
        // they get somewhere
        for end in [End::Completed, End::Cancelled] {
            assert!(ends.get(&end).is_some_and(|count| *count >= series.len()), "{ends:?}");
        }
    }
    world.finish().await;
}
