//! Answers that nobody reads: which of a connection's answers wait for their client, and since when.
//!
//! HTTP/2 takes the next part of an answer when its client has room for it. A client that grants none, and takes what is written
//! to its socket all the same, would keep its answers in memory for ever.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::Places;

/// An answer may wait so long for its client.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same while all places of calls are taken.
const HURRY: Duration = Duration::from_secs(2);
/// Time between two looks at a connection with open answers.
const PERIOD: Duration = Duration::from_secs(1);
/// A connection that takes so many bytes in that time is read: more than the answers to all the pings that it may send.
const PROGRESS: usize = 64 << 10;

/// The answers of one connection that are not sent to their end.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// Those that wait for their client.
    waiting: HashMap<u64, Instant>,
}

/// One answer; it is over when this is dropped.
#[derive(Debug)]
pub struct Answer {
    number: u64,
    answers: Arc<Answers>,
}

impl Answers {
    fn with<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new answer, which waits for its client from now on.
    pub fn begin(self: &Arc<Self>) -> Answer {
        let number = self.with(|open| {
            open.next += 1;
            open.waiting.insert(open.next, Instant::now());
            open.next
        });
        Answer { number, answers: Arc::clone(self) }
    }

    /// Since when the one waits that waits for longest.
    fn oldest(&self) -> Option<Instant> {
        self.with(|open| open.waiting.values().min().copied())
    }
}

impl Answer {
    /// The client took all that there is: the answer waits for the server.
    pub fn taken(&self) {
        self.answers.with(|open| open.waiting.remove(&self.number));
    }

    /// There is more for the client.
    pub fn offered(&self) {
        self.answers.with(|open| open.waiting.insert(self.number, Instant::now()));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.taken();
    }
}

/// Looks whether a connection's client reads.
pub(super) struct Look {
    answers: Arc<Answers>,
    places: Places,
    next: Option<Pin<Box<Sleep>>>,
    /// Bytes that were taken since `progress`.
    written: usize,
    progress: Instant,
}

impl Look {
    pub(super) fn new(answers: Arc<Answers>, places: Places) -> Self {
        Self { answers, places, next: None, written: 0, progress: Instant::now() }
    }

    /// The client's socket took so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }

    /// False when answers have waited for too long. Wakes the task for the next look while any waits.
    pub(super) fn is_read(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(oldest) = self.answers.oldest() else { return true };
            let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(PERIOD)));
            if next.as_mut().poll(cx).is_pending() {
                return true;
            }
            self.next = None;
            if self.written >= PROGRESS {
                (self.written, self.progress) = (0, Instant::now());
            }
            let patience = if self.places.are_taken() { HURRY } else { PATIENCE };
            if oldest.max(self.progress).elapsed() > patience {
                return false;
            }
        }
    }
}
