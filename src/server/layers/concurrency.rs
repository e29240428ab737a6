//! A bound on the calls that are served at once, and on the time that a request may take to arrive.
//!
//! A call takes its slot when its request is whole: who begins calls and does not finish them takes none away, and is sent off
//! after a while. While all slots are taken connections take turns, so that one with many calls keeps nobody out; a call whose
//! turn does not come soon is answered RESOURCE_EXHAUSTED. It gives the slot back when its work has ended, whether or not its
//! caller is still there. Answers wait for their clients beside that; who reads nothing is hung up
//! on (`busy/leaving.rs`).

mod response_body;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::guard::listen::Peer;
use crate::guard::{Answers, CallSlot, CallSlots};
use response_body::ResponseBody;

/// A request has so long to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Services without a bound: health is what tells a balancer that the server is busy but alive; the requests of a
/// reflection's stream may come at any time.
const EXEMPT: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Bounds the calls under way.
#[derive(Clone)]
pub struct ConcurrencyLayer {
    slots: CallSlots,
    arrival_timeout: Duration,
}

impl ConcurrencyLayer {
    /// Calls take these slots.
    pub fn new(slots: CallSlots) -> Self {
        Self { slots, arrival_timeout: ARRIVAL_TIMEOUT }
    }
}

/// A service that serves so many calls at once.
#[derive(Clone)]
pub struct ConcurrencyLimit<S> {
    inner: S,
    layer: ConcurrencyLayer,
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit { inner, layer: self.clone() }
    }
}

impl<S> Service<http::Request<Body>> for ConcurrencyLimit<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let answers = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.answers)).unwrap_or_default();
        let connection = Arc::clone(&answers);
        let leaving = move |slot| move |body| Body::new(ResponseBody::new(body, &answers, slot));
        let slot = CallSlot::receiving(&connection);
        if EXEMPT.iter().any(|service| request.uri().path().starts_with(service)) {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(answer.await?.map(leaving(slot))) });
        }
        request.extensions_mut().insert(slot.clone());
        let layer = self.layer.clone();
        let arrival = Arc::new(Arrival { layer, slot: slot.clone(), connection, refused: Mutex::default() });
        let whole = request.body().is_end_stream();
        // no call of ours is without a message: this one does not wait
        if whole && !self.layer.slots.take(&slot, &arrival.connection) {
            return Box::pin(std::future::ready(Ok(arrival.busy().into_http())));
        }
        let arriving =
            |inner| Body::new(RequestBody { inner, whole, arrival: Arc::clone(&arrival), limit: None, end: None });
        let answer = self.inner.call(request.map(arriving));
        Box::pin(async move {
            let answered = answer.await?;
            match arrival.refusal() {
                // whatever the service made of the broken request
                Some(status) => Ok(status.into_http()),
                None => Ok(answered.map(leaving(slot))),
            }
        })
    }
}

/// The arrival of one call's request.
struct Arrival {
    layer: ConcurrencyLayer,
    slot: CallSlot,
    connection: Arc<Answers>,
    /// Why it is not served.
    refused: Mutex<Option<Status>>,
}

impl Arrival {
    /// Takes a slot that is free: nobody has to wait, but for the bounds.
    fn takes_free(&self) -> bool {
        self.layer.slots.take_free(&self.slot, &self.connection)
    }

    /// Takes a slot, when it is this call's turn.
    async fn turn(self: Arc<Self>) -> Result<(), Status> {
        if self.layer.slots.turn(&self.slot, &self.connection).await { Ok(()) } else { Err(self.busy()) }
    }

    fn busy(&self) -> Status {
        let text = "too many concurrent calls (--grpc-max-concurrent-calls): try again later";
        self.refuse(Status::resource_exhausted(text))
    }

    fn too_much(&self) -> Status {
        let text = "requests and responses hold too much memory (--grpc-max-held-bytes): try again later";
        self.refuse(Status::resource_exhausted(text))
    }

    fn refuse(&self, status: Status) -> Status {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
        status
    }

