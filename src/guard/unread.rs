//! Answers that wait for their clients, of all connections: a bound on them, and whose are given up when there are too many.
//!
//! A client that reads is not given up, however much there is for it. Of those that do not, the one with the most answers
//! goes first; one with no more than its share has a moment to begin.
//!
//! Beside the number there is a bound on bytes: of requests, of answers that wait, and of those that HTTP/2 holds; each answer counts
//! for more than its bytes. Beyond it the connections go that hold the most.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::answers::{Answers, Waiting};

/// Answers that may wait, for each call that may be under way: clients that read have room beside those that do not.
const PER_CALL: usize = 2;
/// A client with no more than its share has so long to begin to read.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Who found nobody to give up does not look again for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// What waits on all connections.
#[derive(Debug)]
pub(super) struct UnreadAnswers {
    /// Calls that may be under way.
    calls: usize,
    /// Answers that may wait.
    most: usize,
    /// Bytes that may be held.
    most_bytes: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Connections that have any.
    waiting: AtomicUsize,
    number: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<Answers>>>,
    /// Held by whoever gives connections up.
    choosing: Mutex<Choosing>,
}

/// When nobody was found to be given up, for the room of answers, for the slot of a call and for bytes.
#[derive(Debug, Default)]
struct Choosing {
    room: Option<Instant>,
    slot: Option<Instant>,
    bytes: Option<Instant>,
}

impl UnreadAnswers {
    /// Beside so many calls that may be under way, and with so many bytes.
    pub(super) fn new(calls: usize, most_bytes: usize) -> Self {
        let (count, bytes, waiting, number) = Default::default();
        let most = calls.saturating_mul(PER_CALL);
        let (connections, choosing) = Default::default();
        Self { calls, most, most_bytes, count, bytes, waiting, number, connections, choosing }
    }

    /// The answers of a new connection.
    pub(super) fn connection(self: &Arc<Self>) -> Arc<Answers> {
        let number = 1 + self.number.fetch_add(1, Ordering::Relaxed);
        let answers = Arc::new(Answers::among(Arc::clone(self), number));
        self.with(|connections| connections.insert(number, Arc::downgrade(&answers)));
        answers
    }

    /// A connection is closed.
    pub(super) fn closed(&self, number: u64) {
        self.with(|connections| connections.remove(&number));
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<u64, Weak<Answers>>) -> T) -> T {
        change(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An answer waits.
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// One that waited does so no more.
    pub(super) fn remove(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many bytes more are held.
    pub(super) fn hold(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes less are held.
    pub(super) fn free(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Answers that wait, and all bytes that are held.
    #[cfg(test)]
    pub(super) fn total(&self) -> (usize, usize) {
        (self.count.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// True while there is so much that clients are to hurry.
    pub(super) fn presses(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.most_bytes / 2 || self.count.load(Ordering::Relaxed) > self.most / 2
    }

    fn fits(&self) -> bool {
        self.count.load(Ordering::Relaxed) < self.most
    }

    /// A connection has answers that wait.
    pub(super) fn begins(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// It has none any more.
    pub(super) fn ends(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// True when one more answer of a connection may wait; gives up clients that do not read to make it so, until a quarter is
    /// free. While all read, those who have less than their share waiting have room all the same.
    pub(super) fn has_room(&self, connection: &Answers) -> bool {
        if connection.is_given_up() {
            // nobody would get the answer
            return false;
        }
        if self.fits() {
            return true;
        }
        let mut choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_enough = || self.count.load(Ordering::Relaxed) <= self.most - self.most.div_ceil(4);
        let give_up = || self.give_up(|waiting| waiting.count, self.most, is_enough);
        // some may be read, or be over, meanwhile
        self.fits() || search(&mut choosing.room, give_up) || self.fits() || connection.count() < self.share()
    }

    /// The same when a call's turn has come: many waited beside it, whose answers may wait by now. For a connection with less than its
    /// share nobody is searched while the slot is held.
    pub(super) fn has_room_still(&self, connection: &Answers) -> bool {
        let is_modest = || connection.count() < self.share();
        !connection.is_given_up() && (self.fits() || is_modest() || self.has_room(connection))
    }

    /// Answers that each connection may have waiting, with one part for whoever comes next.
    fn share(&self) -> usize {
        (self.most / (self.waiting.load(Ordering::Relaxed) + 1)).max(1)
    }

    /// Gives up the connection whose waiting answers hold the most slots of calls; false when there is none.
    pub(super) fn give_up_a_holder(&self) -> bool {
        let mut choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        search(&mut choosing.slot, || self.give_up(|waiting| waiting.slots, self.calls, || true))
    }

    /// False when a connection holds more than its share of the bytes while there is no room. Gives up those that hold the most to make
    /// room, until a quarter is free: first what is stuck, then what is read.
    pub(super) fn make_room(&self, connection: &Answers) -> bool {
        if !self.is_full() {
            return true;
        }
        let mut choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        // others may have made room meanwhile
        let give_up = || self.give_up_the_heaviest();
        let has_room = !self.is_full() || search(&mut choosing.bytes, give_up) || !self.is_full();
        has_room || connection.held().all <= self.most_bytes / (self.with(|connections| connections.len()) + 1)
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.most_bytes
    }

    /// False when no connection that is open holds more than its share.
    fn give_up_the_heaviest(&self) -> bool {
        let connections = self.connections();
        let open = connections.iter().filter(|answers| !answers.is_given_up());
        let mut found: Vec<_> = open.map(|answers| (answers, answers.held())).collect();
        found.retain(|(_, held)| held.all > 0);
        let share = self.most_bytes / (found.len() + 1);
        found.retain(|(_, held)| held.all > share);
        found.sort_by_key(|(_, held)| (Reverse(held.stuck), Reverse(held.all)));
        let enough = self.most_bytes - self.most_bytes / 4;
        let mut given_up = false;
        for (answers, _) in found {
            answers.give_up_as_heavy();
            given_up = true;
            if self.bytes.load(Ordering::Relaxed) <= enough {
                break;
            }
        }
        given_up
    }

    fn connections(&self) -> Vec<Arc<Answers>> {
        self.with(|connections| connections.values().filter_map(Weak::upgrade).collect())
    }

    /// Gives up clients that do not read, those of most weight first, until it is enough; false when there is none. All together
    /// may have so much weight.
    fn give_up(&self, weigh: impl Fn(&Waiting) -> usize, most: usize, is_enough: impl Fn() -> bool) -> bool {
        let connections = self.connections();
        let waiting = connections.iter().filter_map(|answers| Some((answers, answers.waiting()?)));
        let mut found: Vec<_> = waiting.filter(|(_, waiting)| weigh(waiting) > 0).collect();
        // one part for whoever comes next; nobody has less than one
        let share = (most / (found.len() + 1)).max(1);
        found.retain(|(_, waiting)| !waiting.is_read && (weigh(waiting) > share || waiting.since.elapsed() >= GRACE));
        found.sort_by_key(|(_, waiting)| (Reverse(weigh(waiting)), waiting.since));
        let mut given_up = false;
        for (answers, _) in found {
            answers.give_up();
            given_up = true;
            if is_enough() {
                break;
            }
        }
        given_up
    }
}

/// Searches, unless nothing was found a moment ago.
fn search(failed: &mut Option<Instant>, search: impl FnOnce() -> bool) -> bool {
    if failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
        return false;
    }
    let found = search();
    *failed = (!found).then(Instant::now);
    found
}

#[cfg(test)]
mod tests;
