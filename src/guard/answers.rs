//! Answers that nobody reads: which of a connection's answers wait for their client, and since when; and what the connection holds.
//!
//! HTTP/2 takes the next part of an answer when its client has room for some of it. A client that grants none, and takes what is
//! written to its socket all the same, would keep its answers in memory for ever. One that grants a byte, or that grants much and
//! takes nothing from its socket, leaves them with HTTP/2: what that has got counts until it drops it (`answers/passed.rs`).

mod answer_state;
mod http2_parts;
mod read_monitor;
mod request_bytes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::CallSlot;
use super::unread::UnreadAnswers;
#[cfg(test)]
pub(super) use answer_state::ANSWER;
use answer_state::{AnswerState, Weight};
use http2_parts::Http2Parts;
pub(super) use read_monitor::ReadMonitor;
pub(super) use request_bytes::RequestBytes;

/// A client that takes so many bytes for each of its waiting answers within two periods reads them.
const PACE: usize = 4 << 10;
/// A connection without calls keeps room for so many.
const KEPT: usize = 32;

/// The answers of one connection that are not sent to their end.
#[derive(Debug, Default)]
pub struct Answers {
    open: Mutex<OpenAnswers>,
    /// What waits on all connections, and this one's number there.
    all: Option<(Arc<UnreadAnswers>, u64)>,
    /// The client is given up, or gone.
    given_up: AtomicBool,
    /// It was given up for what it holds.
    heavy: AtomicBool,
    /// Whoever serves the connection.
    server: AtomicWaker,
    /// Bytes that the client's socket took in this period and in the one before. Periods pass while answers are open.
    taken: [AtomicUsize; 2],
}

/// By numbers that are given here. Each call looks its own up ten times.
type Numbered<T> = HashMap<u64, T, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
struct OpenAnswers {
    next: u64,
    answers: Numbered<AnswerState>,
    /// Those that wait for their client.
    waiting: usize,
    /// Bytes of requests.
    requests: Numbered<usize>,
    passed: Http2Parts,
}

impl OpenAnswers {
    /// Since when the one waits that waits for longest; none when none does.
    fn oldest(&self) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        self.answers.values().filter_map(AnswerState::since).min()
    }
}

/// What of a connection waits for its client.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) count: usize,
    /// Those of them that hold a slot: the work on them has not ended.
    pub(super) slots: usize,
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

/// One answer; nothing more will be given when this is dropped.
#[derive(Debug)]
pub struct Answer {
    number: u64,
    answers: Arc<Answers>,
}

impl Answers {
    /// Those of a connection beside others.
    pub(super) fn among(all: Arc<UnreadAnswers>, number: u64) -> Self {
        let mut answers = Self::default();
        answers.all = Some((all, number));
        answers
    }

    /// The connection's number; 0 where nobody numbers them.
    pub(super) fn number(&self) -> u64 {
        self.all.as_ref().map_or(0, |(_, number)| *number)
    }

