//! Callers that come with the same read while it is under way share the next one, which asks topologies and tablets once for
//! all of them.
//!
//! No answer is older than the request that it answers: a read takes callers in until it begins, and none from then on. A
//! read that nobody else asks for is served as it is. The next one waits for the one before it to end, but not for long.
//!
//! Callers share when they are the same caller, or all of them anonymous, and ask with the same bytes. A shared read has the
//! latest of its callers' deadlines and ends with the last of them, so that nobody cuts it short for the others; who has
//! little time is served alone, so that nobody's patience is measured by others'.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::{DashMap, Entry};
use futures::future::{BoxFuture, Either};
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;

use crate::deadline;
use crate::guard::Caller;
use crate::server::collected::{self, collected};
use crate::server::routes;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// A read that takes longer than this does not keep the next one from beginning.
const PATIENCE: Duration = Duration::from_millis(100);
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

    async fn serve<S>(self, inner: S, request: Request) -> Result<Response, Infallible>
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let message = match collected(body, self.max_message).await {
            Ok(message) => message,
            Err(status) => return Ok(status.into_http()),
        };
        let alone = deadline::remaining(HURRY) < HURRY || message.len() > LONGEST;
        let key = (!alone).then(|| Arc::new(Key::of(&parts, &message)));
        let read = inner.oneshot(Request::from_parts(parts, collected::body(message)));
        let Some(key) = key else { return read.await };
        match self.reads.place(&key, deadline::current()) {
            Place::First(_turn) => read.await,
            Place::Next(next, before) => {
                let answer = next.answer.subscribe();
                tokio::spawn(self.reads.serve(key, next, before, read).in_current_span());
                Ok(answered(answer).await)
            }
            Place::Joined(answer) => Ok(answered(answer).await),
        }
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
        if !is_shareable(&request) {
            return Either::Left(self.inner.call(request));
        }
        Either::Right(Box::pin(self.layer.clone().serve(self.inner.clone(), request)))
    }
}

/// Whether callers may share the answer to a request. Other methods than that of gRPC may have other answers.
fn is_shareable(request: &Request) -> bool {
    let rpc = request.uri().path().strip_prefix("/vtctlservice.Vtctld/");
    request.method() == Method::POST && rpc.is_some_and(routes::is_shareable)
}

/// What makes reads the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: Caller,
    path: String,
    headers: [Option<HeaderValue>; 2],
    message: Bytes,
}

impl Key {
    fn of(parts: &Parts, message: &Bytes) -> Self {
        Self {
            caller: parts.extensions.get::<Caller>().cloned().unwrap_or_default(),
            path: parts.uri.path().to_owned(),
            headers: HEADERS.each_ref().map(|name| parts.headers.get(name).cloned()),
            message: message.clone(),
        }
    }
}

/// The reads under way.
#[derive(Debug, Default)]
struct Reads(DashMap<Arc<Key>, Line>);

/// Who is served of one read, and who is next.
#[derive(Debug)]
struct Line {
    running: Running,
    next: Option<Arc<Next>>,
}

/// The one that began last.
#[derive(Clone, Debug)]
struct Running {
    since: Instant,
    ended: CancellationToken,
}

/// One that has not begun.
#[derive(Debug)]
struct Next {
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
    /// Nobody is before him.
    First(Turn),
    /// He is the first of the next.
    Next(Arc<Next>, Running),
    Joined(watch::Receiver<Option<Answer>>),
}

/// A read that is served. Its end lets the next one begin, or clears the line.
struct Turn {
    reads: Arc<Reads>,
    key: Arc<Key>,
    running: CancellationToken,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // a later one may have begun meanwhile
        let mine = |line: &Line| line.running.ended == self.running && line.next.is_none();
        self.reads.0.remove_if(&self.key, |_, line| mine(line));
        self.running.cancel();
    }
}

impl Running {
    fn begin() -> Self {
        Self { since: deadline::now(), ended: CancellationToken::new() }
    }

    /// Waits for its end, as long as one has to.
    async fn made_way(&self) {
        let until = tokio::time::Instant::from_std(self.since + PATIENCE);
        tokio::select! { () = self.ended.cancelled() => {} () = tokio::time::sleep_until(until) => {} }
    }
}

impl Reads {
    /// Where somebody stands who comes now and has until then.
    fn place(self: &Arc<Self>, key: &Arc<Key>, until: Option<Instant>) -> Place {
        match self.0.entry(Arc::clone(key)) {
            Entry::Vacant(entry) => {
                let running = Running::begin();
                entry.insert(Line { running: running.clone(), next: None });
                Place::First(self.turn(key, running))
            }
            Entry::Occupied(mut entry) => {
                let line = entry.get_mut();
                if let Some(next) = &line.next {
                    let mut latest = next.until.lock().unwrap_or_else(PoisonError::into_inner);
                    *latest = latest.zip(until).map(|(a, b)| a.max(b));
                    return Place::Joined(next.answer.subscribe());
                }
                let next = Arc::new(Next { until: Mutex::new(until), answer: watch::Sender::new(None) });
                line.next = Some(Arc::clone(&next));
                Place::Next(next, line.running.clone())
            }
        }
    }

    fn turn(self: &Arc<Self>, key: &Arc<Key>, running: Running) -> Turn {
        Turn { reads: Arc::clone(self), key: Arc::clone(key), running: running.ended }
    }

    /// Waits for the one before, then reads for all that have come until then. Ends when nobody waits any more.
    async fn serve(
        self: Arc<Self>,
        key: Arc<Key>,
        next: Arc<Next>,
        before: Running,
        read: impl Future<Output = Result<Response, Infallible>>,
    ) {
        before.made_way().await;
        let running = Running::begin();
        // from here on, who comes is of the one after: places are given under the same lock
        let line = Line { running: running.clone(), next: None };
        self.0.insert(Arc::clone(&key), line);
        let _turn = self.turn(&key, running);
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
}

/// Waits for a shared answer.
async fn answered(mut answer: watch::Receiver<Option<Answer>>) -> Response {
    match answer.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
        Ok(Some(answer)) => answer.again(),
        _ => Status::internal("the read was cut short inside the server: see its log").into_http(),
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