    fn refusal(&self) -> Option<Status> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body that is whole when its call has a slot, and fails when it takes too long.
struct RequestBody {
    inner: Body,
    whole: bool,
    arrival: Arc<Arrival>,
    /// Runs from the first wait on.
    limit: Option<Pin<Box<Sleep>>>,
    /// What waits for the call's turn.
    end: Option<End>,
}

/// The end of a request's body.
struct End {
    frame: Option<Result<Frame<Bytes>, Status>>,
    turn: Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>,
}

impl RequestBody {
    /// The next part, if it came in time and there is room for it.
    fn arrive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map(Bytes::len).unwrap_or_default();
            if !self.arrival.slot.received(bytes) {
                return Poll::Ready(Some(Err(self.arrival.too_much())));
            }
        }
        if polled.is_ready() {
            return polled;
        }
        let arrival_timeout = self.arrival.layer.arrival_timeout;
        ready!(self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(arrival_timeout))).as_mut().poll(cx));
        let text = format!("the request did not arrive within {} s", arrival_timeout.as_secs());
        Poll::Ready(Some(Err(self.arrival.refuse(Status::deadline_exceeded(text)))))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.whole {
            return Pin::new(&mut this.inner).poll_frame(cx);
        }
        let mut end = match this.end.take() {
            Some(end) => end,
            None => {
                let frame = ready!(this.arrive(cx));
                if frame.is_some() && !this.inner.is_end_stream() {
                    return Poll::Ready(frame);
                }
                if this.arrival.takes_free() {
                    this.whole = true;
                    return Poll::Ready(frame);
                }
                End { frame, turn: Box::pin(Arc::clone(&this.arrival).turn()) }
            }
        };
        let Poll::Ready(taken) = end.turn.as_mut().poll(cx) else {
            this.end = Some(end);
            return Poll::Pending;
        };
        this.whole = true;
        Poll::Ready(taken.map_or_else(|refusal| Some(Err(refusal)), |()| end.frame))
    }

    fn is_end_stream(&self) -> bool {
        self.whole && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;

    fn code(answer: &http::Response<Body>) -> Option<i32> {
        Some(answer.headers().get("grpc-status")?.to_str().unwrap().parse().unwrap())
    }

    #[tokio::test]
    async fn calls_beyond_the_bound_are_refused_and_health_is_not() {
        let gate = Arc::new(tokio::sync::Notify::new());
        let held = Arc::clone(&gate);
        let slow = tower::service_fn(move |request: http::Request<Body>| {
            let held = Arc::clone(&held);
            async move {
                if request.uri().path() == "/slow" {
                    held.notified().await;
                }
                Ok::<_, Infallible>(http::Response::new(Body::empty()))
            }
        });
        let service = ConcurrencyLayer::new(CallSlots::new(1, usize::MAX)).layer(slow);
        let call = |path: &'static str| {
            service.clone().oneshot(http::Request::builder().uri(path).body(Body::empty()).unwrap())
        };
        let first = tokio::spawn(call("/slow"));
        tokio::task::yield_now().await;
        assert_eq!(code(&call("/other").await.unwrap()), Some(Code::ResourceExhausted.into()));
        assert_eq!(code(&call("/grpc.health.v1.Health/Check").await.unwrap()), None);
        gate.notify_one();
        first.await.unwrap().unwrap();
        assert_eq!(code(&call("/other").await.unwrap()), None);
    }

    #[tokio::test]
    async fn requests_that_do_not_arrive_take_no_place_and_are_sent_off() {
        let reading = tower::service_fn(|request: http::Request<Body>| async move {
            let read = request.into_body().collect().await;
            let status = read.err().unwrap_or_else(|| Status::ok(""));
            Ok::<_, Infallible>(status.into_http::<Body>())
        });
        let layer = ConcurrencyLayer {
            arrival_timeout: Duration::from_secs(1),
            ..ConcurrencyLayer::new(CallSlots::new(1, usize::MAX))
        };
        let service = layer.clone().layer(reading);
        let call = |body: Body| {
            tokio::spawn(service.clone().oneshot(http::Request::builder().uri("/x.Y/Z").body(body).unwrap()))
        };
        let part = || futures::stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"part")))]);
        let unfinished = || Body::new(StreamBody::new(futures::StreamExt::chain(part(), futures::stream::pending())));
        let hanging: Vec<_> = (0..10).map(|_| call(unfinished())).collect();
        tokio::task::yield_now().await;
        for _ in 0..3 {
            assert_eq!(code(&call(Body::new(StreamBody::new(part()))).await.unwrap().unwrap()), Some(0));
        }
        for hanging in hanging {
            assert_eq!(code(&hanging.await.unwrap().unwrap()), Some(Code::DeadlineExceeded.into()));
        }
        assert!(!layer.slots.are_taken());
    }

    #[tokio::test]
    async fn a_call_waits_for_its_turn_and_is_refused_when_that_does_not_come() {
        let gate = Arc::new(tokio::sync::Notify::new());
        let held = Arc::clone(&gate);
        let slow = tower::service_fn(move |request: http::Request<Body>| {
            let held = Arc::clone(&held);
            async move {
                if request.into_body().collect().await.is_ok() {
                    held.notified().await;
                }
                Ok::<_, Infallible>(http::Response::new(Body::empty()))
            }
        });
        let service = ConcurrencyLayer::new(CallSlots::new(1, usize::MAX)).layer(slow);
        let call = || {
            let body = Body::new(http_body_util::Full::new(Bytes::from_static(b"x")));
            tokio::spawn(service.clone().oneshot(http::Request::builder().uri("/x.Y/Z").body(body).unwrap()))
        };
        let calls = [call(), call()];
        for call in calls {
            gate.notify_one();
            assert_eq!(code(&call.await.unwrap().unwrap()), None);
        }
        let first = call();
        tokio::task::yield_now().await;
        assert_eq!(code(&call().await.unwrap().unwrap()), Some(Code::ResourceExhausted.into()));
        gate.notify_one();
        assert_eq!(code(&first.await.unwrap().unwrap()), None);
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_work_has_ended() {
        let gate = Arc::new(tokio::sync::Notify::new());
        let held = Arc::clone(&gate);
        let working = tower::service_fn(move |request: http::Request<Body>| {
            let (held, slot) = (Arc::clone(&held), CallSlot::of(request.extensions()));
            let work = tokio::spawn(async move {
                held.notified().await;
                drop(slot);
            });
            async move {
                work.await.unwrap();
                let parts = ["x", "y"].map(|part| Ok::<_, Status>(Frame::data(Bytes::from(part))));
                Ok::<_, Infallible>(http::Response::new(Body::new(StreamBody::new(futures::stream::iter(parts)))))
            }
        });
        let layer = ConcurrencyLayer::new(CallSlots::new(1, usize::MAX));
        let call = || {
            layer.layer(working.clone()).oneshot(http::Request::builder().uri("/x.Y/Z").body(Body::empty()).unwrap())
        };
        // its caller leaves, its work goes on
        let left = tokio::spawn(call());
        tokio::task::yield_now().await;
        left.abort();
        left.await.unwrap_err();
        assert_eq!(code(&call().await.unwrap()), Some(Code::ResourceExhausted.into()));
        gate.notify_one();
        while layer.slots.are_taken() {
            tokio::task::yield_now().await;
        }
        // its work is done, its answer is not read to the end
        gate.notify_one();
        let mut unread = call().await.unwrap();
        unread.body_mut().frame().await.unwrap().unwrap();
        assert!(!layer.slots.are_taken());
        assert_eq!(unread.into_body().collect().await.unwrap().to_bytes(), "y");
    }

    #[tokio::test]
    async fn an_answer_that_is_still_made_holds_its_place() {
        let (parts, made) = tokio::sync::mpsc::unbounded_channel();
        let mut made = Some(made);
        let streaming = tower::service_fn(move |_: http::Request<Body>| {
            let made = tokio_stream::wrappers::UnboundedReceiverStream::new(made.take().unwrap());
            async { Ok::<_, Infallible>(http::Response::new(Body::new(StreamBody::new(made)))) }
        });
        let layer = ConcurrencyLayer::new(CallSlots::new(1, usize::MAX));
        let mut service = layer.layer(streaming);
        let answer = service.call(http::Request::builder().uri("/x.Y/Z").body(Body::empty()).unwrap());
        let mut body = answer.await.unwrap().into_body();
        for part in ["a", "b"] {
            parts.send(Ok::<_, Status>(Frame::data(Bytes::from(part)))).unwrap();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), part);
            assert!(layer.slots.are_taken());
        }
        drop(parts);
        assert!(body.frame().await.is_none());
        assert!(!layer.slots.are_taken());
    }
}
