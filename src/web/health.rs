//! Health: 200 `ok`, or 503 when the topology does not answer within two seconds.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use super::Pages;

const TIMEOUT: Duration = Duration::from_secs(2);

/// The process lives.
pub async fn alive() -> &'static str {
    "ok"
}

/// The process answers; stock says nothing more.
pub async fn liveness() {}

/// The topology answers.
pub async fn topology(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    match tokio::time::timeout(TIMEOUT, pages.context.topo.global().probe()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok".into()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ok: {error}")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ok: the topology does not answer".into()),
    }
}

/// The topology answers, and the program was not told to stop.
pub async fn ready(pages: State<Arc<Pages>>) -> (StatusCode, String) {
    if pages.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ok: stopping".into());
    }
    topology(pages).await
}
