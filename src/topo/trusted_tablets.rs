//! Tablets that are shown the client's certificate: those that a topology of the own cluster names, or of servers that a
//! setting names. What else a tablet's record may say, whoever registered its mount has written it.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Addresses that are remembered at least; twice as many at most.
const MOST: usize = 50_000;

/// Addresses of tablets (`host:port`) as they were read from records; each read counts anew.
#[derive(Debug, Default)]
pub struct TrustedTablets(RwLock<Read>);

/// Addresses come and go with pods: what was not read again while so many others were is forgotten.
#[derive(Debug, Default)]
struct Read {
    recent: HashSet<String>,
    before: HashSet<String>,
}

impl TrustedTablets {
    /// A trusted topology names a tablet at this address.
    pub fn add(&self, address: String) {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).recent.contains(&address) {
            return;
        }
        let mut read = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if read.recent.len() >= MOST {
            read.before = std::mem::take(&mut read.recent);
        }
        read.recent.insert(address);
    }

    /// Whether one did.
    pub fn has(&self, address: &str) -> bool {
        let read = self.0.read().unwrap_or_else(PoisonError::into_inner);
        read.recent.contains(address) || read.before.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_while_they_are_read_and_not_for_ever() {
        let trusted = TrustedTablets::default();
        trusted.add("kept:1".into());
        trusted.add("gone:1".into());
        for round in 0..3 {
            (0..MOST).for_each(|at| trusted.add(format!("h{round}:{at}")));
            trusted.add("kept:1".into());
        }
        assert!(trusted.has("kept:1") && trusted.has("h2:0"));
        assert!(!trusted.has("gone:1") && !trusted.has("never:1"));
        let read = trusted.0.read().unwrap();
        assert!(read.recent.len() + read.before.len() <= 2 * MOST);
    }
}
