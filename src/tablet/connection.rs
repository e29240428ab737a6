//! A connection to a tablet: calls carry the context of their trace; with snappy when asked for.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower::Service;

use crate::snappy;
use crate::telemetry::traces;

/// A channel whose requests may be compressed.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    snappy: bool,
    max_message: usize,
}

impl Connection {
    pub(super) fn new(channel: Channel, snappy: bool, max_message: usize) -> Self {
        Self { channel, snappy, max_message }
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        traces::inject(request.headers_mut());
        if !self.snappy {
            return Box::pin(self.channel.call(request));
        }
        request.headers_mut().insert(snappy::ENCODING, snappy::header());
        request.headers_mut().insert(snappy::ACCEPT, snappy::header());
        let answer = self.channel.call(request.map(snappy::compress));
        let max_message = self.max_message;
        Box::pin(async move {
            let mut response = answer.await?;
            if snappy::is_used(response.headers()) {
                response.headers_mut().remove(snappy::ENCODING);
                response = response.map(|body| snappy::decompress(body, max_message));
            }
            Ok(response)
        })
    }
}
