//! Slots of calls: a bound on the work that is under way, from a whole request to the end of the work, and one on the answers
//! that wait for their clients, after that or during it; and a bound on the bytes that both hold.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Answers;
use super::answers::RequestBytes;
use super::slot_queue::{HeldSlot, SlotQueue};
use super::unread::{GRACE, UnreadAnswers};

/// While all slots are taken a call waits for its turn, a second at most. Clients that do not read are looked for as often as they
/// have a moment to begin: with longer waits a call would wait two of them for each.
const LOOKS: usize = 10;
const LOOK: Duration = GRACE;

/// So many calls at once, and so many answers that nobody has read yet.
#[derive(Clone, Debug)]
pub struct CallSlots {
    calls: Arc<SlotQueue>,
    unread: Arc<UnreadAnswers>,
}

/// One call's slot, once it has taken one. It is in the extensions of the request; whoever works on the call after its caller
/// has gone keeps a clone. The last clone gives the slot back.
#[derive(Clone, Debug, Default)]
pub struct CallSlot(Arc<Call>);

/// What a call holds.
#[derive(Debug, Default)]
struct Call {
    taken: Mutex<Option<HeldSlot>>,
    /// What is here of its request.
    received: Option<RequestBytes>,
}

impl CallSlots {
    /// At most `calls` at once, and twice as many answers that wait; requests and answers may hold so many bytes.
    pub fn new(calls: usize, bytes: usize) -> Self {
        let calls = calls.max(1);
        Self { calls: Arc::new(SlotQueue::new(calls)), unread: Arc::new(UnreadAnswers::new(calls, bytes)) }
    }

    /// Takes a slot for a call of a connection; false when none is left. Clients that do not read their answers are given up for it.
    pub fn take(&self, slot: &CallSlot, connection: &Answers) -> bool {
        if !self.unread.has_room(connection) {
            return false;
        }
        let free = || self.calls.take();
        let Some(taken) = free().or_else(|| self.unread.give_up_a_holder().then(free).flatten()) else { return false };
        slot.hold(taken);
        true
    }

    /// Takes one that is free at once; false when none is, or when there is no room for an answer.
    pub fn take_free(&self, slot: &CallSlot, connection: &Answers) -> bool {
        let taken = self.unread.has_room(connection).then(|| self.calls.take());
        let Some(taken) = taken.flatten() else { return false };
        slot.hold(taken);
        true
    }

    /// Like [`Self::take`], but waits for the connection's turn when none is left; false when that does not come in a second.
    pub async fn turn(&self, slot: &CallSlot, connection: &Answers) -> bool {
        if !self.unread.has_room(connection) {
            return false;
        }
        let taken = match self.calls.line_up(connection.number()) {
            Ok(taken) => Some(taken),
            Err(turn) => self.wait(turn).await.filter(|_| self.unread.has_room_still(connection)),
        };
        let Some(taken) = taken else { return false };
        slot.hold(taken);
        true
    }

    /// The slot of a call whose turn comes; none when it does not come in time.
    async fn wait(&self, mut turn: oneshot::Receiver<HeldSlot>) -> Option<HeldSlot> {
        for _ in 0..LOOKS {
            self.unread.give_up_a_holder();
            if let Ok(taken) = tokio::time::timeout(LOOK, &mut turn).await {
                return taken.ok();
            }
        }
        None
    }

    /// The answers of a new connection.
    pub fn answers(&self) -> Arc<Answers> {
        self.unread.connection()
    }

    /// True while clients are to hurry with reading: all slots are taken, or much waits for them.
    pub(super) fn press(&self) -> bool {
        self.are_taken() || self.unread.presses()
    }

    /// Answers that wait, and their bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        self.unread.total()
    }

    /// True when all are taken.
    pub fn are_taken(&self) -> bool {
        self.calls.are_taken()
    }
}

impl CallSlot {
    /// The slot of a request's call; one that holds nothing when nobody bounds its calls.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// That of a call whose request begins to arrive on a connection.
    pub fn receiving(connection: &Arc<Answers>) -> Self {
        Self(Arc::new(Call { taken: Mutex::default(), received: Some(RequestBytes::begin(connection)) }))
    }

    /// So many bytes more of the request are here; false when there is no room for them.
    pub fn received(&self, bytes: usize) -> bool {
        self.0.received.as_ref().is_none_or(|received| received.add(bytes))
    }

    /// True once one was taken; calls that nobody bounds take none.
    pub(super) fn is_held(&self) -> bool {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn hold(&self, taken: HeldSlot) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
    }
}
