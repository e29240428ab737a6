//! Callers that come with the same read while it is under way share the next one, which asks topologies and tablets once for
//! all of them.
//!
//! No answer is older than the request that it answers: a read takes callers in until it begins, and none from then on. A
//! read that nobody else asks for is served as it is. The next one waits for one before it to end, but not for long. Of reads that
//! ask for little, two may be under way: as long as there are not more callers, nobody waits.
//!
//! Callers share when they are the same caller, or all of them anonymous, and ask with the same bytes. A shared read has the
//! latest of its callers' deadlines and ends with the last of them, so that nobody cuts it short for the others; who has
//! little time is served alone, so that nobody's deadline is cut to another's.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use futures::future::{BoxFuture, Either};
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::{Notify, watch};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;

use crate::deadline;
use crate::guard::Caller;
use crate::server::request_body::{self, collect};
use crate::server::rpcs::{self, Shareable};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// A read that takes longer than this does not keep the next one from beginning.
const MAX_WAIT: Duration = Duration::from_millis(100);
/// The same of one that asks for little, which is to be there soon: where topologies are far away, sharing makes it wait no longer.
const SOON: Duration = Duration::from_millis(5);
/// As many of one read are under way at most.
const AT_ONCE: usize = 2;
/// Callers that have less time than this share nothing. With more, what a read can do without is given up for its own bounds, which
/// are far shorter, and not for a caller's.
const HURRY: Duration = Duration::from_secs(30);
/// Longer requests are not compared: those that are shared name a keyspace and a workflow.
const LONGEST: usize = 4096;
/// Headers of a request that an answer depends on, besides its message.
static HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("grpc-encoding"), HeaderName::from_static("grpc-accept-encoding")];

/// Lets callers share reads.
#[derive(Clone, Debug)]
pub struct SharedLayer {
    reads: Arc<Reads>,
    max_message: usize,
}

impl SharedLayer {
    /// Requests may have `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self { reads: Arc::default(), max_message }
    }

    async fn serve<S>(self, shareable: Shareable, inner: S, request: Request) -> Result<Response, Infallible>
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let message = match collect(body, self.max_message).await {
            Ok(message) => message,
            Err(status) => return Ok(status.into_http()),
        };
        let alone = deadline::remaining(HURRY) < HURRY || message.len() > LONGEST;
        let key = (!alone).then(|| Arc::new(Key::of(shareable.rpc, &parts, &message)));
        let (at_once, max_wait) = if shareable.is_large { (1, MAX_WAIT) } else { (AT_ONCE, SOON) };
        let place = key.map(|key| self.reads.place(key, deadline::current(), at_once));
        // who joins others needs none of his own
        let read = || inner.oneshot(Request::from_parts(parts, request_body::body(message)));
        let _turn = match place {
            None => None,
            Some(Place::First(turn)) => Some(turn),
            Some(Place::Next(waiting)) => {
                let answer = waiting.next.answer.subscribe();
                tokio::spawn(waiting.serve(max_wait, read()).in_current_span());
                return Ok(answered(answer).await);
            }
            Some(Place::Joined(answer)) => return Ok(answered(answer).await),
        };
        read().await
    }
}

/// A service whose reads are shared.
#[derive(Clone, Debug)]
pub struct Shared<S> {
    inner: S,
    layer: SharedLayer,
}

impl<S> Layer<S> for SharedLayer {
    type Service = Shared<S>;

    fn layer(&self, inner: S) -> Shared<S> {
        Shared { inner, layer: self.clone() }
    }
}

impl<S> Service<Request> for Shared<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match shareable(&request) {
            Some(read) => Either::Right(Box::pin(self.layer.clone().serve(read, self.inner.clone(), request))),
            None => Either::Left(self.inner.call(request)),
        }
    }
}

/// The read that a request asks for, if callers may share the answer. Other methods than that of gRPC may have other answers.
fn shareable(request: &Request) -> Option<Shareable> {
    let rpc = request.uri().path().strip_prefix("/vtctlservice.Vtctld/")?;
    rpcs::shareable(rpc).filter(|_| request.method() == Method::POST)
}

/// What makes reads the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    rpc: &'static str,
    caller: Caller,
    headers: [Option<HeaderValue>; 2],
    message: Bytes,
}

impl Key {
    fn of(rpc: &'static str, parts: &Parts, message: &Bytes) -> Self {
        Self {
            rpc,
            caller: parts.extensions.get::<Caller>().cloned().unwrap_or_default(),
            headers: HEADERS.each_ref().map(|name| parts.headers.get(name).cloned()),
            message: message.clone(),
        }
    }
}

/// The reads under way.
#[derive(Debug, Default)]
struct Reads {
    lines: DashMap<Arc<Key>, Line>,
    /// How many there were.
    begun: AtomicU64,
}

/// Who is served of one read, and who is next.
#[derive(Debug, Default)]
struct Line {
    /// Those that began last and have not ended.
    running: [Option<Running>; AT_ONCE],
    next: Option<Arc<Next>>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    number: u64,
    since: Instant,
}

