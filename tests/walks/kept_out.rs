//! How long clients can write to neither side while one of our commands runs.

use std::time::Duration;

use tokio::time::Instant;

use crate::data::Name;
use crate::step::Op;
use crate::world::{SOURCE, State, TARGET};

/// The longest that a command may take for it: two minutes until the target is handed over, or the source has everything, or that is
/// given up, and what comes before and after that where an earlier one had begun it.
const LONGEST: Duration = Duration::from_secs(300);

/// Since when that is so, and the longest time that it was.
#[derive(Default)]
pub struct KeptOut {
    since: Option<Instant>,
    longest: Duration,
}

impl State {
    /// One of our commands begins.
    pub fn command_begins(&mut self) {
        self.kept_out = KeptOut::default();
        self.back.call_failed = false;
        self.look_who_writes();
    }

    /// Whether clients can write, since tablets have read their shards' records.
    pub fn look_who_writes(&mut self) {
        let denies = |name: &Name| !self.seats[&self.shards[name].primary].denied.is_empty();
        let is_kept_out = [SOURCE, TARGET].iter().all(|keyspace| self.serving(keyspace).iter().any(denies));
        let now = Instant::now();
        match self.kept_out.since {
            None if is_kept_out => self.kept_out.since = Some(now),
            Some(since) if !is_kept_out => {
                self.kept_out.longest = self.kept_out.longest.max(now - since);
                self.kept_out.since = None;
            }
            _ => {}
        }
    }

    /// One of our commands has ended.
    pub fn command_ended(&mut self, op: Op) {
        let until_now = self.kept_out.since.map(|since| since.elapsed()).unwrap_or_default();
        let longest = self.kept_out.longest.max(until_now);
        let keeps_out =
            matches!(op, Op::Complete | Op::CompleteIgnoringSource | Op::WayBackComplete | Op::WayBackCancel);
        if keeps_out && longest > LONGEST {
            self.violate(format!("{op:?} kept clients from both sides for {} s", longest.as_secs()));
        }
    }
}
