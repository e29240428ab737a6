//! Counts calls, their times and how they ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use dashmap::DashSet;
use http::HeaderMap;
use http_body::Frame;
use std::sync::LazyLock;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Span;

use crate::telemetry::grpc_code;
use crate::telemetry::{metrics, traces};

/// Methods with numbers of their own: more than there are. The rest of them, made up by clients, count together.
const MOST_METHODS: usize = 400;
const OTHER: &str = "_OTHER";

static METHODS: LazyLock<DashSet<String>> = LazyLock::new(DashSet::new);

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
    method: String,
    start: Instant,
    code: Option<Code>,
    span: Option<Span>,
}

impl Call {
    fn begin(path: &str) -> Self {
        metrics::rpc_active(1);
        Self { method: path.trim_start_matches('/').to_owned(), start: Instant::now(), code: None, span: None }
    }

    fn see(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = Some(status.code());
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
        metrics::rpc(known(&self.method, code), grpc_code::name(code), self.start.elapsed());
    }
}

/// The method's name, if it may have numbers of its own.
fn known(method: &str, code: Code) -> &str {
    if METHODS.contains(method) {
        return method;
    }
    let exists =
        !matches!(code, Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied | Code::Cancelled);
    if !exists || METHODS.len() >= MOST_METHODS {
        return OTHER;
    }
    METHODS.insert(method.to_owned());
    method
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
        assert_eq!(known("a.B/Forged", Code::Unimplemented), OTHER);
        assert_eq!(known("a.B/Guessed", Code::PermissionDenied), OTHER);
        assert_eq!(known("a.B/Real", Code::NotFound), "a.B/Real");
        assert_eq!(known("a.B/Real", Code::PermissionDenied), "a.B/Real");
    }
}
