//! What this process did to workflows, for those who watch: a workflow that is gone does not tell how it ended.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Ends that are remembered.
const KEPT: usize = 1000;

/// How a workflow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Cancelled,
}

/// Keyspace, workflow and how it ended, oldest first.
#[derive(Default)]
struct Ends(Mutex<VecDeque<(String, String, End)>>);

impl Ends {
    fn note(&self, keyspace: &str, workflow: &str, how: End) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= KEPT {
            ended.pop_front();
        }
        ended.push_back((keyspace.to_owned(), workflow.to_owned(), how));
    }

    fn take(&self, keyspace: &str, workflow: &str) -> Option<End> {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(k, w, _): &(String, String, End)| k == keyspace && w == workflow;
        let how = ended.iter().rev().find(|end| is_it(end)).map(|(_, _, how)| *how);
        ended.retain(|end| !is_it(end));
        how
    }
}

/// The last changes. Losing them costs nothing but a word on a page.
#[derive(Default)]
pub struct Changes {
    workflows: Ends,
    ways_back: Ends,
    made: Notify,
}

impl Changes {
    /// Something was changed that a watcher may want to look at.
    pub fn make(&self) {
        self.made.notify_one();
    }

    /// A workflow ended.
    pub fn end(&self, keyspace: &str, workflow: &str, how: End) {
        self.workflows.note(keyspace, workflow, how);
        self.make();
    }

    /// The way back of a workflow ended: somebody went back, or it was cancelled.
    pub fn end_way_back(&self, keyspace: &str, workflow: &str, how: End) {
        self.ways_back.note(keyspace, workflow, how);
        self.make();
    }

    /// How a workflow of that name last ended here; it is forgotten by asking.
    pub fn take_end(&self, keyspace: &str, workflow: &str) -> Option<End> {
        self.workflows.take(keyspace, workflow)
    }

    /// The same of the way back of a workflow of that name.
    pub fn take_way_back_end(&self, keyspace: &str, workflow: &str) -> Option<End> {
        self.ways_back.take(keyspace, workflow)
    }

    /// Waits for the next change. One that was made while nobody waited counts.
    pub async fn made(&self) {
        self.made.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_end_of_a_name_counts_and_is_told_once() {
        let changes = Changes::default();
        changes.end("customer", "import", End::Cancelled);
        changes.end("customer", "other", End::Cancelled);
        changes.end("customer", "import", End::Completed);
        assert_eq!(changes.take_end("customer", "import"), Some(End::Completed));
        assert_eq!(changes.take_end("customer", "import"), None);
        for number in 0..2 * KEPT {
            changes.end("customer", &number.to_string(), End::Completed);
        }
        assert_eq!(changes.take_end("customer", "other"), None);
        assert_eq!(changes.workflows.0.lock().unwrap().len(), KEPT);
        changes.end_way_back("customer", "import", End::Cancelled);
        assert_eq!(changes.take_end("customer", "import"), None, "its way back is not the workflow");
        assert_eq!(changes.take_way_back_end("customer", "import"), Some(End::Cancelled));
    }
}
