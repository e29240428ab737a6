//! Slots of calls, and whose turn it is while they are all taken: connections take turns, however many calls of each wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// So many slots.
#[derive(Debug)]
pub(super) struct SlotQueue(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    /// None while a call waits.
    free: usize,
    /// Calls that wait, by the numbers of their connections.
    waiting: HashMap<u64, VecDeque<oneshot::Sender<HeldSlot>>>,
    /// Connections with calls that wait, by their turns.
    next: VecDeque<u64>,
}

/// A slot; given back when it is dropped.
#[derive(Debug)]
pub(super) struct HeldSlot(Arc<SlotQueue>);

impl SlotQueue {
    pub(super) fn new(slots: usize) -> Self {
        Self(Mutex::new(Queue { free: slots, waiting: HashMap::new(), next: VecDeque::new() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A slot, if there is one.
    pub(super) fn take(self: &Arc<Self>) -> Option<HeldSlot> {
        self.with(Queue::take).then(|| HeldSlot(Arc::clone(self)))
    }

    /// The same, or else what a slot will come out of. Whoever drops that waits no more.
    pub(super) fn line_up(self: &Arc<Self>, connection: u64) -> Result<HeldSlot, oneshot::Receiver<HeldSlot>> {
        let waits = self.with(|line| if line.take() { None } else { Some(line.wait(connection)) });
        waits.map_or_else(|| Ok(HeldSlot(Arc::clone(self))), Err)
    }

    pub(super) fn are_taken(&self) -> bool {
        self.with(|line| line.free == 0)
    }
}

impl Queue {
    fn take(&mut self) -> bool {
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }

    fn wait(&mut self, connection: u64) -> oneshot::Receiver<HeldSlot> {
        let (sender, receiver) = oneshot::channel();
        let calls = self.waiting.entry(connection).or_default();
        // those that have left
        calls.retain(|call| !call.is_closed());
        if calls.is_empty() && !self.next.contains(&connection) {
            self.next.push_back(connection);
        }
        calls.push_back(sender);
        receiver
    }

    /// Whoever gets a slot that was given back; else it is free.
    fn give_back(&mut self) -> Option<oneshot::Sender<HeldSlot>> {
        while let Some(connection) = self.next.pop_front() {
            let Some(calls) = self.waiting.get_mut(&connection) else { continue };
            let next = std::iter::from_fn(|| calls.pop_front()).find(|call| !call.is_closed());
            if calls.is_empty() {
                self.waiting.remove(&connection);
            } else {
                self.next.push_back(connection);
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        if let Some(next) = self.0.with(Queue::give_back) {
            // one that left a moment ago drops it, which gives it back again
            next.send(Self(Arc::clone(&self.0))).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns_however_many_calls_of_each_wait() {
        let turns = Arc::new(SlotQueue::new(1));
        let taken = turns.take().unwrap();
        assert!(turns.take().is_none());
        let [mut first, left, mut last] = [(); 3].map(|()| turns.line_up(1).unwrap_err());
        let mut modest = turns.line_up(2).unwrap_err();
        drop(taken);
        let taken = first.try_recv().unwrap();
        modest.try_recv().unwrap_err();
        drop(taken);
        let taken = modest.try_recv().unwrap();
        last.try_recv().unwrap_err();
        // who leaves is passed over
        drop(left);
        drop(taken);
        let taken = last.try_recv().unwrap();
        assert!(turns.are_taken());
        drop(taken);
        assert!(!turns.are_taken());
        turns.line_up(1).unwrap();
    }

    #[test]
    fn a_place_that_comes_to_one_who_leaves_is_given_back() {
        let turns = Arc::new(SlotQueue::new(1));
        let taken = turns.line_up(1).unwrap();
        let leaving = turns.line_up(1).unwrap_err();
        drop(taken);
        assert!(turns.are_taken());
        drop(leaving);
        assert!(!turns.are_taken());
        // all that waited have left
        let taken = turns.take().unwrap();
        drop(turns.line_up(1).unwrap_err());
        drop(taken);
        assert!(!turns.are_taken());
    }
}
