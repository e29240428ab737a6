//! Lets callers in by name and role; what is behind finds the [`Caller`] in the request's extensions.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::guard::listen::Peer;
use crate::guard::{Auth, Caller, Role, Roles, Watched, class};
use crate::server::audit;

/// Checks every call.
#[derive(Clone)]
pub struct AuthLayer {
    auth: Arc<Auth>,
    roles: Option<Arc<Watched<Roles>>>,
}

impl AuthLayer {
    /// Without `roles` everybody who is let in may do everything.
    pub fn new(auth: Auth, roles: Option<Arc<Watched<Roles>>>) -> Self {
        Self { auth: Arc::new(auth), roles }
    }

    /// Who calls, if he may.
    fn admit<R>(&self, request: &http::Request<R>) -> Result<Caller, Status> {
        let rpc = request.uri().path().trim_start_matches('/');
        if class(rpc) == Role::None {
            return Ok(Caller::default());
        }
        let peer = request.extensions().get::<Peer>();
        let caller = self.auth.check(peer, request.headers()).map_err(|refusal| {
            let text = refusal.to_string();
            if refusal.is_unauthenticated() { Status::unauthenticated(text) } else { Status::permission_denied(text) }
        })?;
        let Some(roles) = &self.roles else { return Ok(caller) };
        let (has, needs) = (roles.get().of(&caller), class(rpc));
        if has >= needs {
            return Ok(caller);
        }
        audit::refused(&caller, peer, rpc);
        let (name, has, needs) = (shown(&caller), word(has), word(needs));
        Err(Status::permission_denied(format!(
            "caller {name:?} has the role {has}, and {rpc} needs {needs}\nan administrator changes that in the roles file of the server"
        )))
    }
}

fn shown(caller: &Caller) -> &str {
    if caller.name.is_empty() { "anonymous" } else { &caller.name }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::None => "none",
        Role::Read => "read",
        Role::Operate => "operate",
        Role::Admin => "admin",
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
                if matches!(*self.layer.auth, Auth::Static(_)) {
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
