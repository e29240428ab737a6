//! The beginning of a request that passes to another server, for its line.

use std::collections::VecDeque;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use snap::read::FrameDecoder;
use tonic::Status;
use tonic::body::Body;

use crate::server::sent_message::{HEAD, length};
use crate::snappy;

/// Bytes of a request that are looked at: names stand at its beginning. The first piece of snappy's stream has room there.
const MOST: usize = 80 << 10;
/// Bytes that are taken of a message that is compressed.
const DECODED: u64 = 64 << 10;

/// Waits for the beginning of a request's message and answers it, decompressed, and the same request. The beginning is
/// empty when there is none, or when it is compressed in a way that is not known here.
pub(super) async fn begin(request: http::Request<Body>) -> (http::Request<Body>, Vec<u8>) {
    let encoding = request.headers().get(snappy::ENCODING).and_then(|name| name.to_str().ok());
    let encoding = encoding.unwrap_or_default().to_owned();
    let (parts, mut rest) = request.into_parts();
    let (mut begin, mut passed) = (Vec::new(), VecDeque::new());
    while begin.len() < wanted(&begin)
        && let Some(frame) = rest.frame().await
    {
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        let goes_on = data.is_some();
        let room = MOST.saturating_sub(begin.len());
        begin.extend_from_slice(data.map(|data| data.get(..room).unwrap_or(data.as_ref())).unwrap_or_default());
        passed.push_back(frame);
        if !goes_on {
            break;
        }
    }
    let message = message(&begin, &encoding);
    (http::Request::from_parts(parts, Body::new(Replayed { passed, rest })), message)
}

/// Bytes of the first message with what stands before it, as far as it is looked at.
fn wanted(begin: &[u8]) -> usize {
    length(begin).map_or(HEAD, |length| length.saturating_add(HEAD).min(MOST))
}

fn message(begin: &[u8], encoding: &str) -> Vec<u8> {
    let Some(length) = length(begin) else { return Vec::new() };
    let rest = begin.get(HEAD..).unwrap_or_default();
    let message = rest.get(..length).unwrap_or(rest);
    match (begin.first(), encoding) {
        (Some(0), _) => message.to_vec(),
        (_, snappy::NAME) => read(FrameDecoder::new(message)),
        (_, "gzip") => read(GzDecoder::new(message)),
        _ => Vec::new(),
    }
}

/// The beginning of what was compressed. That it is cut off is no matter.
fn read(decoder: impl Read) -> Vec<u8> {
    let mut message = Vec::new();
    decoder.take(DECODED).read_to_end(&mut message).ok();
    message
}

/// A body whose first frames were looked at.
struct Replayed {
    passed: VecDeque<Result<Frame<Bytes>, Status>>,
    rest: Body,
}

impl http_body::Body for Replayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.passed.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.passed.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.passed.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::StreamBody;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[flag], length.as_slice(), message].concat()
    }

    #[tokio::test]
    async fn the_beginning_is_told_and_everything_passes() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|at| at.to_le_bytes()).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut snappy = snap::write::FrameEncoder::new(Vec::new());
        snappy.write_all(&text).unwrap();
        let snappy = snappy.into_inner().unwrap();
        let cases = [
            (framed(0, &text), "", &text[..MOST - HEAD]),
            (framed(0, b"short"), "gzip", b"short".as_slice()),
            (framed(1, &gzip), "gzip", &text[..50_000]),
            (framed(1, &snappy), "snappy", &text[..50_000]),
            (framed(1, b"x"), "zstd", [].as_slice()),
            (Vec::new(), "", [].as_slice()),
        ];
        for (sent, encoding, expected) in cases {
            for size in [1000, 1 << 20] {
                let frames: Vec<Result<_, Status>> =
                    sent.chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
                let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
                let request = http::Request::builder().header(snappy::ENCODING, encoding).body(body).unwrap();
                let (request, begin) = begin(request).await;
                assert!(begin.starts_with(expected), "{encoding} {size} {}", begin.len());
                assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), sent, "{encoding} {size}");
            }
        }
    }
}
