//! The body of an answer on its way through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::server::audit::Entry;

/// The frames as they come. When the fallback goes away before the end, the caller gets a status instead of a cut stream.
pub struct Relayed {
    inner: Body,
    address: Arc<str>,
    ended: bool,
    /// Written when the status is seen.
    line: Option<Entry>,
}

impl Relayed {
    pub fn new(inner: Body, address: Arc<str>, line: Option<Entry>) -> Self {
        Self { inner, address, ended: false, line }
    }

    fn see(&mut self, trailers: &http::HeaderMap) {
        if let Some(status) = Status::from_header_map(trailers)
            && let Some(line) = self.line.take()
        {
            line.end_with(status.code());
        }
    }

    fn trailers(&self, error: &Status) -> http::HeaderMap {
        let status = match error.code() {
            Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted => {
                Status::new(error.code(), error.message())
            }
            _ => super::unavailable(&self.address, &crate::error::with_cause(error.message(), error)),
        };
        let mut trailers = http::HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(i32::from(Code::Unavailable)));
        }
        trailers
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let Some(Err(error)) = frame else {
            if let Some(trailers) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref()) {
                self.see(trailers);
            }
            return Poll::Ready(frame);
        };
        self.ended = true;
        let trailers = self.trailers(&error);
        self.see(&trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_cut_ends_with_a_status() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x01a"))),
            Err(Status::new(Code::Unknown, "connection reset")),
        ];
        let cut = Body::new(StreamBody::new(tokio_stream::iter(frames)));
        let mut relayed = Relayed::new(cut, "h:1".into(), None);
        let data = relayed.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, Bytes::from_static(b"\0\0\0\0\x01a"));
        let trailers = relayed.frame().await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        let text = "the vtctld h:1 (--fallback-vtctld-server) does not answer: connection reset";
        assert_eq!(status.message(), text);
        assert!(relayed.frame().await.is_none() && relayed.is_end_stream());
    }
}
