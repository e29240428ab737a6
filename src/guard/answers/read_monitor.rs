//! Looks at a connection's socket: whether its client reads, and what HTTP/2 holds for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::Answers;
use crate::guard::CallSlots;

/// An answer may wait so long for its client.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// The same while all slots of calls are taken, or much waits.
const READ_TIMEOUT_UNDER_PRESSURE: Duration = Duration::from_secs(2);
/// Time between two looks at a connection with open answers.
const PERIOD: Duration = Duration::from_secs(1);
/// A connection that takes so many bytes in that time is read: more than the answers to all the pings that it may send.
const PROGRESS: usize = 64 << 10;

/// Looks whether a connection's client reads.
pub struct ReadMonitor {
    answers: Arc<Answers>,
    slots: CallSlots,
    next: Option<Pin<Box<Sleep>>>,
    /// Bytes that were taken since `progress`.
    written: usize,
    progress: Instant,
    /// The socket takes no more for now.
    is_blocked: bool,
    /// HTTP/2 has read all there was, and writes then.
    writes: bool,
}

impl ReadMonitor {
    pub fn new(answers: Arc<Answers>, slots: CallSlots) -> Self {
        let (is_blocked, writes) = (false, false);
        Self { answers, slots, next: None, written: 0, progress: Instant::now(), is_blocked, writes }
    }

    /// The client's socket took so many bytes.
    pub fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        self.answers.took(bytes);
    }

    /// The socket took something, or takes no more for now.
    pub fn blocks(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
    }

    /// HTTP/2 reads: what it had when it last found nothing to read is written as far as its client has room, unless the socket took no
    /// more.
    pub fn reads(&mut self) {
        if std::mem::take(&mut self.writes) && !self.is_blocked {
            self.answers.has_written();
        }
    }

    /// It has read all there was.
    pub fn has_read_all(&mut self) {
        self.writes = true;
        self.answers.writes();
    }

    /// True when the client was given up for what it holds.
    pub fn is_heavy(&self) -> bool {
        self.answers.heavy.load(Ordering::Relaxed)
    }

    /// True when the client was given up for others.
    pub fn is_given_up(&self) -> bool {
        self.answers.is_given_up()
    }

    /// False when answers have waited for too long, or the client was given up. Wakes the task for the next look while any is open:
    /// nobody tells when one begins to wait.
    pub fn is_read(&mut self, cx: &mut Context<'_>) -> bool {
        self.answers.server.register(cx.waker());
        loop {
            if self.is_given_up() {
                return false;
            }
            if self.answers.are_over() {
                // an idle connection needs no timer
                if self.next.as_ref().is_some_and(|next| next.is_elapsed()) {
                    self.next = None;
                }
                return true;
            }
            let next = self.next.get_or_insert_with(|| Box::pin(tokio::time::sleep(PERIOD)));
            if next.as_mut().poll(cx).is_pending() {
                return true;
            }
            self.next = None;
            let [now, before] = &self.answers.taken;
            before.store(now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            if self.written >= PROGRESS {
                (self.written, self.progress) = (0, Instant::now());
            }
            let limit = if self.slots.press() { READ_TIMEOUT_UNDER_PRESSURE } else { READ_TIMEOUT };
            let oldest = self.answers.with(|open| open.oldest());
            if oldest.is_some_and(|oldest| oldest.max(self.progress).elapsed() > limit) {
                return false;
            }
        }
    }
}

impl Drop for ReadMonitor {
    fn drop(&mut self) {
        self.answers.close();
    }
}
