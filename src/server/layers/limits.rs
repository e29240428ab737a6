//! The code of requests that are larger than the limit: RESOURCE_EXHAUSTED, as grpc-go answers, where tonic says OUT_OF_RANGE.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderValue;
use tonic::Code;
use tower::{Layer, Service};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Mends the code of refused requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitsLayer;

/// A service whose oversized requests are answered with the right code.
#[derive(Clone, Debug)]
pub struct Limits<S> {
    inner: S,
}

impl<S> Layer<S> for LimitsLayer {
    type Service = Limits<S>;

    fn layer(&self, inner: S) -> Limits<S> {
        Limits { inner }
    }
}

impl<S, R, B> Service<http::Request<R>> for Limits<S>
where
    S: Service<http::Request<R>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if is_oversized(response.headers()) {
                response.headers_mut().insert(STATUS, HeaderValue::from(i32::from(Code::ResourceExhausted)));
            }
            Ok(response)
        })
    }
}

fn is_oversized(headers: &http::HeaderMap) -> bool {
    let code = HeaderValue::from(i32::from(Code::OutOfRange));
    let message = headers.get(MESSAGE).and_then(|text| text.to_str().ok()).unwrap_or_default();
    // blanks may be percent-encoded
    headers.get(STATUS) == Some(&code) && message.replace("%20", " ").contains("message length too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_requests_are_meant() {
        let headers = |code: i32, text: &str| {
            let status = tonic::Status::new(Code::from_i32(code), text);
            status.into_http::<tonic::body::Body>().headers().clone()
        };
        let text = "Error, decoded message length too large: found 18 bytes, the limit is: 16 bytes";
        assert!(is_oversized(&headers(11, text)));
        assert!(!is_oversized(&headers(3, text)));
        assert!(!is_oversized(&headers(11, "something else")));
    }
}
