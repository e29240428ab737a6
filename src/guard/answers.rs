//! Answers that nobody reads: which of a connection's answers wait for their client, and since when; and what the connection holds.
//!
//! HTTP/2 takes the next part of an answer when its client has room for it. A client that grants none, and takes what is written
//! to its socket all the same, would keep its answers in memory for ever. One that grants much and takes nothing from its socket
//! leaves them with HTTP/2, which is not seen: what was passed to it counts until the socket took as much.

mod look;
mod received;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::task::AtomicWaker;

use super::Place;
use super::unread::Unread;
pub(super) use look::Look;
pub(super) use received::Received;

/// A client that takes so many bytes for each of its waiting answers within two periods reads them.
const PACE: usize = 4 << 10;
/// A connection without calls keeps room for so many.
const KEPT: usize = 32;

/// The answers of one connection that are not sent to their end.
#[derive(Debug, Default)]
pub struct Answers {
    open: Mutex<Open>,
    /// What waits on all connections, and this one's number there.
    all: Option<(Arc<Unread>, u64)>,
    /// The client is given up, or gone.
    given_up: AtomicBool,
    /// It was given up for what it holds.
    heavy: AtomicBool,
    /// Whoever serves the connection.
    server: AtomicWaker,
    /// Bytes that the client's socket took in this period and in the one before. Periods pass while answers are open.
    taken: [AtomicUsize; 2],
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    answers: HashMap<u64, One>,
    /// Those that wait for their client.
    waiting: usize,
    /// Bytes of requests.
    requests: HashMap<u64, usize>,
    passed: Passed,
}

/// Bytes of answers that were passed to HTTP/2 and that the socket has not taken.
#[derive(Debug, Default)]
struct Passed {
    all: usize,
    /// Those of them that came after HTTP/2 had read all there was, and wrote.
    new: usize,
}

impl Open {
    /// Since when the one waits that waits for longest; none when none does.
    fn oldest(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        self.answers.values().filter_map(|one| one.waits).map(|(since, _)| since).min()
    }
}

#[derive(Debug)]
struct One {
    /// Since when it waits for its client, with so many bytes; none while it waits for the server.
    waits: Option<(Instant, usize)>,
    /// Held until the work on it has ended.
    place: Option<Place>,
}

/// What of a connection waits for its client.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) count: usize,
    /// Those of them that hold a place: the work on them has not ended.
    pub(super) places: usize,
    /// Of the one that waits for longest.
    pub(super) since: Instant,
    /// The client takes its answers.
    pub(super) is_read: bool,
}

/// Bytes that a connection holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) all: usize,
    /// Those that are no answers which the client takes.
    pub(super) stuck: usize,
}

/// One answer; it is over when this is dropped.
#[derive(Debug)]
pub struct Answer {
    number: u64,
    answers: Arc<Answers>,
}

impl Answers {
    /// Those of a connection beside others.
    pub(super) fn among(all: Arc<Unread>, number: u64) -> Self {
        let mut answers = Self::default();
        answers.all = Some((all, number));
        answers
    }

