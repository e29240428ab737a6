//! Advice as JSON, read-only: verdicts, leftovers, preflights, dry runs. Cleaning is by gRPC only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::error::{Code, Explain};
use crate::workflow::{Error, leftovers, verdict};

/// The routes under `/api`.
pub fn router() -> Router<Arc<Context>> {
    Router::new().route("/api/verdict/{keyspace}/{workflow}", get(judge)).route("/api/leftovers", get(find))
}

async fn judge(State(context): State<Arc<Context>>, Path((keyspace, workflow)): Path<(String, String)>) -> Response {
    answer(verdict::verdict(&context, &keyspace, &workflow).await)
}

/// `?keyspace=`: all when absent.
#[derive(Deserialize)]
struct Where {
    #[serde(default)]
    keyspace: String,
}

async fn find(State(context): State<Arc<Context>>, Query(of): Query<Where>) -> Response {
    let found = leftovers::find(&context, &of.keyspace).await;
    answer(found.map(|found| json!({ "summary": leftovers::summary(&found), "findings": found })))
}

/// 200 with the value, or the error's text, reason and help under the status that fits its code.
fn answer<T: Serialize>(result: Result<T, Error>) -> Response {
    let (status, body) = match result {
        Ok(value) => match serde_json::to_value(&value) {
            Ok(value) => (StatusCode::OK, value),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
        },
        Err(error) => {
            let body = json!({ "error": error.to_string(), "reason": error.reason(), "help": error.help() });
            (http(error.code()), body)
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn http(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
