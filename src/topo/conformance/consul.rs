//! A stand-in for a Consul agent: the part of its HTTP API that the topology uses, written after the documented behaviour of
//! Consul 1.x. It ends sessions at a word and after less than the ten seconds that a real agent insists on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::DropGuard;

/// Most operations of a transaction.
const OPERATIONS: usize = 64;
/// Most bytes of a transaction's request.
const REQUEST: usize = 512 * 1024;

#[derive(Default)]
struct Agent {
    state: Mutex<Store>,
    changed: Notify,
    token: Option<String>,
}

#[derive(Default, Clone)]
struct Store {
    index: u64,
    pairs: BTreeMap<String, Pair>,
    sessions: BTreeMap<String, Session>,
    barred: BTreeMap<String, Instant>,
    made: u64,
}

#[derive(Clone, PartialEq)]
struct Pair {
    value: Vec<u8>,
    flags: u64,
    session: String,
    created: u64,
    modified: u64,
    locked: u64,
}

#[derive(Clone)]
struct Session {
    ttl: Duration,
    delay: Duration,
    delete: bool,
    ends: Instant,
}

/// How an agent answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    Well,
    /// As one that is cut off from the servers.
    WithoutLeader,
    /// Holds what it is asked, until that is over.
    Electing,
    Silent,
}

/// A running agent; it ends when dropped.
pub struct FakeConsul {
    pub address: String,
    pub stop: Option<DropGuard>,
    pub health: watch::Sender<Health>,
    agent: Arc<Agent>,
}

