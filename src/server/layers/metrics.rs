//! Counts calls, their times and how they ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use dashmap::DashSet;
use http::HeaderMap;
use http_body::Frame;
use std::sync::{Arc, LazyLock};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Span;

use crate::telemetry::grpc_code;
use crate::telemetry::{metrics, traces};

/// Methods with numbers of their own: more than there are. The rest of them, made up by clients, count together.
const MOST_METHODS: usize = 400;
const OTHER: &str = "_OTHER";
const STATUS: &str = "grpc-status";

/// Methods that had numbers of their own; there is no way out of it.
static METHODS: LazyLock<DashSet<Arc<str>>> = LazyLock::new(DashSet::new);

/// Measures every call.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsLayer;

/// A service whose calls are measured.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    inner: S,
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured { inner }
    }
}

impl<S, R> Service<http::Request<R>> for Measured<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let mut call = Call::begin(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            call.span = response.extensions_mut().remove();
            call.see(response.headers());
            Ok(response.map(|body| Body::new(Watched { body, call })))
        })
    }
}

/// A call under way. It is counted when it is dropped: as cancelled, if no status was seen.
struct Call {
    method: Method,
    start: Instant,
    code: Option<Code>,
    span: Option<Span>,
}

impl Call {
    fn begin(path: &str) -> Self {
        metrics::rpc_active(1);
        Self { method: Method::of(path.trim_start_matches('/')), start: Instant::now(), code: None, span: None }
    }

    fn see(&mut self, headers: &HeaderMap) {
        // the rest of a status would be decoded and copied for nothing
        if let Some(code) = headers.get(STATUS) {
            self.code = Some(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        if let Some(span) = &self.span {
            traces::served(span, code);
        }
        metrics::rpc_active(-1);
        metrics::rpc(self.method.counted(code), grpc_code::name(code), self.start.elapsed());
    }
}

/// What is called, by the name in the path.
struct Method {
    name: Arc<str>,
    /// It has numbers of its own.
    is_known: bool,
}

impl Method {
    fn of(name: &str) -> Self {
        match METHODS.get(name) {
            Some(known) => Self { name: Arc::clone(known.key()), is_known: true },
            None => Self { name: name.into(), is_known: false },
        }
    }

    /// The name by which a call that ended so is counted: the method's own, if it may have numbers of its own.
    fn counted(&self, code: Code) -> Arc<str> {
        if self.is_known || METHODS.contains(&*self.name) {
            return Arc::clone(&self.name);
        }
        let exists =
            !matches!(code, Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::Cancelled);
        if !exists || METHODS.len() >= MOST_METHODS {
            return OTHER.into();
        }
        METHODS.insert(Arc::clone(&self.name));
        Arc::clone(&self.name)
    }
}

/// A body whose trailers tell how the call ended.
struct Watched {
    body: Body,
    call: Call,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.see(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_methods_count_together() {
        let counted = |name: &str, code| Method::of(name).counted(code).to_string();
        assert_eq!(counted("a.B/Forged", Code::Unimplemented), OTHER);
        assert_eq!(counted("a.B/Guessed", Code::PermissionDenied), OTHER);
        let early = Method::of("a.B/Real");
        assert_eq!(counted("a.B/Real", Code::NotFound), "a.B/Real");
        assert_eq!(counted("a.B/Real", Code::PermissionDenied), "a.B/Real");
        assert_eq!(&*early.counted(Code::Cancelled), "a.B/Real");
    }

    #[test]
    fn the_code_is_read_as_it_is_written() {
        for code in (0..17).map(Code::from_i32) {
            let mut call = Call::begin("/a.B/C");
            call.see(Status::new(code, "a text").into_http::<Body>().headers());
            assert_eq!(call.code, Some(code));
            // what has none says nothing of it
            call.see(&HeaderMap::new());
            assert_eq!(call.code, Some(code));
        }
    }
}
