//! The code of requests that are larger than the limit: RESOURCE_EXHAUSTED, as grpc-go answers, where tonic says OUT_OF_RANGE.

use http::HeaderValue;
use tonic::Code;
use tonic::body::Body;
use tower::Layer;
use tower::util::MapResponse;

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Corrects the code of refused requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitsLayer;

type Response = http::Response<Body>;

impl<S> Layer<S> for LimitsLayer {
    type Service = MapResponse<S, fn(Response) -> Response>;

    fn layer(&self, inner: S) -> Self::Service {
        MapResponse::new(inner, correct_code)
    }
}

fn correct_code(mut response: Response) -> Response {
    if is_oversized(response.headers()) {
        response.headers_mut().insert(STATUS, HeaderValue::from(i32::from(Code::ResourceExhausted)));
    }
    response
}

fn is_oversized(headers: &http::HeaderMap) -> bool {
    // answers that are well have no code here
    if headers.get(STATUS).is_none_or(|code| Code::from_bytes(code.as_bytes()) != Code::OutOfRange) {
        return false;
    }
    let message = headers.get(MESSAGE).and_then(|text| text.to_str().ok()).unwrap_or_default();
    // blanks may be percent-encoded
    message.replace("%20", " ").contains("message length too large")
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
