//! Read-only HTTP.

mod health;
mod shadow;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::telemetry::shadow::Counts;

/// Serves the pages until `stopped`.
pub async fn serve(listener: TcpListener, context: Arc<Context>, shadow: Arc<Counts>, stopped: CancellationToken) {
    let router = Router::new()
        .route("/debug/health", get(health::topology))
        .route("/readyz", get(health::topology))
        .route("/healthz", get(health::alive))
        .route("/debug/liveness", get(health::alive))
        .with_state(context)
        .route("/debug/shadow", get(shadow::counts).with_state(shadow));
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!("the HTTP server failed: {error}");
    }
}
