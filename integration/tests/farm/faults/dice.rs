//! Numbers that look random (splitmix64): a seed makes a round what it is.

use std::time::Duration;

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of other dice.
    pub fn seed(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0, below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.seed() % sides as u64).unwrap()
    }

    /// One time in so many.
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    /// Sleeps for so many milliseconds, at least and at most.
    pub async fn sleep(&mut self, least: usize, most: usize) {
        let milliseconds = least + self.roll(most - least + 1);
        tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
    }
}
