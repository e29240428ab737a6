//! Compression of calls: an answer is compressed the way its request was, as grpc-go does; snappy besides tonic's own.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderValue;
use http::header::HeaderName;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::snappy;

static ENCODING: HeaderName = HeaderName::from_static(snappy::ENCODING);
static ACCEPT: HeaderName = HeaderName::from_static(snappy::ACCEPT);

/// What is taken, for clients.
const TAKEN: &str = "gzip,zstd,snappy";

/// Understands snappy.
#[derive(Clone, Copy, Debug)]
pub struct CompressionLayer {
    max_message: usize,
}

impl CompressionLayer {
    /// Messages may have `max_message` bytes when they are decompressed.
    pub fn new(max_message: usize) -> Self {
        Self { max_message }
    }
}

/// A service whose clients may use snappy.
#[derive(Clone, Debug)]
pub struct Compression<S> {
    inner: S,
    max_message: usize,
}

impl<S> Layer<S> for CompressionLayer {
    type Service = Compression<S>;

    fn layer(&self, inner: S) -> Compression<S> {
        Compression { inner, max_message: self.max_message }
    }
}

impl<S> Service<http::Request<Body>> for Compression<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let headers = request.headers_mut();
        let snappy = snappy::is_used(headers);
        if snappy {
            headers.remove(&ENCODING);
            headers.remove(&ACCEPT);
            let max_message = self.max_message;
            request = request.map(|body| snappy::decompress(body, max_message));
        } else {
            // tonic compresses by what a client takes, and Go's and Java's take everything they know
            match headers.get(&ENCODING).cloned() {
                Some(encoding) => headers.insert(&ACCEPT, encoding),
                None => headers.remove(&ACCEPT),
            };
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            response.headers_mut().insert(&ACCEPT, HeaderValue::from_static(TAKEN));
            if snappy && !response.headers().contains_key("grpc-status") {
                response.headers_mut().insert(&ENCODING, snappy::header());
                response = response.map(snappy::compress);
            }
            Ok(response)
        })
    }
}
