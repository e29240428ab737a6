//! Requests that are read whole before they go on.

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic::body::Body;

/// What stands before a message.
const HEAD: usize = 5;

/// The whole body of a request with one message of at most `max_message` bytes.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` for a larger one, as grpc-go answers; what the connection failed with.
pub async fn collect(mut body: Body, max_message: usize) -> Result<Bytes, Status> {
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        // trailers say nothing here
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + more.len() + data.len() > max_message.saturating_add(HEAD) {
            return Err(Status::resource_exhausted(format!("grpc: received message larger than max ({max_message})")));
        }
        // nearly all come in one part, which is not copied
        if first.is_empty() {
            first = data;
        } else {
            more.extend_from_slice(&data);
        }
    }
    if more.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + more.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&more);
    Ok(whole.freeze())
}

/// The body that was collected.
pub fn body(whole: Bytes) -> Body {
    Body::new(Full::new(whole))
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn a_request_is_whole_in_whatever_parts_it_comes() {
        let request = |parts: &[&'static str]| {
            let data = |part: &&'static str| Ok::<_, Status>(Frame::data(Bytes::from_static(part.as_bytes())));
            let mut frames: Vec<_> = parts.iter().map(data).collect();
            frames.push(Ok(Frame::trailers(http::HeaderMap::new())));
            Body::new(StreamBody::new(futures::stream::iter(frames)))
        };
        for parts in [&["", "head message"][..], &["head", " ", "", "message"], &["head message", ""]] {
            assert_eq!(collect(request(parts), 7).await.unwrap(), "head message", "{parts:?}");
            let refused = collect(request(parts), 6).await.unwrap_err();
            assert_eq!(refused.message(), "grpc: received message larger than max (6)");
            assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        }
        assert!(collect(request(&[]), 0).await.unwrap().is_empty());
        assert!(collect(Body::empty(), 0).await.unwrap().is_empty());
        let broken = futures::stream::iter([Err::<Frame<Bytes>, _>(Status::data_loss("broken"))]);
        let error = collect(Body::new(StreamBody::new(broken)), 7).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (tonic::Code::DataLoss, "broken"));
        assert_eq!(collect(body(Bytes::from_static(b"again")), 7).await.unwrap(), "again");
    }
}
