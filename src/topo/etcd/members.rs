//! The members of one etcd: one is asked until it answers badly, then another one.
//!
//! A member answers badly when it takes no connection, breaks one, says nothing for a while, or says that it cannot
//! serve: without a leader, stopping, or cut off from the others. A read may take long where there is much to list: a member
//! that answers a small question meanwhile is only slow, and no other one would be sooner done.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, GetOptions, KvClient, LeaseClient, WatchClient};
use tokio::sync::Mutex;
use tonic::transport::Endpoint;
use tracing::Instrument;

use super::super::access::{Access, Secret, Tls};
use super::super::error::NOT_ALLOWED;
use super::super::keep_alive::millis;
use super::super::silence::while_serving;
use super::super::{Error, Result};
use crate::deadline;
use crate::error::with_cause;
use crate::tls::Files;

const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(6);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
/// The same of a read, whose member answers small questions meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A member that says nothing for so long is left, where there are others.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(3);
/// What a member gets at least, when all were bad before and time runs out.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long members that answered a moment ago are tried again when none takes a connection: one may be restarting.
const RESTART: Duration = Duration::from_secs(3);
/// How old the last answer may be for that.
const RECENT: Duration = Duration::from_secs(60);
/// Between two rounds over all members.
const PAUSE: Duration = Duration::from_millis(100);
/// The smallest key: a question for it costs next to nothing.
const SMALLEST: &str = "\0";
/// A listing may be larger than tonic's 4 MiB.
const MAX_MESSAGE: usize = 512 << 20;

type Answer<T> = std::result::Result<T, etcd_client::Error>;

/// All members that an address list names.
pub(super) struct Members {
    first: Arc<Member>,
    others: Vec<Arc<Member>>,
    /// The one that is asked, modulo their number.
    current: AtomicUsize,
    server: String,
    opened: Instant,
    /// Milliseconds after `opened` of the newest answer; 0 before the first.
    answered: AtomicU64,
}

/// One of them.
pub(super) struct Member {
    /// All of the library's clients: a copy has nine of them with two channels each, some kilobytes.
    client: Client,
    /// What nearly all calls need of it.
    kv: KvClient,
    user: Option<(String, Secret)>,
    /// Whether name and password gave a token. The library renews one that has expired, but none that is stale.
    signed_in: AtomicBool,
    signing_in: Mutex<()>,
}

