//! One answer: what of it is held, here and by HTTP/2, and whether it waits for its client.
//!
//! HTTP/2 takes a part whole when the client has room for its first byte, and keeps the rest. So a part counts from when it is given
//! until HTTP/2 drops it, however short it is; and one that is still there after HTTP/2 has written all that it could is stuck: the
//! client has no room for it, and the answer waits.

use std::time::Instant;

use crate::guard::CallSlot;

/// What an answer takes besides its bytes while any of it is held, about: the buffer of 8 kB that they were written to, its stream and
/// its trailers.
pub(in crate::guard) const ANSWER: usize = 10 << 10;

/// An answer that is not sent to its end.
#[derive(Debug, Default)]
pub(super) struct AnswerState {
    /// Since when HTTP/2 may take the next part; none while the answer waits for the server.
    offered: Option<Instant>,
    /// Bytes that were made and not given yet.
    ahead: usize,
    /// Bytes of parts that were given and are not gone.
    given: usize,
    parts: Parts,
    /// Since when HTTP/2 has had parts for which there is no room.
    stuck: Option<Instant>,
    /// The first part that is to be gone when HTTP/2 has written; none where nothing is, and where it is stuck.
    listed: Option<usize>,
    /// Nothing more will be given.
    is_over: bool,
    /// Held until the work on it has ended.
    slot: Option<CallSlot>,
}

/// How many parts of an answer were given, and how many of those HTTP/2 has got and has dropped. They go in their order.
#[derive(Debug, Default)]
struct Parts {
    given: usize,
    passed: usize,
    gone: usize,
}

/// What an answer counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// It waits for its client.
    pub(super) waits: bool,
    /// Bytes that are held for it.
    pub(super) bytes: usize,
}

impl AnswerState {
    /// One that begins, with the slot of its call.
    pub(super) fn new(slot: CallSlot) -> Self {
        Self { slot: Some(slot), ..Self::default() }
    }

    /// What it counts for now.
    pub(super) fn weight(&self) -> Weight {
        let bytes = self.ahead + self.given;
        Weight { waits: self.since().is_some(), bytes: if bytes > 0 { bytes + ANSWER } else { 0 } }
    }

    /// Since when it waits for its client; none while it does not.
    pub(super) fn since(&self) -> Option<Instant> {
        [self.offered, self.stuck].into_iter().flatten().min()
    }

    /// True while the work on it goes on, if that has a slot.
    pub(super) fn holds_slot(&self) -> bool {
        self.slot.as_ref().is_some_and(CallSlot::is_held)
    }

    /// The work has ended: its slot, unless it was taken before.
    pub(super) fn worked(&mut self) -> Option<CallSlot> {
        self.slot.take()
    }

    /// A part of so many bytes is given, beside so many that were made; HTTP/2 has got those before it. True when it is to be listed.
    pub(super) fn give(&mut self, part: usize, ahead: usize) -> bool {
        let is_new = self.pass();
        self.offered = Some(Instant::now());
        self.ahead = ahead;
        if part > 0 {
            self.given += part;
            self.parts.given += 1;
        }
        is_new
    }

    /// HTTP/2 has got all that was made. True when the answer is to be listed.
    pub(super) fn taken(&mut self) -> bool {
        self.offered = None;
        self.ahead = 0;
        self.pass()
    }

    /// The same, and nothing more will be given.
    pub(super) fn end(&mut self) -> bool {
        self.is_over = true;
        self.taken()
    }

    /// A part of so many bytes is gone.
    pub(super) fn gone(&mut self, bytes: usize) {
        self.given = self.given.saturating_sub(bytes);
        self.parts.gone += 1;
        if self.stuck.is_some() {
            self.stuck = self.has_passed().then(Instant::now);
        }
    }

    /// HTTP/2 has written what it had when this was listed, as far as there is room. True when it is to be listed again.
    pub(super) fn written(&mut self) -> bool {
        if self.listed.take().is_some_and(|part| self.parts.gone < part) {
            self.stuck = Some(Instant::now());
        }
        self.list()
    }

    /// True when it is over and HTTP/2 has nothing of it.
    pub(super) fn is_done(&self) -> bool {
        self.is_over && self.parts.gone >= self.parts.given
    }

    /// HTTP/2 has got what was given.
    fn pass(&mut self) -> bool {
        self.parts.passed = self.parts.given;
        self.list()
    }

    fn list(&mut self) -> bool {
        let is_new = self.listed.is_none() && self.stuck.is_none() && self.has_passed();
        if is_new {
            self.listed = Some(self.parts.gone + 1);
        }
        is_new
    }

    /// True while HTTP/2 has some of it.
    fn has_passed(&self) -> bool {
        self.parts.gone < self.parts.passed
    }
}
