//! Places of calls: a bound on the work that is under way, from a whole request to the last byte of its answer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many calls at once.
#[derive(Clone, Debug)]
pub struct Places(Arc<Semaphore>);

/// One call's place, once it has taken one. It is in the extensions of the request; whoever works on the call after its caller
/// has gone keeps a clone. The last clone gives the place back.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Places {
    /// At most `calls` at once.
    pub fn new(calls: usize) -> Self {
        Self(Arc::new(Semaphore::new(calls.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Takes a place for a call; false when none is left.
    pub fn take(&self, place: &Place) -> bool {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else { return false };
        *place.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        true
    }

    /// True when all are taken.
    pub fn are_taken(&self) -> bool {
        self.0.available_permits() == 0
    }
}

impl Place {
    /// The place of a request's call; one that holds nothing when nobody bounds its calls.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}
