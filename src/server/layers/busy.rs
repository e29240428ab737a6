//! A bound on the calls that are served at once: more are answered RESOURCE_EXHAUSTED instead of being queued.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Bounds the calls under way.
#[derive(Clone)]
pub struct BusyLayer {
    places: Arc<Semaphore>,
}

impl BusyLayer {
    /// At most `calls` at once.
    pub fn new(calls: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))) }
    }
}

/// A service that serves so many calls at once.
#[derive(Clone)]
pub struct Bounded<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Layer<S> for BusyLayer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, places: Arc::clone(&self.places) }
    }
}

impl<S, R> Service<http::Request<R>> for Bounded<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        // health is what tells a balancer that the server is busy but alive
        let exempt = request.uri().path().starts_with("/grpc.health.v1.Health/");
        match Arc::clone(&self.places).try_acquire_owned() {
            Err(_) if !exempt => {
                let text = "the server serves as many calls as it may (--grpc-max-concurrent-calls): try again later";
                Box::pin(std::future::ready(Ok(Status::resource_exhausted(text).into_http())))
            }
            place => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let answered = answer.await;
                    drop(place);
                    answered
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn calls_beyond_the_bound_are_refused_and_health_is_not() {
        let gate = Arc::new(tokio::sync::Notify::new());
        let held = Arc::clone(&gate);
        let slow = tower::service_fn(move |request: http::Request<()>| {
            let held = Arc::clone(&held);
            async move {
                if request.uri().path() == "/slow" {
                    held.notified().await;
                }
                Ok::<_, Infallible>(http::Response::new(Body::empty()))
            }
        });
        let service = BusyLayer::new(1).layer(slow);
        let call = |path: &'static str| service.clone().oneshot(http::Request::builder().uri(path).body(()).unwrap());
        let first = tokio::spawn(call("/slow"));
        tokio::task::yield_now().await;
        let refused = call("/other").await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], i32::from(Code::ResourceExhausted).to_string().as_str());
        assert!(call("/grpc.health.v1.Health/Check").await.unwrap().headers().get("grpc-status").is_none());
        gate.notify_one();
        first.await.unwrap().unwrap();
        assert!(call("/other").await.unwrap().headers().get("grpc-status").is_none());
    }
}