/// One that has not begun.
#[derive(Debug)]
struct Next {
    /// One before it has ended.
    way: Notify,
    /// The latest deadline of those that wait for it; `None` when one of them has none.
    until: Mutex<Option<Instant>>,
    answer: watch::Sender<Option<Answer>>,
}

/// An answer that can be given again.
#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    message: Bytes,
    trailers: Option<HeaderMap>,
}

/// Where a caller stands.
enum Place {
    /// He need not wait.
    First(Turn),
    /// He is the first of the next.
    Next(Waiting),
    Joined(watch::Receiver<Option<Answer>>),
}

/// A read that is served. Its end lets the next one begin, or clears the line.
struct Turn {
    reads: Arc<Reads>,
    key: Arc<Key>,
    number: u64,
}

/// One that waits for its turn.
struct Waiting {
    reads: Arc<Reads>,
    key: Arc<Key>,
    next: Arc<Next>,
    /// So many may be under way.
    at_once: usize,
    /// When the first of those began.
    since: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.reads.lines.remove_if_mut(&self.key, |_, line| {
            let is_mine = |running: Running| running.number == self.number;
            // where it took too long, a later one has its place
            let mine = line.running.iter_mut().find(|place| place.is_some_and(is_mine));
            let Some(mine) = mine else { return false };
            *mine = None;
            line.next.iter().for_each(|next| next.way.notify_one());
            line.next.is_none() && line.running.iter().all(Option::is_none)
        });
    }
}

impl Line {
    /// Those that may be under way: which began first, or none while another one may begin.
    fn first(&self, at_once: usize) -> Option<Instant> {
        let places = self.running.iter().take(at_once);
        let are_taken = places.clone().all(Option::is_some);
        places.flatten().map(|running| running.since).min().filter(|_| are_taken)
    }

    /// One begins, in the place of one that has ended, or else of the one that began first.
    fn begin(&mut self, new: Running, at_once: usize) {
        let places = self.running.iter_mut().take(at_once);
        if let Some(place) = places.min_by_key(|place| place.map(|running| running.since)) {
            *place = Some(new);
        }
    }
}

impl Reads {
    /// Where somebody stands who comes now and has until then, where so many may be under way.
    fn place(self: &Arc<Self>, key: Arc<Key>, until: Option<Instant>, at_once: usize) -> Place {
        let mut line = self.lines.entry(Arc::clone(&key)).or_default();
        if let Some(next) = &line.next {
            let mut latest = next.until.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = latest.zip(until).map(|(a, b)| a.max(b));
            return Place::Joined(next.answer.subscribe());
        }
        let reads = Arc::clone(self);
        let Some(since) = line.first(at_once) else {
            return Place::First(reads.begin(key, &mut line, at_once));
        };
        let (way, until, answer) = (Notify::new(), Mutex::new(until), watch::Sender::new(None));
        let next = Arc::new(Next { way, until, answer });
        line.next = Some(Arc::clone(&next));
        Place::Next(Waiting { reads, key, next, at_once, since })
    }

    /// One begins, whose line this is.
    fn begin(self: Arc<Self>, key: Arc<Key>, line: &mut Line, at_once: usize) -> Turn {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        line.begin(Running { number, since: deadline::now() }, at_once);
        Turn { reads: self, key, number }
    }
}

impl Waiting {
    /// Waits for one before, for so long after its begin, then reads for all that have come until then. Ends when nobody waits any
    /// more.
    async fn serve(self, max_wait: Duration, read: impl Future<Output = Result<Response, Infallible>>) {
        let next = Arc::clone(&self.next);
        let until = tokio::time::Instant::from_std(self.since + max_wait);
        tokio::select! { () = next.way.notified() => {} () = tokio::time::sleep_until(until) => {} }
        let _turn = self.begin();
        let until = *next.until.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = async {
            let response = match deadline::scope(until, read).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            Answer::of(response).await
        };
        tokio::select! {
            answer = answer => drop(next.answer.send_replace(Some(answer))),
            () = next.answer.closed() => {}
        }
    }

    /// From here on, who comes is of the one after.
    fn begin(self) -> Turn {
        let Self { reads, key, at_once, .. } = self;
        let lines = Arc::clone(&reads);
        // places are given under the same lock
        let mut line = lines.lines.entry(Arc::clone(&key)).or_default();
        line.next = None;
        reads.begin(key, &mut line, at_once)
    }
}

/// Waits for a shared answer.
async fn answered(mut answer: watch::Receiver<Option<Answer>>) -> Response {
    match answer.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
        Ok(Some(answer)) => answer.again(),
        _ => Status::internal("the read failed inside the server: see its log").into_http(),
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        match body.collect().await {
            Ok(whole) => {
                let trailers = whole.trailers().cloned();
                Self { status, headers, message: whole.to_bytes(), trailers }
            }
            Err(error) => {
                let (parts, _) = error.into_http::<Body>().into_parts();
                Self { status: parts.status, headers: parts.headers, message: Bytes::new(), trailers: None }
            }
        }
    }

    fn again(self) -> Response {
        let message = Full::new(self.message);
        let body = match self.trailers {
            Some(trailers) => Body::new(message.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))))),
            None => Body::new(message),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests;
