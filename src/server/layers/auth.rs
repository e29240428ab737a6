//! Lets callers in by name and role; what is behind finds the [`Caller`] in the request's extensions.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::Either;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::guard::listen::Peer;
use crate::guard::{Caller, Denial, Gate, Role};
use crate::server::{audit, rpcs};

/// Checks every call.
#[derive(Clone)]
pub struct AuthLayer {
    gate: Gate,
}

impl AuthLayer {
    /// Lets in whom `gate` does.
    pub fn new(gate: Gate) -> Self {
        Self { gate }
    }

    /// Who calls, if he may.
    fn admit<R>(&self, request: &http::Request<R>) -> Result<Caller, Status> {
        let rpc = request.uri().path().trim_start_matches('/');
        let needs = rpcs::role(rpc);
        if needs == Role::None {
            return Ok(Caller::default());
        }
        let peer = request.extensions().get::<Peer>();
        self.gate.admit(peer, request.headers(), needs, rpc).map_err(|denial| {
            let text = denial.to_string();
            match &denial {
                Denial::Unknown(refusal) if refusal.is_unauthenticated() => Status::unauthenticated(text),
                Denial::Unknown(_) => Status::permission_denied(text),
                Denial::Role { caller, .. } => {
                    audit::refused(caller, peer, rpc);
                    Status::permission_denied(text)
                }
            }
        })
    }
}

/// A service behind the check.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> Layer<S> for AuthLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, layer: self.clone() }
    }
}

impl<S, R> Service<http::Request<R>> for Guarded<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, std::future::Ready<Result<S::Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<R>) -> Self::Future {
        match self.layer.admit(&request) {
            Ok(caller) => {
                if self.layer.gate.asks_passwords() {
                    // it has done its work, and nothing behind may show it
                    request.headers_mut().remove("password");
                }
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(status) => Either::Right(std::future::ready(Ok(status.into_http()))),
        }
    }
}
