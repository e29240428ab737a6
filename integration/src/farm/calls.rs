//! What vtctlds asked of the tablets.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::tablet::Seat;

/// Counts of calls, and the most statements that one tablet had to run at once.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Counts>);

/// The counts at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Counts {
    /// Calls of each method, of all tablets.
    pub methods: BTreeMap<String, u64>,
    /// The most statements at once on one tablet of each cell.
    pub statements_at_once: BTreeMap<String, usize>,
}

impl Calls {
    /// One call more.
    pub fn count(&self, method: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.methods.get_mut(method) {
            Some(count) => *count += 1,
            None => {
                counts.methods.insert(method.to_owned(), 1);
            }
        }
    }

    /// A tablet runs so many statements now.
    pub fn statements(&self, seat: &Seat, running: usize) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.statements_at_once.get_mut(&seat.alias.cell) {
            Some(most) => *most = running.max(*most),
            None => {
                counts.statements_at_once.insert(seat.alias.cell.clone(), running);
            }
        }
    }

    /// The counts since the last call.
    #[must_use]
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