    fn with<T>(&self, change: impl FnOnce(&mut OpenAnswers) -> T) -> T {
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new answer, which holds the call's slot until the work has ended.
    pub fn begin(self: &Arc<Self>, slot: CallSlot) -> Answer {
        let mut one = Some(AnswerState::new(slot));
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

    /// Changes an answer, and counts what that makes of it; false when it counts no more. It is listed where `change` says so.
    fn change(&self, open: &mut OpenAnswers, number: u64, change: impl FnOnce(&mut AnswerState) -> bool) -> bool {
        let OpenAnswers { answers, waiting, passed, .. } = open;
        let Some(one) = answers.get_mut(&number) else { return false };
        let before = one.weight();
        if change(one) {
            passed.add(number);
        }
        self.weigh(waiting, before, one.weight());
        if one.is_done() {
            answers.remove(&number);
            rest(answers);
        }
        true
    }

    /// An answer may count otherwise than before.
    fn weigh(&self, waiting: &mut usize, before: Weight, after: Weight) {
        if before == after {
            return;
        }
        let were = *waiting;
        *waiting = were + usize::from(after.waits) - usize::from(before.waits);
        let Some((all, _)) = &self.all else { return };
        if after.bytes > before.bytes {
            all.hold(after.bytes - before.bytes);
        } else {
            all.free(before.bytes - after.bytes);
        }
        match (before.waits, after.waits) {
            (false, true) => all.add(),
            (true, false) => all.remove(),
            _ => {}
        }
        match (were, *waiting) {
            (0, 1..) => all.begins(),
            (1.., 0) => all.ends(),
            _ => {}
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
        let (count, slots, since) = self.with(|open| {
            let since = open.oldest()?;
            let holds = |one: &&AnswerState| one.since().is_some() && one.holds_slot();
            let slots = open.answers.values().filter(holds).count();
            Some((open.waiting, slots, since))
        })?;
        Some(Waiting { count, slots, since, is_read: self.reads(count) })
    }

    /// Whether the client takes its answers, of which so many wait.
    fn reads(&self, count: usize) -> bool {
        let taken: usize = self.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).sum();
        taken >= count.saturating_mul(PACE)
    }

    /// What the connection holds.
    pub(super) fn held(&self) -> Held {
        let (count, waiting, others) = self.with(|open| {
            let (mut waiting, mut others) = (0, open.requests.values().sum::<usize>());
            for weight in open.answers.values().map(AnswerState::weight) {
                let sum = if weight.waits { &mut waiting } else { &mut others };
                *sum += weight.bytes;
            }
            (open.waiting, waiting, others)
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

    /// HTTP/2 has read all there was, and writes what it has.
    fn writes(&self) {
        self.with(|OpenAnswers { answers, passed, .. }| passed.writes(answers));
    }

    /// It has written all of that for which there was room: what is still there is stuck.
    fn has_written(&self) {
        self.with(|open| {
            let written = open.passed.written();
            for number in &written {
                self.change(open, *number, AnswerState::written);
            }
            open.passed.keep(written);
        });
    }

    /// The client's socket took so many bytes.
    pub(super) fn took(&self, bytes: usize) {
        self.taken[0].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives the client up: its connection is closed, and what its answers hold is free at once.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        // dropped outside of the lock
        let _gone = self.with(|open| {
            let gone = std::mem::take(&mut open.answers);
            gone.values().for_each(|one| self.weigh(&mut open.waiting, one.weight(), Weight::default()));
            self.free(open.requests.drain().map(|(_, bytes)| bytes).sum());
            open.passed = Http2Parts::default();
            gone
        });
        self.server.wake();
    }

    /// The same because of what it holds.
    pub(super) fn give_up_as_heavy(&self) {
        self.heavy.store(true, Ordering::Relaxed);
        self.give_up();
    }

    /// The connection is closed. Requests that are still worked on count until that has ended, and parts until HTTP/2 drops them.
    fn close(&self) {
        self.given_up.store(true, Ordering::Relaxed);
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
    /// The next part for the client, beside so many bytes that are made already; HTTP/2 has got those before it. It counts until the
    /// last of what this returns is dropped.
    pub fn give(&self, part: Bytes, ahead: usize) -> Bytes {
        let give = |one: &mut AnswerState| one.give(part.len(), ahead);
        let counts = self.answers.with(|open| self.answers.change(open, self.number, give));
        self.answers.has_room();
        if counts && !part.is_empty() { http2_parts::counted(part, self.number, &self.answers) } else { part }
    }

    /// HTTP/2 has got all that there is: the answer waits for the server, unless the client has no room for what HTTP/2 has.
    pub fn taken(&self) {
        self.answers.with(|open| self.answers.change(open, self.number, AnswerState::taken));
    }

    /// The work on it has ended: its slot is free.
    pub fn worked(&self) {
        // dropped outside of the lock
        let _slot = self.answers.with(|open| open.answers.get_mut(&self.number)?.worked());
    }
}

impl Drop for Answer {
    /// It is over when HTTP/2 has nothing of it any more.
    fn drop(&mut self) {
        // dropped outside of the lock
        let _slot = self.answers.with(|open| {
            let slot = open.answers.get_mut(&self.number)?.worked();
            self.answers.change(open, self.number, AnswerState::end);
            slot
        });
    }
}

/// Gives the room of a map back that was full once: a connection that is idle does not keep it.
fn rest<T>(map: &mut Numbered<T>) {
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
        let calls: Vec<_> = (0..250).map(|_| answers.begin(CallSlot::receiving(&answers))).collect();
        let room = || answers.with(|open| [open.answers.capacity(), open.requests.capacity(), open.passed.capacity()]);
        let parts: Vec<_> = calls.iter().map(|call| call.give(Bytes::from_static(b"part"), 0)).collect();
        assert!(room()[0] >= 250 && room()[1] >= 250);
        drop(calls);
        assert!(room()[0] >= 250 && room()[2] >= 250);
        drop(parts);
        for _ in 0..2 {
            answers.writes();
            answers.has_written();
        }
        assert!(room().iter().all(|room| *room <= KEPT));
    }

    #[test]
    fn a_connection_whose_socket_is_always_full_gathers_nothing() {
        let answers = Arc::new(Answers::default());
        for _ in 0..10_000 {
            let answer = answers.begin(CallSlot::default());
            let part = answer.give(Bytes::from_static(b"part"), 0);
            drop(answer);
            answers.writes();
            drop(part);
        }
        assert!(answers.are_over());
        assert!(answers.with(|open| open.passed.capacity()) <= 4 * KEPT);
    }
}
