//! Answers on their way: taken from the work as it makes them, and given to clients that take them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

use crate::guard::{Answer, Answers, Place};

/// So many bytes of an answer are taken from the work before its client has taken those before.
const AHEAD: usize = 1 << 20;

/// An answer's body, which holds the call's place until the work has ended, and tells whether its client takes it.
pub(super) struct Leaving {
    /// What the work still makes; none when it has ended.
    inner: Option<Body>,
    ahead: VecDeque<Result<Frame<Bytes>, Status>>,
    /// Bytes of what is ahead.
    bytes: usize,
    answer: Option<Answer>,
}

impl Leaving {
    pub(super) fn new(body: Body, answers: &Arc<Answers>, place: Place) -> Self {
        let answer = (!body.is_end_stream()).then(|| answers.begin(place));
        Self { inner: Some(body), ahead: VecDeque::new(), bytes: 0, answer }
    }

    /// Takes what the work has made, so that it may end.
    fn fetch(&mut self, cx: &mut Context<'_>) {
        while let Some(inner) = &mut self.inner
            && self.bytes < AHEAD
        {
            let Poll::Ready(made) = Pin::new(&mut *inner).poll_frame(cx) else { return };
            if made.as_ref().is_none_or(Result::is_err) || inner.is_end_stream() {
                self.inner = None;
                self.answer.iter().for_each(Answer::worked);
            }
            self.bytes += made.as_ref().map(length).unwrap_or_default();
            self.ahead.extend(made);
        }
    }
}

/// Bytes for which a client must have room.
fn length(made: &Result<Frame<Bytes>, Status>) -> usize {
    made.as_ref().ok().and_then(Frame::data_ref).map(Bytes::len).unwrap_or_default()
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.fetch(cx);
        let Some(next) = this.ahead.pop_front() else {
            if this.inner.is_some() {
                this.answer.iter().for_each(Answer::taken);
                return Poll::Pending;
            }
            this.answer = None;
            return Poll::Ready(None);
        };
        let (waiting, own) = (this.bytes, length(&next));
        this.bytes -= own;
        if own == 0 && this.is_end_stream() {
            // trailers need no room
            this.answer = None;
        } else if let Some(answer) = &this.answer {
            answer.offered(waiting);
        }
        Poll::Ready(Some(next))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.inner {
            Some(inner) if self.ahead.is_empty() => inner.size_hint(),
            _ => http_body::SizeHint::default(),
        }
    }
}
