//! `/debug/status`: what this server is and what it works on. Everything in it is escaped.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use jiff::{SignedDuration, Timestamp, Unit};
use maud::{DOCTYPE, Markup, html};

use super::{Pages, health};
use crate::host;
use crate::telemetry::build;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font-family: sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
th { text-align: left; font-weight: normal; padding-right: 2rem; vertical-align: top; opacity: 0.75; }
td { overflow-wrap: anywhere; }
";

/// The style sheet: the headers of the page forbid styles within it.
pub async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// The page. It is there whether or not the topology answers.
pub async fn page(State(pages): State<Arc<Pages>>) -> Html<String> {
    let (_, health) = health::topology(State(Arc::clone(&pages))).await;
    Html(render(&pages, &health).into_string())
}

fn render(pages: &Pages, health: &str) -> Markup {
    let (kind, server, root) = pages.context.topo.global().endpoint();
    let uptime = SignedDuration::try_from(pages.started.elapsed()).unwrap_or_default();
    let started = Timestamp::now().checked_sub(uptime).unwrap_or_default();
    let started = started.round(Unit::Second).unwrap_or(started);
    let rows = [
        ("Started", started.to_string()),
        ("Running on", host::name().unwrap_or_default()),
        ("Version", build::version()),
        ("Cell", pages.options.cell.clone()),
        ("Topology", format!("{kind} {server} {root}")),
        ("Health", health.to_owned()),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "Status for vtctld" }
                link rel="stylesheet" href="/debug/status.css";
            }
            body {
                h1 { "Status for vtctld" }
                table {
                    @for (name, value) in rows {
                        tr { th scope="row" { (name) } td { (value) } }
                    }
                }
                p {
                    "View: "
                    a href="/debug/vars" { "variables" } ", "
                    a href="/metrics" { "metrics" } ", "
                    a href="/debug/config" { "flags" } ", "
                    a href="/debug/health" { "health" }
                }
            }
        }
    }
}
