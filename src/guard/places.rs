//! Places of calls: a bound on the work that is under way, from a whole request to the end of the work, and one on the answers
//! that wait for their clients, after that or during it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Answers;
use super::unread::Unread;

/// So many calls at once, and so many answers that nobody has read yet.
#[derive(Clone, Debug)]
pub struct Places {
    calls: Arc<Semaphore>,
    unread: Arc<Unread>,
}

/// One call's place, once it has taken one. It is in the extensions of the request; whoever works on the call after its caller
/// has gone keeps a clone. The last clone gives the place back.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Places {
    /// At most `calls` at once, and twice as many answers that wait.
    pub fn new(calls: usize) -> Self {
        let calls = calls.clamp(1, Semaphore::MAX_PERMITS);
        Self { calls: Arc::new(Semaphore::new(calls)), unread: Arc::new(Unread::new(calls)) }
    }

    /// Takes a place for a call; false when none is left. Clients that do not read their answers are given up for it.
    pub fn take(&self, place: &Place) -> bool {
        if !self.unread.has_room() {
            return false;
        }
        let free = || Arc::clone(&self.calls).try_acquire_owned().ok();
        let Some(permit) = free().or_else(|| self.unread.give_up_a_holder().then(free).flatten()) else { return false };
        *place.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        true
    }

    /// The answers of a new connection.
    pub fn answers(&self) -> Arc<Answers> {
        self.unread.connection()
    }

    /// True while clients are to hurry with reading: all places are taken, or much waits for them.
    pub(super) fn press(&self) -> bool {
        self.are_taken() || self.unread.presses()
    }

    /// Answers that wait, and their bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        self.unread.waiting()
    }

    /// True when all are taken.
    pub fn are_taken(&self) -> bool {
        self.calls.available_permits() == 0
    }
}

impl Place {
    /// The place of a request's call; one that holds nothing when nobody bounds its calls.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}
