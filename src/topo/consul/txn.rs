//! Writes: one transaction for each batch, with the sessions of the guard's locks checked in it.

use ::http::StatusCode;
use base64::Engine;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::http::Call;
use super::{BASE64, Consul, Pair, http};
use crate::failpoint;
use crate::topo::conn::{Expect, Write};
use crate::topo::{Error, Lock, Result};

/// Operations in one transaction: Consul takes no more.
const OPERATIONS: usize = 64;
/// Bytes of values in one transaction: Consul takes 512 KiB of JSON, in which values are in base64.
const BYTES: usize = 350_000;

/// One operation, as Consul's API spells it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Operation {
    pub verb: &'static str,
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub flags: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub index: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub session: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Operation {
    pub(super) fn new(verb: &'static str, key: String) -> Self {
        Self { verb, key, ..Self::default() }
    }

    pub(super) fn value(mut self, value: &[u8]) -> Self {
        self.value = Some(BASE64.encode(value));
        self
    }

    pub(super) fn session(mut self, session: &str) -> Self {
        session.clone_into(&mut self.session);
        self
    }

    fn index(mut self, index: u64) -> Self {
        self.index = index;
        self
    }

    /// Whether a transaction that went through shows the pair after this operation.
    fn is_shown(&self) -> bool {
        !matches!(self.verb, "delete" | "check-not-exists")
    }
}

/// How a transaction ended.
pub(super) enum Outcome {
    /// The pairs that its operations show.
    Done(Vec<i64>),
    /// Index of the first operation that was refused.
    Refused(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    results: Option<Vec<Shown>>,
    errors: Option<Vec<Refusal>>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(rename = "KV")]
    kv: Option<Pair>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    op_index: usize,
    #[serde(default)]
    what: String,
}

/// Sends one transaction. It is a side effect. One that `repeats` comes to the same when it was done before.
pub(super) async fn commit(
    consul: &Consul,
    (op, repeats): (&'static str, bool),
    operations: &[Operation],
    path: &str,
) -> Result<Outcome> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "KV")]
        kv: &'a Operation,
    }
    let body: Vec<Body<'_>> = operations.iter().map(|kv| Body { kv }).collect();
    let bad = |e: serde_json::Error| Error::Backend { path: path.to_owned(), detail: e.to_string() };
    let body = serde_json::to_vec(&body).map_err(bad)?;
    let send = consul.http.send(Call::put(op, "/v1/txn", body, repeats));
    let answer = failpoint::around(true, send).await.map_err(|error| match error {
        Error::Timeout(_) => Error::Timeout(path.to_owned()),
        other => other,
    })?;
    if answer.status != StatusCode::CONFLICT {
        let answered: Answered = consul.http.json(&consul.http.good(answer, path)?.body, path)?;
        let shown = answered.results.unwrap_or_default();
        return Ok(Outcome::Done(shown.into_iter().filter_map(|shown| Some(shown.kv?.modify_index)).collect()));
    }
    let answered: Answered = consul.http.json(&answer.body, path)?;
    let first = answered.errors.unwrap_or_default().into_iter().min_by_key(|refusal| refusal.op_index);
    match first {
        // rights are checked operation by operation
        Some(refusal) if refusal.what.contains("ermission denied") => {
            let said = consul.http.text(refusal.what.as_bytes());
            let detail = format!("{}: {said}", crate::topo::error::NOT_ALLOWED);
            Err(Error::Backend { path: path.to_owned(), detail })
        }
        Some(refusal) => Ok(Outcome::Refused(refusal.op_index)),
        None => Err(Error::Backend { path: path.to_owned(), detail: "a refusal without a reason".into() }),
    }
}

/// Applies all changes; see [`crate::topo::Conn::write`].
pub(super) async fn write(consul: &Consul, writes: &[Write], guard: Option<&Lock>) -> Result<Vec<i64>> {
    let fences = guard.map(|lock| lock.fences.as_slice()).unwrap_or_default();
    let session = guard.map(|lock| lock.lease.name()).unwrap_or_default();
    let mut versions = Vec::with_capacity(writes.len());
    let mut rest = writes;
    while !rest.is_empty() {
        let mut operations: Vec<(Operation, For)> = Vec::new();
        for (at, (path, _)) in fences.iter().enumerate() {
            let check = Operation::new("check-session", consul.key(path)).session(session);
            operations.push((check, For::Fence(at)));
        }
        let (mut taken, mut bytes) = (0, 0);
        for write in rest {
            let next = operations_of(consul, write);
            let size =
                next.iter().map(|op| op.value.as_ref().map_or(0, String::len) * 3 / 4 + op.key.len()).sum::<usize>();
            if taken > 0 && (operations.len() + next.len() > OPERATIONS || bytes + size > BYTES) {
                break;
            }
            operations.extend(next.into_iter().map(|op| (op, For::Change(taken))));
            (taken, bytes) = (taken + 1, bytes + size);
        }
        let (batch, later) = rest.split_at(taken);
        versions.extend(write_batch(consul, batch, fences, operations).await?);
        rest = later;
    }
    Ok(versions)
}

