//! The bytes of requests whose messages are stored: what newer clients say in them is stored too, as Go's programs do.

use std::io::Read;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::snappy;
use crate::topo::wire;

/// RPCs whose requests are kept: those with a message that becomes a part of a record.
pub const KEPT: [&str; 11] = [
    "AddCellInfo",
    "ApplyKeyspaceRoutingRules",
    "ApplyRoutingRules",
    "ApplyShardRoutingRules",
    "ApplyVSchema",
    "CreateKeyspace",
    "ShardReplicationAdd",
    "SourceShardAdd",
    "UpdateCellInfo",
    "UpdateCellsAlias",
    "UpdateThrottlerConfig",
];

/// What stands before a message: whether it is compressed, and its length.
pub const HEAD: usize = 5;

tokio::task_local! {
    static MESSAGE: Option<Bytes>;
}

/// The body of a request, as far as it was read.
#[derive(Clone, Debug)]
pub struct SentMessage {
    data: Arc<Mutex<BytesMut>>,
    compressed: Option<Compression>,
}

/// What tonic decompresses. Snappy was decompressed before.
#[derive(Clone, Copy, Debug)]
enum Compression {
    Gzip,
    Zstd,
}

impl SentMessage {
    /// The request with its body kept while it is read, if its RPC is one of those.
    pub fn keep(mut request: http::Request<Body>) -> http::Request<Body> {
        let path = request.uri().path();
        if !path.strip_prefix("/vtctlservice.Vtctld/").is_some_and(|rpc| KEPT.contains(&rpc)) {
            return request;
        }
        let compressed = match request.headers().get(snappy::ENCODING).map(http::HeaderValue::as_bytes) {
            Some(b"gzip") => Some(Compression::Gzip),
            Some(b"zstd") => Some(Compression::Zstd),
            _ => None,
        };
        let sent = Self { data: Arc::default(), compressed };
        request.extensions_mut().insert(sent.clone());
        request.map(|inner| Body::new(Copied { inner, sent }))
    }

    /// Keeps what passes, as long as it may be of the message. What comes behind one is read and dropped, and nobody bounds it:
    /// of that, only so much is kept as came with the first of it. tonic has refused what is beyond its bound by then.
    fn keep_more(&self, passing: &[u8]) {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if length(&data).is_none_or(|length| data.len().saturating_sub(HEAD) <= length) {
            data.extend_from_slice(passing);
        }
    }

    /// The message of a request that was read and decoded; `None` when it was not kept, or not the only one.
    pub fn message(extensions: &http::Extensions) -> Option<Bytes> {
        let sent = extensions.get::<Self>()?;
        let data = std::mem::take(&mut *sent.data.lock().unwrap_or_else(PoisonError::into_inner));
        let (is_compressed, message) = only(data)?;
        if is_compressed { sent.compressed?.decompress(&message) } else { Some(message) }
    }
}

/// The length of the message that begins there, as soon as it is told.
pub fn length(data: &[u8]) -> Option<usize> {
    let length: [u8; 4] = data.get(1..HEAD)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

/// Whether the one message of a body is compressed, and the message; `None` when it is cut off, or not the only one.
pub fn only(mut data: BytesMut) -> Option<(bool, Bytes)> {
    let length = length(&data)?;
    let head = data.split_to(HEAD);
    (length == data.len()).then(|| (head.first() != Some(&0), data.freeze()))
}

impl Compression {
    /// The message, which tonic has decompressed within its bound before.
    fn decompress(self, data: &[u8]) -> Option<Bytes> {
        let mut message = Vec::new();
        match self {
            Self::Gzip => GzDecoder::new(data).read_to_end(&mut message).ok()?,
            Self::Zstd => zstd::stream::read::Decoder::new(data).ok()?.read_to_end(&mut message).ok()?,
        };
        Some(message.into())
    }
}

/// Runs the work on a request whose message was kept, or was not.
pub async fn scope<F: Future>(message: Option<Bytes>, work: F) -> F::Output {
    MESSAGE.scope(message, work).await
}

/// The message in a field of the request that is worked on, as it was sent; `None` when it was not kept.
pub fn field(number: u32) -> Option<Bytes> {
    let message = MESSAGE.try_with(Clone::clone).ok().flatten()?;
    wire::fields(&message).ok()?.into_iter().rfind(|field| field.number == number)?.payload
}

/// A body that is copied while it passes.
struct Copied {
    inner: Body,
    sent: SentMessage,
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.keep_more(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Reads a request of these parts; answers how much of it was kept, and its message.
    async fn read(parts: Vec<Vec<u8>>) -> (usize, Option<Bytes>) {
        let frames = parts.into_iter().map(|part| Ok::<_, Status>(Frame::data(Bytes::from(part))));
        let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
        let uri = "/vtctlservice.Vtctld/AddCellInfo";
        let (parts, body) = SentMessage::keep(http::Request::builder().uri(uri).body(body).unwrap()).into_parts();
        body.collect().await.unwrap();
        let kept = parts.extensions.get::<SentMessage>().unwrap().data.lock().unwrap().len();
        (kept, SentMessage::message(&parts.extensions))
    }

    #[tokio::test]
    async fn a_message_is_kept_in_whatever_parts_it_comes() {
        let message = Some(Bytes::from_static(b"ab"));
        assert_eq!(read(vec![b"\0\0\0\0\x02ab".to_vec()]).await, (7, message.clone()));
        let parts = [&b"\0\0"[..], b"", b"\0\0\x02", b"a", b"b", b""];
        assert_eq!(read(parts.map(<[u8]>::to_vec).to_vec()).await, (7, message));
        assert_eq!(read(vec![b"\0\0\0\0\0".to_vec()]).await, (5, Some(Bytes::new())));
        assert_eq!(read(vec![b"\0\0\0\0\x02a".to_vec()]).await, (6, None));
    }

    /// Whoever asks for one message reads all that come behind it, to find the end.
    #[tokio::test]
    async fn what_comes_behind_a_message_is_not_kept() {
        let mut parts = vec![b"\0\0\0\0\x02ab".to_vec()];
        parts.extend((0..100).map(|_| vec![0; 1000]));
        assert_eq!(read(parts).await, (1007, None));
    }
}
