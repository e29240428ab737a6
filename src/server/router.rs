//! Sends each call along its route: to the service, to the fallback, or to both.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures::future::{BoxFuture, Either};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

use super::audit::Offered;
use super::fallback::Fallback;
use super::request_body::{self, collect};
use super::rpcs::{self, Route};
use super::status::FORWARD;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The layer before the services.
#[derive(Clone, Debug, Default)]
pub struct Router {
    fallback: Option<Arc<Fallback>>,
    hidden: Vec<&'static str>,
}

/// Services behind the table of RPCs.
#[derive(Clone, Debug)]
pub struct Routed<S> {
    inner: S,
    fallback: Option<Arc<Fallback>>,
    hidden: Arc<[&'static str]>,
}

impl Router {
    /// Without a fallback, what is not served is UNIMPLEMENTED.
    pub fn new(fallback: Option<Arc<Fallback>>) -> Self {
        Self { fallback, hidden: Vec::new() }
    }

    /// Services that are not offered: their calls go on as they are, to be refused.
    pub fn hiding(mut self, services: Vec<&'static str>) -> Self {
        self.hidden = services;
        self
    }
}

impl<S> Layer<S> for Router {
    type Service = Routed<S>;

    fn layer(&self, inner: S) -> Routed<S> {
        Routed { inner, fallback: self.fallback.clone(), hidden: self.hidden.clone().into() }
    }
}

impl<S> Service<Request> for Routed<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some((rpc, route)) = route(request.uri().path(), &self.hidden) else {
            return Either::Left(self.inner.call(request));
        };
        let Some(fallback) = self.fallback.clone() else {
            return match route {
                Route::Native => Either::Left(self.inner.call(request)),
                Route::Conditional(_) => {
                    let answer = self.inner.call(request);
                    Either::Right(Box::pin(async move { Ok(without_mark(answer.await?)) }))
                }
                Route::Forwarded => Either::Right(Box::pin(std::future::ready(Ok(not_served(&rpc).into_http())))),
            };
        };
        if route == Route::Forwarded || fallback.takes(&rpc) {
            return Either::Right(Box::pin(async move { Ok(fallback.forward(request).await) }));
        }
        if route != Route::Native {
            let inner = self.inner.clone();
            return Either::Right(Box::pin(async move { offer(inner, &fallback, request).await }));
        }
        match fallback.shadow() {
            Some(shadow) if shadow.watches(&rpc) => {
                let (request, watch) = shadow.watch(&fallback, rpc, request);
                let answer = self.inner.call(request);
                Either::Right(Box::pin(async move { Ok(watch.answered(answer.await?)) }))
            }
            _ => Either::Left(self.inner.call(request)),
        }
    }
}

/// RPC and route of a path of the vtctld's services; other services are served as they are.
fn route(path: &str, hidden: &[&str]) -> Option<(String, Route)> {
    let (service, rpc) = path.strip_prefix('/')?.split_once('/')?;
    if hidden.contains(&service) {
        return None;
    }
    Some((rpc.to_owned(), rpcs::route_in(service, rpc)?))
}

fn not_served(rpc: &str) -> Status {
    let shown: String = rpc.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    Status::unimplemented(format!(
        "vtctlservice.Vtctld/{shown} is not served by vtmigrated: to forward it, name a stock vtctld of the same \
         cluster with --fallback-vtctld-server"
    ))
}

fn without_mark(mut response: Response) -> Response {
    response.headers_mut().remove(FORWARD);
    response
}

/// Asks the service first; forwards the same request when the service says that the case is not its own.
async fn offer<S>(inner: S, fallback: &Fallback, request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(Offered);
    let whole = match collect(body, fallback.max_message()).await {
        Ok(whole) => whole,
        Err(status) => return Ok(status.into_http()),
    };
    let again = || Request::from_parts(parts.clone(), request_body::body(whole.clone()));
    let response = inner.oneshot(again()).await?;
    if response.headers().contains_key(FORWARD) {
        return Ok(fallback.forward(again()).await);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vtctld_services_are_looked_up() {
        assert_eq!(route("/vtctlservice.Vtctld/GetVSchema", &[]).map(|(_, route)| route), Some(Route::Native));
        assert_eq!(route("/vtctlservice.Vtctld/GetBackups", &[]).map(|(_, route)| route), Some(Route::Forwarded));
        assert!(route("/vtctlservice.Vtctl/ExecuteVtctlCommand", &[]).is_some());
        for other in ["/grpc.health.v1.Health/Check", "/", "", "/vtctlservice.Vtctld"] {
            assert_eq!(route(other, &[]), None, "{other}");
        }
        assert_eq!(route("/vtctlservice.Vtctld/GetBackups", &["vtctlservice.Vtctld"]), None);
    }
}
