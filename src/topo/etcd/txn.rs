//! Batches of writes as transactions, and what their answers mean.

use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::super::conn::{Expect, Write};
use super::super::{Error, Result};

/// What a write costs in a request besides its key, which is in it three times, and its value.
const OVERHEAD: usize = 64;

/// `writes` in parts of at most `most` changes and about `bytes` bytes; at least one change each.
pub(super) fn batches(writes: &[Write], most: usize, bytes: usize) -> Vec<&[Write]> {
    let mut parts = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, write) in writes.iter().enumerate() {
        let next = OVERHEAD
            + 3 * write.parts().0.len()
            + match write {
                Write::Put { value, .. } => value.len(),
                Write::Delete { .. } => 0,
            };
        if at > start && (at - start >= most || size + next > bytes) {
            parts.extend(writes.get(start..at));
            (start, size) = (at, 0);
        }
        size += next;
    }
    parts.extend(writes.get(start..).filter(|rest| !rest.is_empty()));
    parts
}

/// One transaction: fences and expectations are compared; when they do not hold, what is there is read instead.
pub(super) struct Batch<'a> {
    writes: &'a [Write],
    keys: Vec<String>,
    fences: &'a [(String, i64)],
}

impl<'a> Batch<'a> {
    pub fn new(writes: &'a [Write], fences: &'a [(String, i64)], key: impl Fn(&str) -> String) -> Self {
        let keys = writes.iter().map(|write| key(write.parts().0)).collect();
        Self { writes, keys, fences }
    }

    /// The first key, for texts.
    pub fn first(&self) -> &str {
        self.keys.first().map(String::as_str).unwrap_or_default()
    }

    /// The transaction.
    pub fn txn(&self) -> Txn {
        let (mut compares, mut actions, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for (key, revision) in self.fences {
            compares.push(Compare::create_revision(key.as_str(), CompareOp::Equal, *revision));
            reads.push(TxnOp::get(key.as_str(), Some(GetOptions::new().with_keys_only())));
        }
        for (write, key) in self.writes.iter().zip(&self.keys) {
            match write.parts().1 {
                Expect::Any => {}
                Expect::Absent => compares.push(Compare::version(key.as_str(), CompareOp::Equal, 0)),
                Expect::Version(v) => compares.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, v)),
            }
            reads.push(TxnOp::get(key.as_str(), None));
            actions.push(match write {
                Write::Put { value, .. } => TxnOp::put(key.as_str(), value.to_vec(), None),
                Write::Delete { .. } => TxnOp::delete(key.as_str(), None),
            });
        }
        Txn::new().when(compares).and_then(actions).or_else(reads)
    }

    /// The new versions, or why the transaction was refused.
    ///
    /// With `repeated`, an earlier try whose answer was lost may have done it: then all records are as wanted, and their
    /// versions are the answer.
    pub fn outcome(&self, response: &TxnResponse, repeated: bool) -> Result<Vec<i64>> {
        if response.succeeded() {
            let revision = response.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
            let version = |write: &Write| if matches!(write, Write::Put { .. }) { revision } else { 0 };
            return Ok(self.writes.iter().map(version).collect());
        }
        let reads: Vec<GetResponse> = response
            .op_responses()
            .into_iter()
            .filter_map(|read| match read {
                TxnOpResponse::Get(get) => Some(get),
                _ => None,
            })
            .collect();
        for ((key, revision), read) in self.fences.iter().zip(&reads) {
            if read.kvs().first().is_none_or(|kv| kv.create_revision() != *revision) {
                return Err(Error::LockLost(key.clone()));
            }
        }
        let there = reads.get(self.fences.len()..).unwrap_or_default();
        match self.was_done(there).filter(|_| repeated) {
            Some(versions) => Ok(versions),
            None => Err(self.why_refused(there)),
        }
    }

    /// The versions of the records, when each is what this batch makes of it.
    fn was_done(&self, there: &[GetResponse]) -> Option<Vec<i64>> {
        let one = |(write, read): (&Write, &GetResponse)| match (write, read.kvs().first()) {
            (Write::Put { value, .. }, Some(kv)) if kv.value() == value.as_ref() => Some(kv.mod_revision()),
            (Write::Delete { .. }, None) => Some(0),
            _ => None,
        };
        (there.len() == self.writes.len()).then(|| self.writes.iter().zip(there).map(one).collect())?
    }

    fn why_refused(&self, there: &[GetResponse]) -> Error {
        for ((write, key), read) in self.writes.iter().zip(&self.keys).zip(there) {
            match (write.parts().1, read.kvs().first().map(|kv| kv.mod_revision())) {
                (Expect::Absent, Some(_)) => return Error::NodeExists(key.clone()),
                (Expect::Version(_), None) => return Error::NoNode(key.clone()),
                (Expect::Version(v), Some(seen)) if v != seen => return Error::BadVersion(key.clone()),
                _ => {}
            }
        }
        Error::BadVersion(self.first().to_owned())
    }
}
