//! Calls of the service that nearly all calls are for go straight to it. The routes of all services look their way up, note what
//! they found, and put the request's and the answer's body into two more each.

use std::convert::Infallible;
use std::task::{Context, Poll, ready};

use futures::future::Either;
use http::Method;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer, Service};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// Hands calls of one service to it, others on.
#[derive(Clone)]
pub struct ShortcutLayer<T>(Option<T>);

impl<T> ShortcutLayer<T> {
    /// All calls go on when it is `None`.
    pub fn new(service: Option<T>) -> Self {
        Self(service)
    }
}

/// One service before the routes of all.
#[derive(Clone)]
pub struct Shortcut<S, T> {
    inner: S,
    service: Option<T>,
}

impl<S, T: Clone> Layer<S> for ShortcutLayer<T> {
    type Service = Shortcut<S, T>;

    fn layer(&self, inner: S) -> Shortcut<S, T> {
        Shortcut { inner, service: self.0.clone() }
    }
}

impl<S, T> Service<Request> for Shortcut<S, T>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    T: Service<Request, Response = Response, Error = Infallible> + NamedService,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<T::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Some(service) = &mut self.service {
            ready!(service.poll_ready(cx))?;
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match &mut self.service {
            Some(service) if is_for(T::NAME, &request) => Either::Left(service.call(request)),
            _ => Either::Right(self.inner.call(request)),
        }
    }
}

/// True for a call of that service. Other methods than that of gRPC may have other answers.
fn is_for(service: &str, request: &Request) -> bool {
    let rest = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(service));
    let rpc = rest.and_then(|rest| rest.strip_prefix('/'));
    request.method() == Method::POST && rpc.is_some_and(|rpc| !rpc.is_empty())
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    /// A service that says so.
    #[derive(Clone)]
    struct Named;

    impl NamedService for Named {
        const NAME: &'static str = "a.B";
    }

    impl Service<Request> for Named {
        type Response = Response;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request) -> Self::Future {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("straight", http::HeaderValue::from_static("yes"));
            std::future::ready(Ok(response))
        }
    }

    #[tokio::test]
    async fn calls_of_the_service_go_straight_and_others_on() {
        let routes = tower::service_fn(|_: Request| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let goes_straight = async |service: Option<Named>, method: Method, path: &str| {
            let request = http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = ShortcutLayer::new(service).layer(routes).oneshot(request).await.unwrap();
            answer.headers().contains_key("straight")
        };
        assert!(goes_straight(Some(Named), Method::POST, "/a.B/C").await);
        assert!(!goes_straight(None, Method::POST, "/a.B/C").await);
        assert!(!goes_straight(Some(Named), Method::GET, "/a.B/C").await);
        for other in ["/a.B/", "/a.B", "/a.Bc/D", "/x/a.B/C", "/"] {
            assert!(!goes_straight(Some(Named), Method::POST, other).await, "{other}");
        }
    }
}
