//! The services of a light tablet. Messages stay bytes, so that what was answered once is answered again without encoding.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tower::Service;
use vtmigrated::tablet::raw::Raw;

use super::tablet::Tablet;
use crate::client::MESSAGE_LIMIT;

/// The services of a tablet.
#[derive(Clone)]
pub struct Serving(pub Arc<Tablet>);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Serving {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let tablet = Arc::clone(&self.0);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let mut grpc = Grpc::new(Raw).apply_max_message_size_config(Some(MESSAGE_LIMIT), Some(MESSAGE_LIMIT));
            Ok(match path.strip_prefix("/tabletmanagerservice.TabletManager/") {
                Some(method) => grpc.unary(Manager { tablet, method: method.to_owned() }, request).await,
                None if path == "/queryservice.Query/StreamHealth" => {
                    grpc.server_streaming(Health(tablet), request).await
                }
                None if path == "/queryservice.Query/Execute" => grpc.unary(Statement(tablet), request).await,
                None => Status::unimplemented(format!("a light tablet has no {path}")).into_http(),
            })
        })
    }
}

/// A call of the tablet manager.
struct Manager {
    tablet: Arc<Tablet>,
    method: String,
}

impl UnaryService<Bytes> for Manager {
    type Response = Bytes;
    type Future = Boxed<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (tablet, method) = (Arc::clone(&self.tablet), self.method.clone());
        Box::pin(async move { tablet.answer(&method, request.into_inner()).await.map(Response::new) })
    }
}

/// The tablet's health, said once.
struct Health(Arc<Tablet>);

impl ServerStreamingService<Bytes> for Health {
    type Response = Bytes;
    type ResponseStream = tokio_stream::Once<Result<Bytes, Status>>;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let tablet = Arc::clone(&self.0);
        Box::pin(async move { tablet.health().await.map(|health| Response::new(tokio_stream::once(Ok(health)))) })
    }
}

/// A statement of a client.
struct Statement(Arc<Tablet>);

impl UnaryService<Bytes> for Statement {
    type Response = Bytes;
    type Future = Boxed<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let tablet = Arc::clone(&self.0);
        Box::pin(async move { tablet.execute().await.map(Response::new) })
    }
}
