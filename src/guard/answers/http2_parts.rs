//! What HTTP/2 has got of a connection's answers: a part counts until HTTP/2 drops it, and its answer waits when that takes room which
//! the client does not grant.

use std::sync::Arc;

use bytes::Bytes;

use super::answer_state::AnswerState;
use super::{Answers, KEPT, Numbered};

/// Answers of which HTTP/2 has got parts since it wrote; each is in here once at most.
#[derive(Debug, Default)]
pub(super) struct Http2Parts {
    /// Those whose parts came before HTTP/2 had read all there was: it has them when it writes.
    old: Vec<u64>,
    new: Vec<u64>,
}

impl Http2Parts {
    /// HTTP/2 has got a part of this answer.
    pub(super) fn add(&mut self, number: u64) {
        self.new.push(number);
    }

    /// HTTP/2 has read all there was, and writes what it has. These answers are open.
    pub(super) fn writes(&mut self, answers: &Numbered<AnswerState>) {
        if self.old.is_empty() {
            std::mem::swap(&mut self.old, &mut self.new);
            return;
        }
        // its socket takes what is written slowly: those that are over would gather
        self.old.append(&mut self.new);
        if self.old.len() > KEPT + 2 * answers.len() {
            self.old.retain(|number| answers.contains_key(number));
        }
    }

    /// HTTP/2 has written: those whose parts it had.
    pub(super) fn written(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.old)
    }

    /// Keeps the room of those that were looked at for the next; not much of it, for an idle connection.
    pub(super) fn keep(&mut self, mut looked: Vec<u64>) {
        if looked.capacity() <= KEPT {
            looked.clear();
            self.old = looked;
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.old.capacity().max(self.new.capacity())
    }
}

/// A part of an answer, as HTTP/2 has it.
struct Part {
    data: Bytes,
    number: u64,
    answers: Arc<Answers>,
}

/// The same bytes, which count as the answer's until the last of them is dropped.
pub(super) fn counted(data: Bytes, number: u64, answers: &Arc<Answers>) -> Bytes {
    Bytes::from_owner(Part { data, number, answers: Arc::clone(answers) })
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let bytes = self.data.len();
        // HTTP/2 drops it with its own lock held: nothing but numbers changes here
        self.answers.with(|open| {
            self.answers.change(open, self.number, |one| {
                one.gone(bytes);
                false
            })
        });
    }
}
