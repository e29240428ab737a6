//! Read-only HTTP: health, variables, metrics, flags. Addresses and texts are those that tools know from vtctld.

mod access;
mod api;
mod headers;
mod health;
mod listen;
mod live;
mod policy;
mod request_limits;
mod shadow;
mod status;
mod variables;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::guard::tls::Tls;
use crate::guard::{Gate, Watched};
use crate::telemetry::shadow::Counts;
pub use live::Views;
pub use policy::{Policy, Role};

/// Settings of the pages.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub policy: Policy,
    /// Pages are for everybody, whoever may call over gRPC.
    pub open: bool,
    /// What `/debug/config` shows. Secrets are masked already.
    pub settings: Vec<Setting>,
    /// The command line, secrets masked.
    pub command_line: Vec<String>,
    /// The server's cell; empty when not told.
    pub cell: String,
}

/// A flag as it is in effect.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// Where the value is from: `default`, `file`, `environment` or `command line`.
    pub origin: &'static str,
    pub has_effect: bool,
}

/// What the pages are made of.
#[derive(Clone)]
pub struct Pages {
    pub context: Arc<Context>,
    pub options: Options,
    pub started: Instant,
    /// Cancelled when the program was told to stop: it is not ready any more.
    pub stopping: CancellationToken,
    /// What shadow mode has found.
    pub shadow: Arc<Counts>,
    /// Who may see pages, if not everybody.
    pub callers: Option<Gate>,
    /// What the watcher sees, drawn.
    pub views: Arc<Views>,
}

/// Serves the pages until `ended`, over TLS too when there is a certificate.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Watched<Tls>>>, pages: Pages, ended: CancellationToken) {
    let spare = listen::Spare(probes().with_state(Arc::new(pages.clone())));
    listen::serve(listener, tls, router(pages), spare, ended).await;
}

/// What tells a supervisor how the program is: for everybody, at any time.
fn probes() -> Router<Arc<Pages>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/debug/liveness", get(health::liveness))
}

/// All pages. Policies are about those that they are about in stock: variables and metrics are for everybody, as is health; the
/// rest is for those who may read over gRPC.
fn router(pages: Pages) -> Router {
    let guard = |role| from_fn_with_state((pages.options.policy, role), policy::guard);
    let callers = from_fn_with_state(pages.callers.clone(), access::check);
    let bounds = from_fn_with_state(request_limits::RequestLimits::default(), request_limits::keep);
    let monitoring = Router::new().route("/debug/health", get(health::topology)).layer(guard(Role::Monitoring));
    let debugging = Router::new()
        .route("/debug/status", get(status::page))
        .route("/debug/status.css", get(status::style))
        .route("/debug/config", get(variables::config))
        .route("/debug/shadow", get(shadow::counts))
        .layer(callers.clone())
        .layer(guard(Role::Debugging));
    let advice = api::router().layer(bounds).merge(live::router()).layer(callers).layer(guard(Role::Monitoring));
    probes()
        .route("/debug/vars", get(variables::vars))
        .route("/metrics", get(variables::metrics))
        .merge(monitoring)
        .merge(debugging)
        .merge(advice)
        .layer(from_fn(headers::secure))
        .with_state(Arc::new(pages))
}

#[cfg(test)]
mod tests;
