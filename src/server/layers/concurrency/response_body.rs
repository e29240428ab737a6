//! Answers on their way: taken from the work as it makes them, and given to clients that take them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;

use crate::guard::{Answer, Answers, CallSlot};

/// So many bytes of an answer are taken from the work before its client has taken those before.
const AHEAD: usize = 1 << 20;
/// So many of them are given to HTTP/2 at once: it takes what it is given whole when there is room for a byte. What it has got counts
/// until it drops it.
const PART: usize = 16 << 10;

/// An answer's body, which holds the call's slot until the work has ended, and tells whether its client takes it.
pub(super) struct ResponseBody {
    /// What the work still makes; none when it has ended.
    inner: Option<Body>,
    ahead: VecDeque<Result<Frame<Bytes>, Status>>,
    /// Bytes of what is ahead.
    bytes: usize,
    answer: Option<Answer>,
}

impl ResponseBody {
    pub(super) fn new(body: Body, answers: &Arc<Answers>, slot: CallSlot) -> Self {
        let answer = (!body.is_end_stream()).then(|| answers.begin(slot));
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

    /// The next part for the client.
    fn part(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        Some(match self.ahead.pop_front()?.map(Frame::into_data) {
            Ok(Ok(mut data)) => {
                if data.len() > PART {
                    self.ahead.push_front(Ok(Frame::data(data.split_off(PART))));
                }
                self.bytes -= data.len();
                Ok(Frame::data(match &self.answer {
                    Some(answer) => answer.give(data, self.bytes),
                    None => data,
                }))
            }
            Ok(Err(trailers)) => Ok(trailers),
            Err(status) => Err(status),
        })
    }
}

/// Bytes for which a client must have room.
fn length(made: &Result<Frame<Bytes>, Status>) -> usize {
    made.as_ref().ok().and_then(Frame::data_ref).map(Bytes::len).unwrap_or_default()
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.fetch(cx);
        let Some(next) = this.part() else {
            if this.inner.is_some() {
                this.answer.iter().for_each(Answer::taken);
                return Poll::Pending;
            }
            this.answer = None;
            return Poll::Ready(None);
        };
        if length(&next) == 0 && this.is_end_stream() {
            // trailers need no room
            this.answer = None;
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

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_given_in_parts() {
        for (size, expected) in [(40_000, vec![16_384, 16_384, 7232]), (16_385, vec![16_384, 1]), (9, vec![9])] {
            let body = Body::new(Full::new(Bytes::from(vec![b'x'; size])));
            let mut leaving = ResponseBody::new(body, &Arc::default(), CallSlot::default());
            let mut parts = Vec::new();
            while let Some(part) = leaving.frame().await {
                parts.push(part.unwrap().into_data().unwrap().len());
            }
            assert_eq!(parts, expected);
        }
    }
}
