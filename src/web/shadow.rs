//! What shadow mode has found, as JSON: calls by RPC and outcome.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Pages;

/// `{"GetKeyspaces": {"same": 3, "different": 0, "failed": 0, "skipped": 0}}`.
pub async fn counts(State(pages): State<Arc<Pages>>) -> Response {
    let json = serde_json::to_string_pretty(&pages.shadow.all()).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}
