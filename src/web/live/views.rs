//! Rendered views of the last snapshot, shared by all who look.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Bytes;
use axum::http::StatusCode;
use maud::Markup;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{json, layout, migration, overview};
use crate::watch::{Receiver, Snapshot};

/// Listeners at once: each holds a connection.
pub const LISTENERS: usize = 512;

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Pages count from 1; 0 is the first, too.
    Overview {
        page: usize,
    },
    Migration {
        keyspace: String,
        workflow: String,
        page: usize,
    },
}

/// A view, ready to be sent.
#[derive(Default)]
pub struct Rendered {
    pub page: Bytes,
    pub parts: Vec<Part>,
    /// The event that tells when this was seen.
    pub tick: Bytes,
}

/// An element of a view that is replaced when it changed.
pub struct Part {
    pub hash: u64,
    pub event: Bytes,
}

/// What a view consists of, before it is put together.
pub struct Content {
    pub title: String,
    /// Ids and elements, in their order.
    pub parts: Vec<(&'static str, Markup)>,
}

/// Renders views, each once for a snapshot.
pub struct Views {
    pub seen: Receiver,
    /// Places for listeners.
    pub places: Arc<Semaphore>,
    /// Where this is, for the head of the page.
    site: String,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    of: Arc<Snapshot>,
    views: HashMap<View, Arc<OnceLock<Arc<Rendered>>>>,
    summary: Arc<OnceLock<Bytes>>,
}

impl Views {
    /// Nothing is rendered yet. `site` names the cluster.
    pub fn new(seen: Receiver, site: String) -> Self {
        let made = Mutex::new(Made::default());
        Self { seen, places: Arc::new(Semaphore::new(LISTENERS)), site, made }
    }

    /// The last snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.seen.borrow())
    }

    /// A view of the last snapshot; 404 with a page that says so when there is no such migration.
    pub fn get(&self, view: &View) -> (StatusCode, Arc<Rendered>) {
        let snapshot = self.snapshot();
        let Some(view) = existing(&snapshot, view) else {
            let content = layout::missing(view);
            return (StatusCode::NOT_FOUND, Arc::new(put_together(&snapshot, view, &self.site, &content)));
        };
        let place = {
            let mut made = self.made_of(&snapshot);
            Arc::clone(made.views.entry(view.clone()).or_default())
        };
        let render = || {
            let content = match &view {
                View::Overview { page } => overview::content(&snapshot, *page),
                View::Migration { keyspace, workflow, page } => {
                    let found = migration::find(&snapshot, keyspace, workflow);
                    found.map_or_else(|| layout::missing(&view), |found| migration::content(&snapshot, found, *page))
                }
            };
            Arc::new(put_together(&snapshot, &view, &self.site, &content))
        };
        (StatusCode::OK, Arc::clone(place.get_or_init(render)))
    }

    /// The event that tells the last snapshot in short.
    pub fn summary(&self) -> Bytes {
        let snapshot = self.snapshot();
        let place = Arc::clone(&self.made_of(&snapshot).summary);
        let event = || event("snapshot", snapshot.sequence, &json::summary(&snapshot));
        place.get_or_init(event).clone()
    }

    /// What was rendered of a snapshot; that of older ones is forgotten.
    fn made_of(&self, snapshot: &Arc<Snapshot>) -> std::sync::MutexGuard<'_, Made> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&made.of, snapshot) {
            *made = Made { of: Arc::clone(snapshot), ..Made::default() };
        }
        made
    }
}

/// The view with a page that there is, so that what is kept is bounded; `None` without the migration.
fn existing(snapshot: &Snapshot, view: &View) -> Option<View> {
    let clamped = |page: usize, pages: usize| page.clamp(1, pages.max(1));
    Some(match view {
        View::Overview { page } => View::Overview { page: clamped(*page, overview::pages(snapshot)) },
        View::Migration { keyspace, workflow, page } => {
            let found = migration::find(snapshot, keyspace, workflow)?;
            let page = clamped(*page, migration::pages(found));
            View::Migration { keyspace: keyspace.clone(), workflow: workflow.clone(), page }
        }
    })
}

fn put_together(snapshot: &Snapshot, view: &View, site: &str, content: &Content) -> Rendered {
    let part = |(id, markup): &(&'static str, Markup)| {
        let mut hasher = DefaultHasher::new();
        (id, &markup.0).hash(&mut hasher);
        let event = event("part", snapshot.sequence, &json!({ "id": id, "html": markup.0 }));
        Part { hash: hasher.finish(), event }
    };
    let tick = json!({ "at": snapshot.taken_at, "title": content.title });
    Rendered {
        page: Bytes::from(layout::page(snapshot, view, site, content).into_string()),
        parts: content.parts.iter().map(part).collect(),
        tick: event("tick", snapshot.sequence, &tick),
    }
}

/// An event as it goes over the wire. JSON has no line ends.
fn event(name: &str, id: u64, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}
