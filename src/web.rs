//! Read-only HTTP.

mod api;
mod health;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Serves the pages until `stopped`.
pub async fn serve(listener: TcpListener, context: Arc<Context>, stopped: CancellationToken) {
    let router = Router::new()
        .route("/debug/health", get(health::topology))
        .route("/readyz", get(health::topology))
        .route("/healthz", get(health::alive))
        .route("/debug/liveness", get(health::alive))
        .merge(api::router())
        .with_state(context);
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!("the HTTP server failed: {error}");
    }
}
