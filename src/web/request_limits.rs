//! RequestLimits of what requests make the server do: how much at once, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::deadline;
use crate::error::Reason;

/// Requests that are worked on at once.
const AT_ONCE: usize = 8;
/// The work for one takes at most so long.
const LIMIT: Duration = Duration::from_secs(60);
/// So much longer it may take to say what did not answer.
const GRACE: Duration = Duration::from_secs(5);

/// Places of requests, and their time.
#[derive(Clone)]
pub struct RequestLimits {
    places: Arc<Semaphore>,
    limit: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), limit: LIMIT }
    }
}

/// Answers a request within the bounds; 503 when too many are worked on, 504 when the time is over.
pub async fn keep(
    State(RequestLimits { places, limit }): State<RequestLimits>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.try_acquire() else {
        let text = format!("too many concurrent requests of /api ({AT_ONCE}): try again later");
        return failure(StatusCode::SERVICE_UNAVAILABLE, &text, Reason::BUSY);
    };
    let work = deadline::scope(Some(Instant::now() + limit), next.run(request));
    match tokio::time::timeout(limit + GRACE, work).await {
        Ok(response) => response,
        Err(_) => {
            let text = format!("no answer within {} s", limit.as_secs());
            failure(StatusCode::GATEWAY_TIMEOUT, &text, Reason::DEADLINE_EXCEEDED)
        }
    }
}

fn failure(status: StatusCode, text: &str, reason: Reason) -> Response {
    let body = json!({ "error": text, "reason": reason, "help": "" });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn work_is_bounded_in_number_and_in_time() {
        let bounds = RequestLimits { limit: Duration::from_secs(1), ..RequestLimits::default() };
        let told = || async {
            // what is asked below knows the time
            assert!(deadline::current().is_some());
            std::future::pending::<()>().await;
        };
        let router = Router::new().route("/", get(told)).layer(from_fn_with_state(bounds, keep));
        let ask = || {
            let request = Request::get("/").body(Body::empty()).unwrap();
            tokio::spawn(router.clone().oneshot(request))
        };
        let slow: Vec<_> = (0..AT_ONCE).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        assert_eq!(ask().await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        for slow in slow {
            assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
        }
    }
}
