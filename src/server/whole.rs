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

tokio::task_local! {
    static MESSAGE: Option<Bytes>;
}

/// The body of a request, as far as it was read.
#[derive(Clone, Debug)]
pub struct Whole {
    data: Arc<Mutex<BytesMut>>,
    compressed: Option<Compression>,
}

/// What tonic decompresses. Snappy was decompressed before.
#[derive(Clone, Copy, Debug)]
enum Compression {
    Gzip,
    Zstd,
}

impl Whole {
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
        let whole = Self { data: Arc::default(), compressed };
        request.extensions_mut().insert(whole.clone());
        request.map(|inner| Body::new(Copied { inner, whole }))
    }

    /// The message of a request that was read and decoded; `None` when it was not kept.
    pub fn message(extensions: &http::Extensions) -> Option<Bytes> {
        let whole = extensions.get::<Self>()?;
        let mut data = std::mem::take(&mut *whole.data.lock().unwrap_or_else(PoisonError::into_inner));
        let head = (data.len() >= 5).then(|| data.split_to(5))?;
        let length: [u8; 4] = head.get(1..)?.try_into().ok()?;
        if usize::try_from(u32::from_be_bytes(length)).ok()? != data.len() {
            return None;
        }
        match head.first() {
            Some(0) => Some(data.freeze()),
            _ => whole.compressed?.decompress(&data),
        }
    }
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
    whole: Whole,
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.whole.data.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
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