    /// The connection's number; 0 where nobody numbers them.
    pub(super) fn number(&self) -> u64 {
        self.all.as_ref().map_or(0, |(_, number)| *number)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new answer, which holds the call's place until the work has ended.
    pub fn begin(self: &Arc<Self>, place: Place) -> Answer {
        let mut one = Some(One { waits: None, place: Some(place) });
        let number = self.with(|open| {
            open.next += 1;
            // of who was given up nothing counts any more
            if !self.is_given_up()
                && let Some(one) = one.take()
            {
                open.answers.insert(open.next, one);
            }
            open.next
        });
        Answer { number, answers: Arc::clone(self) }
    }

    /// An answer waits no more.
    fn removed(&self, waiting: &mut usize, one: &mut One) {
        let Some((_, bytes)) = one.waits.take() else { return };
        *waiting -= 1;
        if let Some((all, _)) = &self.all {
            all.remove(bytes);
            if *waiting == 0 {
                all.ends();
            }
        }
    }

    /// An answer of so many bytes waits from now on.
    fn added(&self, waiting: &mut usize, one: &mut One, bytes: usize) {
        let before = one.waits.replace((Instant::now(), bytes));
        let is_first = before.is_none() && *waiting == 0;
        *waiting += usize::from(before.is_none());
        let Some((all, _)) = &self.all else { return };
        all.add(bytes);
        if let Some((_, bytes)) = before {
            all.remove(bytes);
        }
        if is_first {
            all.begins();
        }
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.with(|open| open.waiting)
    }

    /// True when no answer is open.
    fn are_over(&self) -> bool {
        self.with(|open| open.answers.is_empty())
    }

    /// What waits; none where nothing does.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let (count, places, since) = self.with(|open| {
            let since = open.oldest()?;
            let holds = |one: &&One| one.waits.is_some() && one.place.as_ref().is_some_and(Place::is_held);
            let places = open.answers.values().filter(holds).count();
            Some((open.waiting, places, since))
        })?;
        Some(Waiting { count, places, since, is_read: self.reads(count) })
    }

    /// Whether the client takes its answers, of which so many wait.
    fn reads(&self, count: usize) -> bool {
        let taken: usize = self.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).sum();
        taken >= count.saturating_mul(PACE)
    }

    /// What the connection holds.
    pub(super) fn held(&self) -> Held {
        let (count, waiting, others) = self.with(|open| {
            let waiting: usize = open.answers.values().filter_map(|one| one.waits).map(|(_, bytes)| bytes).sum();
            let requests: usize = open.requests.values().sum();
            (open.waiting, waiting, requests + open.passed.all)
        });
        Held { all: waiting + others, stuck: if self.reads(count) { others } else { waiting + others } }
    }

    /// So many bytes more are held.
    fn hold(&self, bytes: usize) {
        if let Some((all, _)) = &self.all {
            all.hold(bytes);
        }
    }

    /// So many bytes less are held.
    fn free(&self, bytes: usize) {
        if let Some((all, _)) = &self.all {
            all.free(bytes);
        }
    }

    /// False when the connection holds more than it may while there is no room.
    fn has_room(&self) -> bool {
        self.all.as_ref().is_none_or(|(all, _)| all.make_room(self))
    }

    /// So many bytes of what was passed to HTTP/2 are gone, at most.
    fn left(&self, open: &mut Open, bytes: usize) {
        let left = bytes.min(open.passed.all);
        open.passed.all -= left;
        self.free(left);
    }

    /// HTTP/2 has read all there was, and writes what it has.
    fn writes(&self) {
        self.with(|open| open.passed.new = 0);
    }

    /// What it had when it began to write is gone: it was written, or its stream has ended.
    fn has_written(&self) {
        self.with(|open| {
            let old = open.passed.all.saturating_sub(open.passed.new);
            self.left(open, old);
        });
    }

    /// The client's socket took so many bytes.
    pub(super) fn took(&self, bytes: usize) {
        self.taken[0].fetch_add(bytes, Ordering::Relaxed);
        self.with(|open| self.left(open, bytes));
    }

    /// Gives the client up: its connection is closed, and what its answers hold is free at once.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        // dropped outside of the lock
        let _gone = self.with(|open| {
            let mut gone = std::mem::take(&mut open.answers);
            gone.values_mut().for_each(|one| self.removed(&mut open.waiting, one));
            self.free(open.requests.drain().map(|(_, bytes)| bytes).sum());
            self.left(open, usize::MAX);
            gone
        });
        self.server.wake();
    }

    /// The same because of what it holds.
    pub(super) fn give_up_as_heavy(&self) {
        self.heavy.store(true, Ordering::Relaxed);
        self.give_up();
    }

    /// The connection is closed. Requests that are still worked on count until that has ended.
    fn close(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.with(|open| self.left(open, usize::MAX));
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some((all, number)) = &self.all {
            all.closed(*number);
        }
    }
}

impl Answer {
    /// Changes it, unless its client was given up.
    fn change(&self, change: impl FnOnce(&Answers, &mut usize, &mut One)) {
        self.answers.with(|Open { answers, waiting, .. }| {
            if let Some(one) = answers.get_mut(&self.number) {
                change(&self.answers, waiting, one);
            }
        });
    }

    /// The client took all that there is: the answer waits for the server.
    pub fn taken(&self) {
        self.change(Answers::removed);
    }

    /// There are so many bytes for the client.
    pub fn offered(&self, bytes: usize) {
        self.change(|answers, waiting, one| answers.added(waiting, one, bytes));
        self.answers.has_room();
    }

    /// HTTP/2 has got so many of them.
    pub fn passed(&self, bytes: usize) {
        self.answers.with(|open| {
            if !self.answers.is_given_up() {
                open.passed.all += bytes;
                open.passed.new += bytes;
                self.answers.hold(bytes);
            }
        });
    }

    /// The work on it has ended: its place is free.
    pub fn worked(&self) {
        // dropped outside of the lock
        let _place = self.answers.with(|open| open.answers.get_mut(&self.number)?.place.take());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // dropped outside of the lock
        let _one = self.answers.with(|open| {
            let mut one = open.answers.remove(&self.number)?;
            rest(&mut open.answers);
            self.answers.removed(&mut open.waiting, &mut one);
            Some(one)
        });
    }
}

/// Gives the room of a map back that was full once: a connection that is idle does not keep it.
fn rest<T>(map: &mut HashMap<u64, T>) {
    if map.is_empty() && map.capacity() > KEPT {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_busy_keeps_no_room_for_its_calls() {
        let answers = Arc::new(Answers::default());
        let calls: Vec<_> = (0..250).map(|_| answers.begin(Place::receiving(&answers))).collect();
        let room = || answers.with(|open| (open.answers.capacity(), open.requests.capacity()));
        assert!(room().0 >= 250 && room().1 >= 250);
        drop(calls);
        assert!(room().0 <= KEPT && room().1 <= KEPT);
    }
}
