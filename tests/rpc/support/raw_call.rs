//! Calls with messages as they are, which no type of ours has read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tower::Service;
use vtmigrated::snappy;
use vtmigrated::tablet::raw::Raw;

use crate::support::Lab;

/// Bound of an answer, in bytes.
const MESSAGE: usize = 64 << 20;

/// How a request's message is compressed.
#[derive(Clone, Copy, Debug)]
pub enum Compressed {
    Not,
    Gzip,
    Zstd,
    Snappy,
}

/// Calls an RPC of vtctld; answers the message.
pub async fn vtctld(lab: &Lab, rpc: &str, message: Vec<u8>, how: Compressed) -> Result<Bytes, Status> {
    let path = format!("/vtctlservice.Vtctld/{rpc}").parse().unwrap();
    let snappy = matches!(how, Compressed::Snappy);
    let mut client = Grpc::new(Wire { channel: lab.channel.clone(), snappy });
    client = match how {
        Compressed::Not | Compressed::Snappy => client,
        Compressed::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        Compressed::Zstd => client.send_compressed(CompressionEncoding::Zstd),
    };
    client = client.accept_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Zstd);
    client.ready().await.unwrap();
    client.unary(Request::new(Bytes::from(message)), path, Raw).await.map(tonic::Response::into_inner)
}

/// A channel whose messages are compressed as Go's programs do with `--grpc_compression=snappy`, when asked for.
#[derive(Clone)]
struct Wire {
    channel: Channel,
    snappy: bool,
}

type Answer = Result<http::Response<Body>, tonic::transport::Error>;

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if self.snappy {
            request.headers_mut().insert(snappy::ENCODING, snappy::header());
            request.headers_mut().insert(snappy::ACCEPT, snappy::header());
            request = request.map(snappy::compress);
        }
        let answer = self.channel.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if snappy::is_used(answer.headers()) {
                answer.headers_mut().remove(snappy::ENCODING);
                answer = answer.map(|body| snappy::decompress(body, MESSAGE));
            }
            Ok(answer)
        })
    }
}
