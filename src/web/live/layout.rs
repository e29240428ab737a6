//! What is around the parts of every view.

use maud::{DOCTYPE, Markup, html};

use super::text;
use super::views::{Content, View};
use super::widgets::{self, Tone};
use crate::watch::Snapshot;

/// The whole page.
pub fn page(snapshot: &Snapshot, view: &View, site: &str, content: &Content) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (content.title) }
                link rel="icon" href="/app/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/app/style.css";
                script src="/app/live.js" defer {}
                @if snapshot.interval > 0 {
                    noscript { meta http-equiv="refresh" content=(snapshot.interval.clamp(5, 300)); }
                }
            }
            body data-events=(events(view)) {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" {
                        (logo())
                        span { "vtmigrated" }
                    }
                    span.site title=(site) { (site) }
                    (live(snapshot))
                }
                main #main tabindex="-1" {
                    @for (id, markup) in &content.parts { div id=(id) .part { (markup) } }
                }
                footer {
                    nav aria-label="Other pages" {
                        a href="/" { "Overview" }
                        a href="/api/migrations" { "JSON" }
                        a href="/metrics" { "Metrics" }
                        a href="/debug/status" { "Server" }
                    }
                    p { "This page is read-only. Migrations are controlled with vtctldclient." }
                }
            }
        }
    }
}

/// Whether the page is up to date; the script keeps it so.
fn live(snapshot: &Snapshot) -> Markup {
    html! {
        p #live role="status" data-state="loaded" {
            span.dot aria-hidden="true" {}
            span.word {
                @if snapshot.interval == 0 { "not watching" } @else { "as of" }
            }
            " "
            @if snapshot.sequence > 0 { (text::moment(snapshot.taken_at)) }
        }
    }
}

fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="8" {}
            path d="M8 10.5 h7 M8 16 h5 M8 21.5 h7" {}
            path d="M17 16 h8 M21.5 12 l4 4 l-4 4" {}
        }
    }
}

fn events(view: &View) -> String {
    match view {
        View::Overview { page } => format!("/app/events?page={page}"),
        View::Migration { keyspace, workflow, page } => {
            format!("/app/events/{}/{}?page={page}", text::part(keyspace), text::part(workflow))
        }
    }
}

/// What makes everything on the page doubtful.
pub fn banner(snapshot: &Snapshot) -> Markup {
    html! {
        @if snapshot.interval == 0 {
            div class="problem warn" {
                p { strong { "The watcher is off" } }
                p.fix { span.do { "What to do" } "start this server with " code { "--watch-interval=10s" } }
            }
        } @else if snapshot.sequence == 0 {
            div class="problem quiet" { p { "Reading the cluster for the first time…" } }
        }
        @if let Some(problem) = &snapshot.problem {
            (widgets::problem("The topology of this cluster cannot be read: everything below is out of date", problem, Tone::Bad))
        }
        @for unread in snapshot.keyspaces.iter().take(10) {
            (widgets::problem(&format!("Keyspace {} cannot be read", unread.keyspace), &unread.problem, Tone::Warn))
        }
        @if snapshot.keyspaces.len() > 10 {
            p { "and " (snapshot.keyspaces.len() - 10) " more keyspaces" }
        }
    }
}

/// Links to pages of a list; nothing for a single one.
pub fn pager(label: &str, base: &str, page: usize, pages: usize) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager aria-label=(label) {
                @if page > 1 { a rel="prev" href={ (base) "?page=" (page - 1) } { "← Previous" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a rel="next" href={ (base) "?page=" (page + 1) } { "Next →" } }
            }
        }
    }
}

/// There is nothing at this address.
pub fn missing(view: &View) -> Content {
    let what = match view {
        View::Overview { .. } => "page".to_owned(),
        View::Migration { keyspace, workflow, .. } => {
            format!("migration {} in keyspace {}", text::short(workflow, 80), text::short(keyspace, 80))
        }
    };
    let markup = html! {
        h1 { "Not found" }
        p { "No " (what) " was seen. It may have ended long ago, or this server has not read it yet." }
        p { a href="/" { "All migrations" } }
    };
    Content { title: "Not found · vtmigrated".into(), parts: vec![("missing", markup)] }
}
