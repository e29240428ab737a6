//! Server-sent events: the parts of a view that changed, or each snapshot in short.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::busy;
use super::views::View;
use crate::web::Pages;

/// After so long without news a comment is sent, so that dead connections are noticed.
const ALIVE: Duration = Duration::from_secs(15);
/// How long a listener that does not read is kept.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// The listener's end of the stream.
type Sink = mpsc::Sender<Bytes>;

/// The parts of a view: all at first, then those that changed with a snapshot.
pub fn parts(pages: &Arc<Pages>, view: View) -> Response {
    let (status, _) = pages.views.get(&view);
    if status != StatusCode::OK {
        return status.into_response();
    }
    let pages = Arc::clone(pages);
    let mut shown: Vec<u64> = Vec::new();
    stream(&Arc::clone(&pages), move || {
        let (status, rendered) = pages.views.get(&view);
        if status != StatusCode::OK {
            return vec![Bytes::from_static(b"event: gone\ndata: {}\n\n")];
        }
        let changed = rendered.parts.iter().filter(|part| !shown.contains(&part.hash));
        let mut news: Vec<Bytes> = changed.map(|part| part.event.clone()).collect();
        news.push(rendered.tick.clone());
        shown = rendered.parts.iter().map(|part| part.hash).collect();
        news
    })
}

/// Each snapshot in short.
pub async fn summaries(State(pages): State<Arc<Pages>>) -> Response {
    let of = Arc::clone(&pages);
    stream(&pages, move || vec![of.views.summary()])
}

/// Sends `news` now and with every snapshot, until the listener is gone or the program stops.
fn stream(pages: &Arc<Pages>, mut news: impl FnMut() -> Vec<Bytes> + Send + 'static) -> Response {
    let Ok(place) = Arc::clone(&pages.views.places).try_acquire_owned() else { return busy() };
    let (sink, listener) = mpsc::channel(4);
    let (mut seen, stopping) = (pages.views.seen.clone(), pages.stopping.clone());
    let feed = async move {
        let _place = place;
        seen.mark_changed();
        loop {
            let known = tokio::time::timeout(ALIVE, seen.changed()).await;
            let batch = match known {
                Ok(Ok(())) => {
                    seen.borrow_and_update();
                    news()
                }
                Err(_) => vec![Bytes::from_static(b": alive\n\n")],
                // nobody watches any more
                Ok(Err(_)) => break,
            };
            if send(&sink, batch).await.is_none() {
                break;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = feed => {}
            () = stopping.cancelled() => {}
        }
    });
    let events = ReceiverStream::new(listener).map(Ok::<_, Infallible>);
    // the browser tries again after so many milliseconds
    let first = tokio_stream::once(Ok(Bytes::from_static(b"retry: 2000\n\n")));
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Body::from_stream(first.chain(events))).into_response()
}

/// `None` when the listener is gone, or does not read.
async fn send(sink: &Sink, batch: Vec<Bytes>) -> Option<()> {
    for event in batch {
        sink.send_timeout(event, SEND_TIMEOUT).await.ok()?;
    }
    Some(())
}
