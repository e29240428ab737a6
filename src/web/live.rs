//! The status page: mounts and migrations as the watcher sees them, drawn on the server, kept up to date by pushed events.
//!
//! A view is rendered once for each snapshot, when somebody first looks at it; all who look share the bytes. Its parts are
//! elements with an id; an event carries those that changed, and a small script puts them in their places. Without the
//! script the page reloads itself. Everything that was not written here is escaped, and no script or style within the page
//! would run: the policy of its headers forbids both.

mod chart;
mod events;
mod json;
mod layout;
mod migration;
mod overview;
mod stream_diagram;
mod tables;
mod text;
mod timeline;
mod views;
mod way_back;
mod widgets;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use views::View;
pub use views::Views;

use super::Pages;

/// What the page may do: load from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The routes of the page and of its data.
pub fn router() -> Router<Arc<Pages>> {
    Router::new()
        .route("/", get(overview))
        .route("/app", get(overview))
        .route("/app/{keyspace}/{workflow}", get(migration))
        .route("/app/style.css", get(style))
        .route("/app/live.js", get(script))
        .route("/app/icon.svg", get(icon))
        .route("/app/events", get(overview_events))
        .route("/app/events/{keyspace}/{workflow}", get(migration_events))
        .route("/api/mounts", get(json::mounts))
        .route("/api/migrations", get(json::migrations))
        .route("/api/migrations/{keyspace}/{workflow}", get(json::migration))
        .route("/api/events", get(events::summaries))
}

/// `?page=`, from 1.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    page: usize,
}

/// Names of a migration as the address has them.
type Names = Path<(String, String)>;

async fn overview(State(pages): State<Arc<Pages>>, Query(Page { page }): Query<Page>) -> Response {
    answer(&pages, &View::Overview { page })
}

async fn migration(
    State(pages): State<Arc<Pages>>,
    Path((keyspace, workflow)): Names,
    Query(Page { page }): Query<Page>,
) -> Response {
    answer(&pages, &View::Migration { keyspace, workflow, page })
}

fn answer(pages: &Pages, view: &View) -> Response {
    let (status, rendered) = pages.views.get(view);
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (status, headers, rendered.page.clone()).into_response()
}

async fn overview_events(State(pages): State<Arc<Pages>>, Query(Page { page }): Query<Page>) -> Response {
    events::parts(&pages, View::Overview { page })
}

async fn migration_events(
    State(pages): State<Arc<Pages>>,
    Path((keyspace, workflow)): Names,
    Query(Page { page }): Query<Page>,
) -> Response {
    events::parts(&pages, View::Migration { keyspace, workflow, page })
}

/// Too many are looking already.
fn busy() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], "too many listeners\n").into_response()
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("live/style.css"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("live/live.js"))
}

async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("live/icon.svg"))
}

#[cfg(test)]
mod tests;
