//! Sends each call its way: to the service, to the fallback, or to both.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures::future::{BoxFuture, Either};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

use super::audit::Offered;
use super::collected::{self, collected};
use super::fallback::Fallback;
use super::routes::{self, Way};
use super::status::HAND_ON;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The layer before the services.
#[derive(Clone, Debug, Default)]
pub struct Router {
    fallback: Option<Arc<Fallback>>,
    hidden: Vec<&'static str>,
}

/// Services behind the table of ways.
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
        let Some((rpc, way)) = way(request.uri().path(), &self.hidden) else {
            return Either::Left(self.inner.call(request));
        };
        let Some(fallback) = self.fallback.clone() else {
            return match way {
                Way::Native => Either::Left(self.inner.call(request)),
                Way::Conditional(_) => {
                    let answer = self.inner.call(request);
                    Either::Right(Box::pin(async move { Ok(without_mark(answer.await?)) }))
                }
                Way::HandedOn => Either::Right(Box::pin(std::future::ready(Ok(not_served(&rpc).into_http())))),
            };
        };
        if way == Way::HandedOn || fallback.takes(&rpc) {
            return Either::Right(Box::pin(async move { Ok(fallback.forward(request).await) }));
        }
        if way != Way::Native {
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

/// RPC and way of a path of the vtctld services; other services are none of the table's.
fn way(path: &str, hidden: &[&str]) -> Option<(String, Way)> {
    let (service, rpc) = path.strip_prefix('/')?.split_once('/')?;
    match service {
        hid if hidden.contains(&hid) => None,
        "vtctlservice.Vtctld" => Some((rpc.to_owned(), routes::way(rpc))),
        "vtctlservice.Vtctl" => Some((rpc.to_owned(), Way::Conditional("commands that are known"))),
        _ => None,
    }
}

fn not_served(rpc: &str) -> Status {
    let shown: String = rpc.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    Status::unimplemented(format!(
        "vtctlservice.Vtctld/{shown} is not served by vtmigrated: name a stock vtctld of the same cluster with --fallback-vtctld-server, which it is then handed on to"
    ))
}

fn without_mark(mut response: Response) -> Response {
    response.headers_mut().remove(HAND_ON);
    response
}

/// Asks the service first; hands the same request on when the service says that the case is not its own.
async fn offer<S>(inner: S, fallback: &Fallback, request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(Offered);
    let whole = match collected(body, fallback.max_message()).await {
        Ok(whole) => whole,
        Err(status) => return Ok(status.into_http()),
    };
    let again = || Request::from_parts(parts.clone(), collected::body(whole.clone()));
    let response = inner.oneshot(again()).await?;
    if response.headers().contains_key(HAND_ON) {
        return Ok(fallback.forward(again()).await);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vtctld_services_are_looked_up() {
        assert_eq!(way("/vtctlservice.Vtctld/GetVSchema", &[]).map(|(_, way)| way), Some(Way::Native));
        assert_eq!(way("/vtctlservice.Vtctld/GetBackups", &[]).map(|(_, way)| way), Some(Way::HandedOn));
        assert!(way("/vtctlservice.Vtctl/ExecuteVtctlCommand", &[]).is_some());
        for other in ["/grpc.health.v1.Health/Check", "/", "", "/vtctlservice.Vtctld"] {
            assert_eq!(way(other, &[]), None, "{other}");
        }
        assert_eq!(way("/vtctlservice.Vtctld/GetBackups", &["vtctlservice.Vtctld"]), None);
    }
}