impl Members {
    /// Prepares connections to `server`, a comma-separated list of `host:port`; nothing is sent yet.
    pub async fn open(server: &str, access: Access) -> Result<Self> {
        let unreachable = |detail: String| unreachable(server, detail);
        let mut members = Vec::new();
        for address in server.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let channel = channel(address, access.tls.as_ref())
                .map_err(|detail| unreachable(format!("bad address {address}: {detail}")))?;
            let options = ConnectOptions::new().with_auto_token_refresh(access.user.is_some());
            let client = Client::from_channel(etcd_client::Channel::Tonic(channel), Some(options))
                .await
                .map_err(|error| unreachable(with_cause(&error.to_string(), &error)))?;
            let kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            let user = access.user.clone();
            let (signed_in, signing_in) = (AtomicBool::new(false), Mutex::new(()));
            members.push(Arc::new(Member { client, kv, user, signed_in, signing_in }));
        }
        if members.is_empty() {
            return Err(unreachable("no address is given".into()));
        }
        let first = members.remove(0);
        let (server, opened) = (server.to_owned(), Instant::now());
        let (current, answered) = (AtomicUsize::new(0), AtomicU64::new(0));
        Ok(Self { first, others: members, current, server, opened, answered })
    }

    /// The list of addresses, as given.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The member that is asked at the moment, for streams. Whoever gets no answer says so by [`Self::leave`].
    pub fn current(&self) -> (usize, WatchClient) {
        let at = self.current.load(Ordering::Acquire);
        (at, self.member(at).client.watch_client())
    }

    fn count(&self) -> usize {
        1 + self.others.len()
    }

    fn member(&self, at: usize) -> &Arc<Member> {
        (at % self.count()).checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }

    /// From now on another member is asked, unless that is so already.
    pub fn leave(&self, at: usize) {
        self.current.compare_exchange(at, at.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire).ok();
    }

    /// Runs one etcd call on whichever member answers, under the caller's deadline.
    ///
    /// `call` must bear repetition. It is told whether it may have been carried out already.
    pub async fn ask<T, F>(&self, op: &'static str, key: &str, call: impl Fn(Arc<Member>, bool) -> F) -> Result<T>
    where
        F: Future<Output = Answer<T>>,
    {
        // boxed, or each call that asks a topology is as long as this
        Box::pin(self.in_turn(key, call, false)).instrument(self.span(op, key)).await
    }

    /// The same for a read: a member that is slow and still serves is waited for.
    pub async fn read<T, F>(&self, op: &'static str, key: &str, call: impl Fn(Arc<Member>, bool) -> F) -> Result<T>
    where
        F: Future<Output = Answer<T>>,
    {
        Box::pin(self.in_turn(key, call, true)).instrument(self.span(op, key)).await
    }

    fn span(&self, op: &'static str, key: &str) -> tracing::Span {
        let server = self.server.as_str();
        // nothing is logged in it at other levels, and there are many
        tracing::debug_span!("topo", vitess.topo.op = op, vitess.topo.path = key, server.address = %server)
    }

    async fn in_turn<T, F>(&self, key: &str, call: impl Fn(Arc<Member>, bool) -> F, reads: bool) -> Result<T>
    where
        F: Future<Output = Answer<T>>,
    {
        let began = Instant::now();
        let until = began + deadline::remaining(OPERATION_TIMEOUT);
        let longest = began + deadline::remaining(READ_TIMEOUT);
        let (mut tried, mut renewed, mut sent) = (0, false, false);
        loop {
            let at = self.current.load(Ordering::Acquire);
            let member = self.member(at);
            let left = until.saturating_duration_since(Instant::now());
            // boxed: it has the library's client and its call in it, and is handed through what bounds it
            let once = Box::pin(async {
                member.sign_in().await?;
                call(Arc::clone(member), sent).await
            });
            let silence = member_timeout(self.count(), tried, left);
            let answered = if reads {
                let left = longest.saturating_duration_since(Instant::now());
                while_serving((silence / 3, silence - silence / 3, left), once, || serves(member)).await
            } else {
                tokio::time::timeout(silence, once).await.ok()
            };
            let bad = match answered {
                Some(Ok(value)) => {
                    self.answered.store(millis(self.opened.elapsed()).max(1), Ordering::Release);
                    return Ok(value);
                }
                Some(Err(error)) if is_stale_token(&error) && member.user.is_some() && !renewed => {
                    member.signed_in.store(false, Ordering::Release);
                    renewed = true;
                    continue;
                }
                Some(Err(error)) => Bad::of(&error).ok_or_else(|| self.convert(&error, key)).map(|bad| (bad, error))?,
                None => (Bad::Member, etcd_client::Error::GRpcStatus(tonic::Status::deadline_exceeded(""))),
            };
            self.leave(at);
            tried += 1;
            // the next one has a token of its own
            renewed = false;
            sent |= bad.0 != Bad::NoConnection;
            if !self.goes_on(tried, &bad.0, began, until) {
                return Err(self.convert(&bad.1, key));
            }
            if tried.is_multiple_of(self.count()) {
                let left = until.saturating_duration_since(Instant::now());
                tokio::time::sleep(PAUSE.min(left)).await;
            }
        }
    }

    /// Whether another try makes sense after `tried` bad answers, the last of them `bad`.
    fn goes_on(&self, tried: usize, bad: &Bad, began: Instant, until: Instant) -> bool {
        let now = Instant::now();
        if now >= until {
            return false;
        }
        let last = self.answered.load(Ordering::Acquire);
        let answered = last > 0;
        // a kept connection may have broken since it was last used
        if tried < self.count() || answered && tried < 2 {
            return true;
        }
        let recently = answered && self.opened.elapsed() < Duration::from_millis(last) + RECENT;
        match bad {
            Bad::Member => recently,
            Bad::NoConnection | Bad::Broken => recently && now < began + RESTART,
        }
    }

    /// What a call's failure means.
    pub fn convert(&self, error: &etcd_client::Error, key: &str) -> Error {
        let unreachable = |detail: String| unreachable(&self.server, detail);
        match error {
            // a status with a cause is not the server's: the connection broke, under whatever code
            etcd_client::Error::GRpcStatus(status) if status.source().is_some() => {
                unreachable(with_cause(status.message(), status))
            }
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                tonic::Code::Unavailable | tonic::Code::Unknown => unreachable(with_cause(status.message(), status)),
                tonic::Code::DeadlineExceeded => Error::Timeout(key.to_owned()),
                tonic::Code::NotFound => Error::NoNode(key.to_owned()),
                tonic::Code::ResourceExhausted => Error::ResourceExhausted(key.to_owned()),
                tonic::Code::Cancelled => Error::Interrupted(key.to_owned()),
                _ if is_refusal(status.message()) => {
                    Error::Backend { path: key.to_owned(), detail: format!("{NOT_ALLOWED}: {}", status.message()) }
                }
                _ => Error::Backend { path: key.to_owned(), detail: status.message().to_owned() },
            },
            etcd_client::Error::TransportError(e) => unreachable(with_cause(&e.to_string(), e)),
            other => Error::Backend { path: key.to_owned(), detail: other.to_string() },
        }
    }
}

