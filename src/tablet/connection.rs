//! A connection to a tablet: calls carry the context of their trace; with snappy when asked for.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::transport::{Channel, Error};
use tower::Service;
use tower::util::BoxCloneSyncService;

use crate::snappy;
use crate::telemetry::traces;

/// The gRPC services of a tablet that lives in this process.
pub type InProcess = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

#[derive(Clone, Debug)]
enum Way {
    Channel(Channel),
    InProcess(InProcess),
}

/// A channel whose requests may be compressed.
#[derive(Clone, Debug)]
pub struct Connection {
    way: Way,
    snappy: bool,
    max_message: usize,
}

impl Connection {
    pub(super) fn new(channel: Channel, snappy: bool, max_message: usize) -> Self {
        Self { way: Way::Channel(channel), snappy, max_message }
    }

    /// No bytes are sent: each request is handed over.
    pub(super) fn in_process(services: InProcess) -> Self {
        Self { way: Way::InProcess(services), snappy: false, max_message: usize::MAX }
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.way {
            Way::Channel(channel) => channel.poll_ready(cx),
            Way::InProcess(services) => services.poll_ready(cx).map_err(|never| match never {}),
        }
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        traces::inject(request.headers_mut());
        let channel = match &mut self.way {
            Way::Channel(channel) => channel,
            Way::InProcess(services) => {
                let answer = services.call(request);
                return Box::pin(async move { answer.await.map_err(|never| match never {}) });
            }
        };
        if !self.snappy {
            return Box::pin(channel.call(request));
        }
        request.headers_mut().insert(snappy::ENCODING, snappy::header());
        request.headers_mut().insert(snappy::ACCEPT, snappy::header());
        let answer = channel.call(request.map(snappy::compress));
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
