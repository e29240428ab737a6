//! Requests, from their first byte to the end of the work on them: what they take of memory.

use std::sync::Arc;

use super::Answers;

/// What a call takes besides the bytes of its request, about.
const CALL: usize = 4 << 10;

/// What of a request is here; it counts until this is dropped.
#[derive(Debug)]
pub struct RequestBytes {
    number: u64,
    answers: Arc<Answers>,
}

impl RequestBytes {
    /// A request that begins to arrive on a connection.
    pub fn begin(answers: &Arc<Answers>) -> Self {
        let number = answers.with(|open| {
            open.next += 1;
            // of who was given up nothing counts any more
            if !answers.is_given_up() {
                open.requests.insert(open.next, CALL);
                answers.hold(CALL);
            }
            open.next
        });
        let received = Self { number, answers: Arc::clone(answers) };
        received.answers.has_room();
        received
    }

    /// So many bytes more are here; false when there is no room for them.
    pub fn add(&self, bytes: usize) -> bool {
        self.answers.with(|open| {
            if let Some(held) = open.requests.get_mut(&self.number) {
                *held += bytes;
                self.answers.hold(bytes);
            }
        });
        self.answers.has_room()
    }
}

impl Drop for RequestBytes {
    fn drop(&mut self) {
        self.answers.with(|open| {
            if let Some(bytes) = open.requests.remove(&self.number) {
                super::rest(&mut open.requests);
                self.answers.free(bytes);
            }
        });
    }
}