impl Member {
    /// For reads and transactions.
    pub fn kv(&self) -> KvClient {
        self.kv.clone()
    }

    /// For leases.
    pub fn leases(&self) -> LeaseClient {
        self.client.lease_client()
    }

    /// Shows name and password before the first call, when there are any.
    async fn sign_in(&self) -> Answer<()> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        if self.signed_in.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.signing_in.lock().await;
        if !self.signed_in.load(Ordering::Acquire) {
            let user = Some((name.clone(), password.expose().to_owned()));
            self.client.clone().update_user(user).await?;
            self.signed_in.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// How long one of `members` may be silent that is asked after `tried` bad answers, when `left` is left. While others wait
/// their turn, none gets all of it: it may be cut off from them.
fn member_timeout(members: usize, tried: usize, left: Duration) -> Duration {
    match members {
        1 => left,
        _ if tried < members => MEMBER_TIMEOUT.min(left / 2),
        _ => (left / 2).max(MIN_TIMEOUT).min(left),
    }
}

/// Whether a member answers what costs it next to nothing. One that is cut off does not: it has to ask the others first.
async fn serves(member: &Member) -> bool {
    let options = GetOptions::new().with_keys_only().with_limit(1);
    match member.kv().get(SMALLEST, Some(options)).await {
        Ok(_) => true,
        // such as: not for this user
        Err(error) => Bad::of(&error).is_none(),
    }
}

/// What was bad about an answer.
#[derive(Debug, PartialEq, Eq)]
enum Bad {
    /// There is no connection, so nothing was sent.
    NoConnection,
    /// The connection broke.
    Broken,
    /// The member runs, but cannot serve.
    Member,
}

impl Bad {
    /// `None` for answers that another member would give too.
    fn of(error: &etcd_client::Error) -> Option<Self> {
        match error {
            etcd_client::Error::TransportError(error) => Some(Self::broken(error)),
            etcd_client::Error::GRpcStatus(status) if status.source().is_some() => Some(Self::broken(status)),
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::DeadlineExceeded => Some(Self::Member),
                tonic::Code::Cancelled => Some(Self::Member),
                _ if status.message().contains("not leader") => Some(Self::Member),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Bad {
    fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<tonic::ConnectError>() {
                return Self::NoConnection;
            }
            cause = error.source();
        }
        Self::Broken
    }
}

/// Users or roles changed after the token was given (only signed tokens, JWT, tell by themselves of which time they are), or
/// its time is over; the library sees the latter itself, but in streams.
fn is_stale_token(error: &etcd_client::Error) -> bool {
    let etcd_client::Error::GRpcStatus(status) = error else { return false };
    ["revision of auth store is old", "invalid auth token"].iter().any(|part| status.message().contains(part))
}

/// What etcd 3.4 and later say of credentials that are missing or wrong, under several codes.
fn is_refusal(text: &str) -> bool {
    ["user name is empty", "authentication failed", "permission denied"].iter().any(|part| text.contains(part))
}

fn unreachable(server: &str, detail: String) -> Error {
    Error::Unreachable { kind: "etcd2".into(), server: server.to_owned(), detail }
}

/// A channel to one member. What its address says of TLS goes before the settings: `http://` is asked without, and
/// `https://` with it, against the system's authorities when there are no settings.
fn channel(address: &str, tls: Option<&Tls>) -> std::result::Result<tonic::transport::Channel, String> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") };
    let named: http::Uri = uri.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let authority = named.authority().ok_or("no host")?.to_string();
    let endpoint = |uri: String| Endpoint::from_shared(uri).map_err(|error| with_cause(&error.to_string(), &error));
    let timed = |endpoint: Endpoint| {
        let endpoint = endpoint.tcp_nodelay(true).connect_timeout(CONNECT_TIMEOUT);
        endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
    };
    if named.scheme_str() != Some("https") {
        return Ok(timed(endpoint(uri)?).connect_lazy());
    }
    let tls = match tls {
        Some(tls) => tls.clone(),
        None => Files::default().load().map_err(|error| error.to_string())?,
    };
    // TLS is on the connection that the endpoint is given: it must not ask for its own
    let plain = timed(endpoint(format!("http://{authority}"))?).origin(named);
    Ok(tls.connect_lazy(&plain))
}

#[cfg(test)]
mod tests;