#[derive(Clone, Copy)]
enum For {
    Fence(usize),
    Change(usize),
}

fn operations_of(consul: &Consul, write: &Write) -> Vec<Operation> {
    let (path, expect) = write.parts();
    let operation = |verb| Operation::new(verb, consul.key(path));
    // no pair has a negative version, and 0 would mean absent
    let index = |v: i64| u64::try_from(v).ok().filter(|v| *v > 0).unwrap_or(u64::MAX);
    match (write, expect) {
        (Write::Put { value, .. }, Expect::Any) => vec![operation("set").value(value)],
        (Write::Put { value, .. }, Expect::Absent) => vec![operation("cas").value(value)],
        (Write::Put { value, .. }, Expect::Version(v)) => vec![operation("cas").value(value).index(index(v))],
        (Write::Delete { .. }, Expect::Any) => vec![operation("delete")],
        (Write::Delete { .. }, Expect::Absent) => vec![operation("check-not-exists")],
        // delete-cas goes through for an absent key
        (Write::Delete { .. }, Expect::Version(v)) => {
            vec![operation("check-index").index(index(v)), operation("delete")]
        }
    }
}

async fn write_batch(
    consul: &Consul,
    writes: &[Write],
    fences: &[(String, i64)],
    operations: Vec<(Operation, For)>,
) -> Result<Vec<i64>> {
    let (operations, purposes): (Vec<Operation>, Vec<For>) = operations.into_iter().unzip();
    let first = writes.first().map(|write| consul.full(write.parts().0)).unwrap_or_default();
    match commit(consul, ("Write", false), &operations, &first).await? {
        Outcome::Done(shown) => {
            let mut shown = shown.into_iter();
            let mut versions = vec![0; writes.len()];
            for (operation, purpose) in operations.iter().zip(&purposes).filter(|(op, _)| op.is_shown()) {
                let index = shown.next().unwrap_or_default();
                if let (For::Change(at), "set" | "cas") = (purpose, operation.verb)
                    && let Some(version) = versions.get_mut(*at)
                {
                    *version = index;
                }
            }
            Ok(versions)
        }
        Outcome::Refused(at) => match purposes.get(at) {
            Some(For::Fence(at)) => {
                let path = fences.get(*at).map(|(path, _)| consul.full(path)).unwrap_or_default();
                Err(Error::LockLost(path))
            }
            Some(For::Change(at)) => why_refused(consul, writes.get(*at)).await,
            None => Err(Error::BadVersion(first)),
        },
    }
}

/// Consul says which operation was refused; whether the key is there is asked.
async fn why_refused(consul: &Consul, write: Option<&Write>) -> Result<Vec<i64>> {
    let Some((path, expect)) = write.map(Write::parts) else { return Err(Error::BadVersion(String::new())) };
    let full = consul.full(path);
    match expect {
        Expect::Absent => Err(Error::NodeExists(full)),
        Expect::Any => Err(Error::Backend { path: full, detail: "Consul refused an unconditional change".into() }),
        Expect::Version(_) => match consul.find("Get", path).await? {
            None => Err(Error::NoNode(full)),
            Some(_) => Err(Error::BadVersion(full)),
        },
    }
}

/// Who holds a lock's key: its session (empty when nobody does) and the index from which to wait for a change.
pub(super) async fn holder(
    consul: &Consul,
    path: &str,
    after: Option<(u64, std::time::Duration)>,
) -> Result<(String, u64)> {
    let query = after.map(|(index, wait)| format!("index={index}&wait={}ms", wait.as_millis())).unwrap_or_default();
    // an agent waits up to a sixteenth longer
    let wait = after.map(|(_, wait)| wait + wait / 16).unwrap_or_default();
    let target = http::kv(&consul.key(path), &query);
    let answer = consul.http.send(Call { wait, ..Call::get("LockWait", &target) }).await?;
    let index = answer.index;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok((String::new(), index));
    }
    let full = consul.full(path);
    let pairs: Vec<Pair> = consul.http.json(&consul.http.good(answer, &full)?.body, &full)?;
    Ok((pairs.into_iter().next().and_then(|pair| pair.session).unwrap_or_default(), index))
}

/// Removes the keys of held locks, all or none; false when they are not held any more.
pub(super) async fn remove_locks(consul: &Consul, locks: &[(String, i64)], session: &str) -> Result<bool> {
    let mut operations = Vec::new();
    for (path, _) in locks {
        operations.push(Operation::new("check-session", consul.key(path)).session(session));
        operations.push(Operation::new("delete", consul.key(path)));
    }
    let first = locks.first().map(|(path, _)| consul.full(path)).unwrap_or_default();
    let parts: Vec<_> =
        operations.chunks(OPERATIONS).map(|part| commit(consul, ("Unlock", false), part, &first)).collect();
    let mut held = true;
    for outcome in join_all(parts).await {
        held &= matches!(outcome?, Outcome::Done(_));
    }
    Ok(held)
}
