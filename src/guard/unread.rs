//! Answers that wait for their clients, of all connections: a bound on them, and whose are given up when there are too many.
//!
//! A client that reads is not given up, however much there is for it. Of those that do not, the one with the most answers
//! goes first; one with no more than its share has a moment to begin.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::answers::{Answers, Waiting};

/// Answers that may wait, for each call that may be under way: clients that read have room beside those that do not.
const PER_CALL: usize = 2;
/// Waiting answers may be of so many bytes together before clients that do not read are given up sooner.
const BYTES: usize = 256 << 20;
/// A client with no more than its share has so long to begin to read.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Who found nobody to give up does not look again for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// What waits on all connections.
#[derive(Debug)]
pub(super) struct Unread {
    /// Calls that may be under way.
    calls: usize,
    /// Answers that may wait.
    most: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Connections that have any.
    waiting: AtomicUsize,
    number: AtomicU64,
    connections: Mutex<HashMap<u64, Weak<Answers>>>,
    /// Held by whoever gives connections up.
    choosing: Mutex<Choosing>,
}

/// When nobody was found to be given up, for the room of answers and for the place of a call.
#[derive(Debug, Default)]
struct Choosing {
    room: Option<Instant>,
    place: Option<Instant>,
}

impl Unread {
    /// Beside so many calls that may be under way.
    pub(super) fn new(calls: usize) -> Self {
        let (count, bytes, waiting, number) = Default::default();
        let most = calls.saturating_mul(PER_CALL);
        let (connections, choosing) = Default::default();
        Self { calls, most, count, bytes, waiting, number, connections, choosing }
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
    pub(super) fn add(&self, bytes: usize) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One that waited does so no more.
    pub(super) fn remove(&self, bytes: usize) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Answers that wait, and their bytes.
    #[cfg(test)]
    pub(super) fn total(&self) -> (usize, usize) {
        (self.count.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// True while there is so much that clients are to hurry.
    pub(super) fn presses(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > BYTES || !self.fits()
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
    /// share nobody is searched while the place is held.
    pub(super) fn has_room_still(&self, connection: &Answers) -> bool {
        let is_modest = || connection.count() < self.share();
        !connection.is_given_up() && (self.fits() || is_modest() || self.has_room(connection))
    }

    /// Answers that each connection may have waiting, with one part for whoever comes next.
    fn share(&self) -> usize {
        (self.most / (self.waiting.load(Ordering::Relaxed) + 1)).max(1)
    }

    /// Gives up the connection whose waiting answers hold the most places of calls; false when there is none.
    pub(super) fn give_up_a_holder(&self) -> bool {
        let mut choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        search(&mut choosing.place, || self.give_up(|waiting| waiting.places, self.calls, || true))
    }

    /// Gives up clients that do not read, those of most weight first, until it is enough; false when there is none. All together
    /// may have so much weight.
    fn give_up(&self, weigh: impl Fn(&Waiting) -> usize, most: usize, is_enough: impl Fn() -> bool) -> bool {
        let connections: Vec<_> = self.with(|connections| connections.values().filter_map(Weak::upgrade).collect());
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
mod tests {
    use super::super::{Answer, Place, Places};
    use super::*;

    fn waiting(answers: &Arc<Answers>, count: usize) -> Vec<Answer> {
        let begin = || answers.begin(Place::default());
        let begun: Vec<_> = (0..count).map(|_| begin()).collect();
        begun.iter().for_each(|answer| answer.offered(10));
        begun
    }

    #[test]
    fn who_reads_least_is_given_up_and_who_reads_is_not() {
        let places = Places::new(4);
        let [few, most, reading] = [(); 3].map(|()| places.answers());
        let kept = [waiting(&few, 2), waiting(&most, 3), waiting(&reading, 3)];
        reading.took(1 << 20);
        assert!(places.take(&Place::default(), &few));
        assert_eq!([&few, &most, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
        // what was given up counts no more
        assert_eq!(places.waiting(), (5, 50));
        let more = waiting(&few, 3);
        few.took(1 << 20);
        assert!(!places.take(&Place::default(), &few), "everybody reads, and this one has much to read");
        assert!(places.take(&Place::default(), &places.answers()), "this one has nothing to read yet");
        drop((kept, more));
        assert_eq!(places.waiting(), (0, 0));
        assert!(places.take(&Place::default(), &few));
    }

    #[tokio::test]
    async fn a_turn_that_comes_brings_no_place_when_its_connection_has_its_share_waiting_by_then() {
        let places = Places::new(1);
        let (connection, work, next) = (places.answers(), Place::default(), Place::default());
        assert!(places.take(&work, &connection));
        let answers = async {
            let kept = waiting(&connection, 2);
            connection.took(1 << 20);
            drop(work);
            kept
        };
        let (came, kept) = tokio::join!(places.turn(&next, &connection), answers);
        assert!(!came && !places.are_taken());
        drop(kept);
        assert!(places.turn(&next, &connection).await);
    }

    #[tokio::test]
    async fn the_calls_of_who_was_given_up_are_not_served_and_their_answers_do_not_count() {
        let places = Places::new(1);
        let [hostile, other] = [(); 2].map(|()| places.answers());
        let (work, late) = (Place::default(), Place::default());
        assert!(places.take(&work, &other));
        let gone = async {
            hostile.give_up();
            drop(work);
        };
        let (came, ()) = tokio::join!(places.turn(&late, &hostile), gone);
        assert!(!came && !places.are_taken());
        assert!(!places.turn(&late, &hostile).await);
        let kept = waiting(&hostile, 3);
        assert_eq!(places.waiting(), (0, 0));
        drop(kept);
        assert_eq!(places.waiting(), (0, 0));
    }

    #[test]
    fn an_answer_that_its_server_works_on_or_that_ended_does_not_wait() {
        let places = Places::new(1);
        let answers = places.answers();
        let answer = answers.begin(Place::default());
        assert_eq!(places.waiting(), (0, 0));
        answer.offered(10);
        answer.offered(30);
        assert_eq!(places.waiting(), (1, 30));
        answer.taken();
        assert!(answers.waiting().is_none());
        answer.offered(1);
        drop(answer);
        assert_eq!(places.waiting(), (0, 0));
    }

    #[test]
    fn who_has_one_answer_has_a_moment_to_begin_however_many_others_have() {
        let places = Places::new(2);
        let all: Vec<_> = (0..4).map(|_| places.answers()).collect();
        let kept: Vec<_> = all.iter().map(|answers| waiting(answers, 1)).collect();
        assert!(places.take(&Place::default(), &places.answers()), "this one has nothing to read yet");
        assert!(!all.iter().any(|answers| answers.is_given_up()));
        drop(kept);
    }

    #[test]
    fn who_has_just_read_reads_when_the_next_answer_waits() {
        let places = Places::new(1);
        let reading = places.answers();
        drop(waiting(&reading, 1));
        reading.took(1 << 20);
        let kept = waiting(&reading, 2);
        assert!(!places.take(&Place::default(), &reading), "there is no room");
        assert!(!reading.is_given_up());
        drop(kept);
    }

    #[tokio::test]
    async fn who_holds_the_only_place_and_does_not_begin_is_given_up_while_a_call_waits_for_its_turn() {
        let places = Places::new(1);
        let [hostile, other] = [(); 2].map(|()| places.answers());
        let work = Place::default();
        assert!(places.take(&work, &hostile));
        let answer = hostile.begin(work);
        answer.offered(10);
        let next = Place::default();
        assert!(places.turn(&next, &other).await);
        assert!(hostile.is_given_up());
        drop(answer);
    }

    #[test]
    fn who_holds_no_place_is_not_given_up_for_one() {
        let places = Places::new(4);
        let [health, working] = [(); 2].map(|()| places.answers());
        let works: Vec<_> = (0..4).map(|_| Place::default()).collect();
        assert!(works.iter().all(|work| places.take(work, &working)));
        let kept = waiting(&health, 3);
        assert!(!places.take(&Place::default(), &working));
        assert!(!health.is_given_up());
        drop(kept);
    }

    #[test]
    fn places_that_unread_answers_hold_go_to_others_but_those_of_work_do_not() {
        let places = Places::new(4);
        let [hostile, other] = [(); 2].map(|()| places.answers());
        let holding = |answers: &Arc<Answers>, work: &Place| {
            assert!(places.take(work, answers));
            let answer = answers.begin(work.clone());
            answer.offered(10);
            answer
        };
        let works: Vec<_> = (0..2).map(|_| Place::default()).collect();
        let kept: Vec<_> = works.iter().map(|work| holding(&hostile, work)).collect();
        let ended: Vec<_> = (0..1).map(|_| holding(&hostile, &Place::default())).collect();
        let others = holding(&other, &Place::default());
        other.took(1 << 20);
        assert!(places.are_taken());
        let [first, second] = [(); 2].map(|()| Place::default());
        assert!(places.take(&first, &other), "of the answer whose work has nobody else");
        assert!(hostile.is_given_up() && !other.is_given_up());
        assert!(!places.take(&second, &other), "the work goes on");
        drop(works);
        assert!(places.take(&second, &other));
        drop((kept, ended, others));
    }
}
