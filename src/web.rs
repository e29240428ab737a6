//! Read-only HTTP.

mod health;
mod policy;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
pub use policy::{Policy, Role};

/// Settings of the pages.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub policy: Policy,
    /// What `/debug/config` shows. Secrets are masked already.
    pub settings: Vec<Setting>,
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
    /// Cancelled when the program was told to stop: it is not ready any more.
    pub stopping: CancellationToken,
}

/// Serves the pages until `ended`.
pub async fn serve(listener: TcpListener, pages: Pages, ended: CancellationToken) {
    let policy = pages.options.policy;
    let monitoring = Router::new()
        .route("/debug/health", get(health::topology))
        .layer(from_fn_with_state((policy, Role::Monitoring), policy::guard));
    let router = Router::new()
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::alive))
        .route("/debug/liveness", get(health::alive))
        .merge(monitoring)
        .with_state(Arc::new(pages));
    let served = axum::serve(listener, router).with_graceful_shutdown(ended.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!("the HTTP server failed: {error}");
    }
}
