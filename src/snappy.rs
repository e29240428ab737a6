//! Bodies of gRPC messages compressed with snappy's framed streams, as Vitess's Go programs send them; tonic has no snappy.
//!
//! A message is a flag (1: compressed), its length in four bytes, and its bytes. Bodies are rewritten message by message.

mod codec;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use codec::Direction;

/// The name in `grpc-encoding`.
pub const NAME: &str = "snappy";
pub const ENCODING: &str = "grpc-encoding";
pub const ACCEPT: &str = "grpc-accept-encoding";

/// True when messages of a request or response are compressed with snappy.
pub fn is_used(headers: &http::HeaderMap) -> bool {
    headers.get(ENCODING).is_some_and(|name| name.as_bytes() == NAME.as_bytes())
}

/// The header value of the name.
pub fn header() -> HeaderValue {
    HeaderValue::from_static(NAME)
}

/// Compresses every message of a body.
pub fn compress(body: Body) -> Body {
    Body::new(Rewritten::new(body, Direction::Compress))
}

/// Decompresses the messages of a body that are compressed. A message that would be larger than `max_message` bytes ends
/// the body with RESOURCE_EXHAUSTED.
pub fn decompress(body: Body, max_message: usize) -> Body {
    Body::new(Rewritten::new(body, Direction::Decompress { max_message }))
}

/// A body whose messages are rewritten on their way.
struct Rewritten {
    body: Body,
    direction: Direction,
    /// The beginning of a message that has not wholly come.
    pending: BytesMut,
    /// What follows the rewritten messages: trailers.
    last: Option<Frame<Bytes>>,
    ended: bool,
}

impl Rewritten {
    fn new(body: Body, direction: Direction) -> Self {
        Self { body, direction, pending: BytesMut::new(), last: None, ended: false }
    }
}

impl http_body::Body for Rewritten {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if self.ended {
                return Poll::Ready(self.last.take().map(Ok));
            }
            let this = &mut *self;
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.pending.extend_from_slice(&data);
                        match this.direction.rewrite(&mut this.pending) {
                            Ok(whole) if whole.is_empty() => {}
                            Ok(whole) => return Poll::Ready(Some(Ok(Frame::data(whole)))),
                            Err(status) => {
                                this.ended = true;
                                return Poll::Ready(Some(Err(status)));
                            }
                        }
                    }
                    Err(trailers) => this.end(Some(trailers)),
                },
                Some(Err(status)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None => this.end(None),
            }
            if self.ended && !self.pending.is_empty() {
                self.pending.clear();
                self.last = None;
                return Poll::Ready(Some(Err(Status::internal("the last message is cut off"))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.last.is_none() || self.pending.is_empty() && self.body.is_end_stream()
    }
}

impl Rewritten {
    fn end(&mut self, last: Option<Frame<Bytes>>) {
        self.ended = true;
        self.last = last;
    }
}

#[cfg(test)]
mod tests;