/// Answers only as an agent of that health does.
async fn by_health(State(mut health): State<watch::Receiver<Health>>, request: Request, next: Next) -> Response {
    let now = *health.borrow();
    match now {
        Health::Electing => {
            health.wait_for(|now| *now != Health::Electing).await.unwrap();
            next.run(request).await
        }
        Health::Well => next.run(request).await,
        Health::WithoutLeader => (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response(),
        Health::Silent => std::future::pending().await,
    }
}

impl FakeConsul {
    /// Starts an agent that asks for `token`, if there is one.
    pub async fn start(token: Option<&str>) -> Self {
        Self::serve(Arc::new(Agent { token: token.map(str::to_owned), ..Agent::default() })).await
    }

    /// Another agent of the same servers.
    pub async fn beside(&self) -> Self {
        Self::serve(Arc::clone(&self.agent)).await
    }

    async fn serve(agent: Arc<Agent>) -> Self {
        let health = watch::Sender::new(Health::Well);
        let routes = Router::new()
            .route("/v1/txn", put(txn))
            .route("/v1/session/create", put(create))
            .route("/v1/session/renew/{id}", put(renew))
            .route("/v1/session/destroy/{id}", put(destroy))
            .fallback(get(read))
            .layer(axum::extract::DefaultBodyLimit::max(REQUEST * 2))
            .layer(from_fn_with_state(health.subscribe(), by_health))
            .with_state(Arc::clone(&agent));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, routes).into_future() => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        let ticking = Arc::downgrade(&agent);
        tokio::spawn(async move {
            while let Some(agent) = ticking.upgrade() {
                agent.expire();
                drop(agent);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { address, stop: Some(stop.drop_guard()), health, agent }
    }

    /// Ends every session, as a failed health check does.
    pub fn end_sessions(&self) {
        let mut store = self.agent.state.lock().unwrap();
        let ids: Vec<String> = store.sessions.keys().cloned().collect();
        ids.iter().for_each(|id| store.end(id));
        drop(store);
        self.agent.changed.notify_waiters();
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.agent.state.lock().unwrap().sessions.len()
    }

    /// Flags and session of a key.
    pub fn lock_of(&self, key: &str) -> Option<(u64, String)> {
        self.agent.state.lock().unwrap().pairs.get(key).map(|pair| (pair.flags, pair.session.clone()))
    }
}

impl Agent {
    fn expire(&self) {
        let mut store = self.state.lock().unwrap();
        let now = Instant::now();
        let ids: Vec<String> = store.sessions.iter().filter(|(_, s)| s.ends <= now).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| store.end(id));
        drop(store);
        if !ids.is_empty() {
            self.changed.notify_waiters();
        }
    }

    fn allows(&self, headers: &HeaderMap) -> Option<Response> {
        let shown = headers.get("X-Consul-Token").and_then(|token| token.to_str().ok());
        if self.token.is_none() || shown == self.token.as_deref() {
            return None;
        }
        let text = format!("Permission denied: token {} lacks permission", shown.unwrap_or("anonymous"));
        Some((StatusCode::FORBIDDEN, text).into_response())
    }
}

impl Store {
    /// Ends a session: its keys are released or deleted, and barred for its lock delay.
    fn end(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        self.index += 1;
        let held: Vec<String> =
            self.pairs.iter().filter(|(_, pair)| pair.session == id).map(|(key, _)| key.clone()).collect();
        for key in held {
            if !session.delay.is_zero() {
                self.barred.insert(key.clone(), Instant::now() + session.delay);
            }
            if session.delete {
                self.pairs.remove(&key);
            } else if let Some(pair) = self.pairs.get_mut(&key) {
                (pair.session, pair.modified) = (String::new(), self.index);
            }
        }
    }

    fn put(&mut self, key: &str, op: &Value, session: Option<&str>) -> u64 {
        let value = BASE64.decode(op["Value"].as_str().unwrap_or_default()).unwrap();
        let (index, flags) = (self.index, op["Flags"].as_u64().unwrap_or_default());
        let old = self.pairs.get(key);
        let kept = old.map(|old| old.session.clone()).unwrap_or_default();
        let mut pair = Pair {
            value,
            flags,
            session: session.map_or(kept, str::to_owned),
            created: old.map_or(index, |old| old.created),
            modified: old.map_or(index, |old| old.modified),
            locked: old.map_or(0, |old| old.locked) + u64::from(session.is_some()),
        };
        // a put that changes nothing keeps the index
        if old != Some(&pair) {
            pair.modified = index;
        }
        let modified = pair.modified;
        self.pairs.insert(key.to_owned(), pair);
        modified
    }

    /// One operation: the index it shows, if it shows one, or why it is refused.
    fn operate(&mut self, op: &Value) -> Result<Option<u64>, String> {
        let (verb, key) = (op["Verb"].as_str().unwrap(), op["Key"].as_str().unwrap());
        let (index, session) = (op["Index"].as_u64().unwrap_or_default(), op["Session"].as_str().unwrap_or_default());
        let there = self.pairs.get(key).cloned();
        let stale = || Err(format!("failed to set key {key:?}, index is stale"));
        match (verb, there) {
            ("set", _) => Ok(Some(self.put(key, op, None))),
            ("cas", None) if index == 0 => Ok(Some(self.put(key, op, None))),
            ("cas", Some(pair)) if index != 0 && index == pair.modified => Ok(Some(self.put(key, op, None))),
            ("cas", _) => stale(),
            ("delete", _) => {
                self.pairs.remove(key);
                Ok(None)
            }
            ("check-not-exists", None) => Ok(None),
            ("check-index", Some(pair)) if pair.modified == index => Ok(Some(pair.modified)),
            ("check-session", Some(pair)) if pair.session == session => Ok(Some(pair.modified)),
            ("check-not-exists" | "check-index" | "check-session", _) => Err(format!("failed {verb} of key {key:?}")),
            ("lock", _) if !self.sessions.contains_key(session) => Err(format!("invalid session {session:?}")),
            ("lock", _) if self.barred.get(key).is_some_and(|until| *until > Instant::now()) => {
                Err(format!("failed to lock key {key:?} due to lock delay"))
            }
            ("lock", Some(pair)) if !pair.session.is_empty() && pair.session != session => {
                Err(format!("failed to lock key {key:?}, lock is already held"))
            }
            ("lock", _) => Ok(Some(self.put(key, op, Some(session)))),
            other => panic!("the stand-in knows no operation {}", other.0),
        }
    }
}

async fn txn(State(agent): State<Arc<Agent>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = agent.allows(&headers) {
        return refusal;
    }
    if body.len() > REQUEST {
        return (StatusCode::PAYLOAD_TOO_LARGE, "Request body too large").into_response();
    }
    let operations: Vec<Value> = serde_json::from_slice(&body).unwrap();
    if operations.len() > OPERATIONS {
        return (StatusCode::PAYLOAD_TOO_LARGE, "Transaction contains too many operations").into_response();
    }
    let mut store = agent.state.lock().unwrap();
    let mut next = store.clone();
    next.index += 1;
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (at, operation) in operations.iter().enumerate() {
        match next.operate(&operation["KV"]) {
            Ok(Some(index)) => {
                let pair = &next.pairs[operation["KV"]["Key"].as_str().unwrap()];
                results.push(json!({"KV": {"Key": operation["KV"]["Key"], "Value": null, "Flags": pair.flags,
                    "LockIndex": pair.locked, "CreateIndex": pair.created, "ModifyIndex": index}}));
            }
            Ok(None) => {}
            Err(what) => errors.push(json!({"OpIndex": at, "What": what})),
        }
    }
    if !errors.is_empty() {
        return (StatusCode::CONFLICT, json!({"Results": null, "Errors": errors}).to_string()).into_response();
    }
    *store = next;
    drop(store);
    agent.changed.notify_waiters();
    json!({"Results": results, "Errors": null}).to_string().into_response()
}

fn duration(value: &Value) -> Duration {
    value.as_str().and_then(|text| humantime::parse_duration(text).ok()).unwrap_or_default()
}

async fn create(State(agent): State<Arc<Agent>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = agent.allows(&headers) {
        return refusal;
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(asked["Name"], "Consul API Lock");
    let mut store = agent.state.lock().unwrap();
    store.made += 1;
    let id = format!("00000000-0000-0000-0000-{:012x}", store.made);
    let ttl = duration(&asked["TTL"]);
    let delete = asked["Behavior"] == "delete";
    // Consul ends a session after twice its lifetime at the latest
    let session = Session { ttl, delay: duration(&asked["LockDelay"]), delete, ends: Instant::now() + ttl * 2 };
    store.sessions.insert(id.clone(), session);
    json!({"ID": id}).to_string().into_response()
}

async fn renew(State(agent): State<Arc<Agent>>, uri: Uri) -> Response {
    let id = uri.path().rsplit('/').next().unwrap();
    match agent.state.lock().unwrap().sessions.get_mut(id) {
        Some(session) => {
            session.ends = Instant::now() + session.ttl * 2;
            json!([{"ID": id}]).to_string().into_response()
        }
        None => (StatusCode::NOT_FOUND, format!("Session id '{id}' not found")).into_response(),
    }
}

async fn destroy(State(agent): State<Arc<Agent>>, uri: Uri) -> Response {
    agent.state.lock().unwrap().end(uri.path().rsplit('/').next().unwrap());
    agent.changed.notify_waiters();
    "true".into_response()
}

/// A read of the key-value store, which waits for a change when an index is given.
async fn read(State(agent): State<Arc<Agent>>, headers: HeaderMap, uri: Uri, RawQuery(query): RawQuery) -> Response {
    if let Some(refusal) = agent.allows(&headers) {
        return refusal;
    }
    let key = percent_encoding::percent_decode_str(uri.path().strip_prefix("/v1/kv/").unwrap()).decode_utf8().unwrap();
    let query = query.unwrap_or_default();
    let asked = |name: &str| query.split('&').filter_map(|part| part.split_once('=')).find(|(n, _)| *n == name);
    let wait = asked("wait").and_then(|(_, text)| humantime::parse_duration(text).ok()).unwrap_or_default();
    let after: u64 = asked("index").and_then(|(_, text)| text.parse().ok()).unwrap_or_default();
    let until = Instant::now() + wait;
    loop {
        let changed = agent.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let store = agent.state.lock().unwrap().clone();
        let index = store.pairs.get(key.as_ref()).map_or(store.index, |pair| pair.modified).max(1);
        let left = until.saturating_duration_since(Instant::now());
        if index > after || left.is_zero() {
            let mut answer = pairs(&store, &key, &query);
            answer.headers_mut().insert("X-Consul-Index", index.into());
            return answer;
        }
        tokio::time::timeout(left, changed).await.ok();
    }
}

fn pairs(store: &Store, key: &str, query: &str) -> Response {
    let under = store.pairs.range(key.to_owned()..).take_while(|(found, _)| found.starts_with(key));
    let shown: Vec<Value> = if query.contains("keys=true") {
        assert!(query.contains("separator=/"));
        let cut = |found: &String| {
            found[key.len()..].find('/').map_or(found.clone(), |at| found[..=key.len() + at].to_owned())
        };
        let mut keys: Vec<String> = under.map(|(found, _)| cut(found)).collect();
        keys.dedup();
        keys.into_iter().map(Value::from).collect()
    } else {
        let recurse = query.contains("recurse");
        let wanted = under.filter(|(found, _)| recurse || *found == key);
        wanted
            .map(|(found, pair)| {
                let value = if pair.value.is_empty() { Value::Null } else { BASE64.encode(&pair.value).into() };
                let mut shown = json!({"Key": found, "Value": value, "Flags": pair.flags, "LockIndex": pair.locked,
                    "CreateIndex": pair.created, "ModifyIndex": pair.modified});
                if !pair.session.is_empty() {
                    shown["Session"] = pair.session.clone().into();
                }
                shown
            })
            .collect()
    };
    if shown.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    Value::from(shown).to_string().into_response()
}
