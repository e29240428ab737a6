//! Requests that are read whole before they go on.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tonic::Status;
use tonic::body::Body;

/// What stands before a message.
const HEAD: usize = 5;

/// The whole body of a request with one message of at most `max_message` bytes.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` for a larger one, as grpc-go answers; what the connection failed with.
pub async fn collected(body: Body, max_message: usize) -> Result<Bytes, Status> {
    match Limited::new(body, max_message.saturating_add(HEAD)).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::resource_exhausted(format!("grpc: received message larger than max ({max_message})")))
        }
        Err(error) => Err(Status::from_error(error)),
    }
}

/// The body that was collected.
pub fn body(whole: Bytes) -> Body {
    Body::new(Full::new(whole))
}
