//! One round: as many lives as there are keyspaces, under the same faults.

use std::{collections::BTreeMap, fmt, time::Instant};

use futures::future::join_all;

use super::{
    check::Leavings,
    dice::Dice,
    fault::Fault,
    life::{End, Life},
    world::{LIVES, World},
};

/// What a round came to.
#[derive(Default)]
pub struct Round {
    pub seed: u64,
    pub faults: Vec<Fault>,
    /// What is wrong.
    pub wrong: Vec<String>,
    pub ends: BTreeMap<End, usize>,
    /// Of all lives.
    pub leavings: Leavings,
    pub seconds: u64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, faults, ends, leavings, seconds, .. } = self;
        let Leavings { empty, diffs } = leavings;
        write!(f, "seed {seed}, {faults:?}: {ends:?} in {seconds} s; left {empty} empty tables, {diffs} diffs")
    }
}

/// The faults of a seed: all kinds take turns, and some rounds have two.
fn faults(seed: u64, dice: &mut Dice) -> Vec<Fault> {
    let first = Fault::ALL[usize::try_from(seed % Fault::ALL.len() as u64).unwrap()];
    let others: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| fault.is_of_tablets()).collect();
    let second = dice.pick(&others);
    let both = !first.is_of_tablets() && dice.one_in(3);
    if both { vec![first, second] } else { vec![first] }
}

/// Lives of a seed, what goes wrong meanwhile, their ends, and what is wrong then.
pub async fn run(world: &World, seed: u64) -> Round {
    let (begin, mut dice) = (Instant::now(), Dice::new(seed));
    let faults = faults(seed, &mut dice);
    let mut lives: Vec<Life> = (0..LIVES).map(|number| Life::new(number, dice.seed())).collect();
    lives.iter().for_each(|life| world.begin_anew(life.number, life.existing));
    let mut of_faults: Vec<Dice> = faults.iter().map(|_| Dice::new(dice.seed())).collect();
    let striking = join_all(faults.iter().zip(&mut of_faults).map(|(fault, dice)| async move {
        dice.sleep(100, 1500).await;
        fault.strike(world, dice).await;
    }));
    let living = join_all(lives.iter_mut().map(|life| life.live(world)));
    futures::future::join(striking, living).await;
    world.calm().await;
    let ends = join_all(lives.iter_mut().map(|life| life.settle(world))).await;
    let keys = world.keys().await;
    let mut round = Round { seed, faults, ..Round::default() };
    round.wrong.extend(keys.locks.iter().map(|lock| format!("a lock is left: {lock}")));
    round.wrong.extend(keys.source_changed.iter().map(|key| format!("the source's topology was written to: {key}")));
    round.wrong.extend(world.ended());
    for (life, end) in lives.iter().zip(&ends) {
        let (wrong, left) = world.judge(life, end, &keys);
        round.leavings.empty += left.empty;
        round.leavings.diffs += left.diffs;
        let end = life.accepted.or_else(|| end.as_ref().ok().copied()).unwrap_or(End::Gone);
        *round.ends.entry(end).or_default() += 1;
        if !wrong.is_empty() {
            let (number, wrong, told) = (life.number, wrong.join("; "), life.told.join("\n    "));
            round.wrong.push(format!("life {number}, to be {:?}: {wrong}\n    {told}", life.wanted));
        }
    }
    round.seconds = begin.elapsed().as_secs();
    round
}
