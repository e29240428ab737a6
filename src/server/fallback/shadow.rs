//! Shadow mode: a call that reads is answered here and asked at the fallback, too; differences are logged and counted.
//!
//! The caller waits for nothing of it: both bodies are copied while they pass, and the fallback is asked on a task of its
//! own, bounded in time and number.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::sync::{Semaphore, oneshot};
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::Instrument;

use super::Fallback;
use super::compare::differences;
use crate::server::sent_message::{HEAD, only};
use crate::telemetry::shadow::{Counts, Outcome};

/// How long an answer of the fallback is waited for.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls that are asked there at a time; further ones are left out.
const AT_ONCE: usize = 16;

/// What is asked in both places.
#[derive(Debug)]
pub struct Shadow {
    rpcs: BTreeSet<String>,
    slots: Arc<Semaphore>,
    counts: Arc<Counts>,
}

/// A call that is watched: it waits for the answer given here.
pub struct Watch {
    answered: Option<(oneshot::Sender<Recorded>, usize)>,
}

/// A body that has passed.
#[derive(Debug, Default)]
struct Recorded {
    data: BytesMut,
    /// Headers and trailers: one of them holds the status.
    headers: HeaderMap,
}

impl Shadow {
    pub(super) fn new(rpcs: BTreeSet<String>, counts: Arc<Counts>) -> Self {
        Self { rpcs, slots: Arc::new(Semaphore::new(AT_ONCE)), counts }
    }

    /// True for RPCs of `--shadow-rpcs`.
    pub fn watches(&self, rpc: &str) -> bool {
        self.rpcs.contains(rpc)
    }

    /// The same request, to be answered here while the fallback is asked.
    pub fn watch(
        &self,
        fallback: &Arc<Fallback>,
        rpc: String,
        request: http::Request<Body>,
    ) -> (http::Request<Body>, Watch) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            self.counts.add(&rpc, Outcome::Skipped);
            return (request, Watch { answered: None });
        };
        let limit = fallback.max_message();
        let (parts, body) = request.into_parts();
        let mut copy = http::Request::new(());
        copy.uri_mut().clone_from(&parts.uri);
        *copy.method_mut() = parts.method.clone();
        copy.headers_mut().clone_from(&parts.headers);
        // the answer has to be read here
        copy.headers_mut().remove("grpc-accept-encoding");
        let (asked, request_read) = oneshot::channel();
        let (answered, answer_sent) = oneshot::channel();
        let body = Copied::new(body, Recorded::default(), limit, asked);
        let (fallback, counts) = (Arc::clone(fallback), Arc::clone(&self.counts));
        let judged = async move {
            let _slot = slot;
            let judged = judge(&fallback, &rpc, copy, request_read, answer_sent);
            let verdict = tokio::time::timeout(COMPARE_TIMEOUT, judged).await;
            let verdict = verdict.unwrap_or_else(|_| Verdict::Failed("no answer in time".into()));
            counts.add(&rpc, verdict.outcome());
            verdict.log(&rpc);
        };
        tokio::spawn(judged.in_current_span());
        (http::Request::from_parts(parts, Body::new(body)), Watch { answered: Some((answered, limit)) })
    }
}

impl Watch {
    /// The same response, to be compared when it has passed.
    pub fn answered(self, response: http::Response<Body>) -> http::Response<Body> {
        let Some((answered, limit)) = self.answered else { return response };
        let whole = Recorded { headers: response.headers().clone(), ..Recorded::default() };
        response.map(|body| Body::new(Copied::new(body, whole, limit, answered)))
    }
}

enum Verdict {
    Same,
    Different(Vec<String>),
    /// The fallback did not answer.
    Failed(String),
    /// There was nothing to compare.
    Skipped,
}

impl Verdict {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Same => Outcome::Same,
            Self::Different(_) => Outcome::Different,
            Self::Failed(_) => Outcome::Failed,
            Self::Skipped => Outcome::Skipped,
        }
    }

    fn log(&self, rpc: &str) {
        match self {
            Self::Different(paths) => {
                let fields = paths.join(", ");
                tracing::warn!(rpc.method = rpc, fields, "the fallback's response differs");
            }
            Self::Failed(why) => tracing::warn!(rpc.method = rpc, "cannot compare with the fallback: {why}"),
            Self::Same | Self::Skipped => {}
        }
    }
}

async fn judge(
    fallback: &Fallback,
    rpc: &str,
    copy: http::Request<()>,
    request_read: oneshot::Receiver<Recorded>,
    answer_sent: oneshot::Receiver<Recorded>,
) -> Verdict {
    let Ok(asked) = request_read.await else { return Verdict::Skipped };
    let request = copy.map(|()| Body::new(Full::new(asked.data.freeze())));
    let theirs = async {
        let response = fallback.send(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, fallback.max_message().saturating_add(HEAD)).collect().await;
        let body = body.map_err(Status::from_error)?;
        let mut headers = parts.headers;
        headers.extend(body.trailers().cloned().unwrap_or_default());
        Ok(Recorded { data: body.to_bytes().into(), headers })
    };
    let theirs: Result<Recorded, Status> = theirs.await;
    let Ok(ours) = answer_sent.await else { return Verdict::Skipped };
    match theirs {
        Ok(theirs) => compare(rpc, ours, theirs),
        Err(status) => Verdict::Failed(status.message().to_owned()),
    }
}

fn compare(rpc: &str, ours: Recorded, theirs: Recorded) -> Verdict {
    let status = |whole: &Recorded| Status::from_header_map(&whole.headers).unwrap_or_else(|| Status::unknown(""));
    let (our_status, their_status) = (status(&ours), status(&theirs));
    match (our_status.code(), their_status.code()) {
        (Code::Ok, Code::Ok) => {}
        (_, Code::Unavailable) => return Verdict::Failed(their_status.message().to_owned()),
        (Code::Ok, _) | (_, Code::Ok) => return Verdict::Different(vec!["status".into()]),
        // stock has one code for nearly everything, and ours goes on where its text ends
        (ours, theirs) if ours == theirs || theirs == Code::Unknown => {
            // the first line of ours may be joined with the next one
            let words = |status: &Status| status.message().split_whitespace().collect::<Vec<_>>().join(" ");
            let same = words(&our_status).starts_with(&words(&their_status));
            return if same { Verdict::Same } else { Verdict::Different(vec!["error text".into()]) };
        }
        _ => return Verdict::Different(vec!["status".into()]),
    }
    let Some(descriptor) = answer_of(rpc) else { return Verdict::Skipped };
    let (Some(ours), Some(theirs)) = (message(ours.data, &descriptor), message(theirs.data, &descriptor)) else {
        return Verdict::Skipped;
    };
    let found = differences(&ours, &theirs);
    if found.is_empty() { Verdict::Same } else { Verdict::Different(found) }
}

fn answer_of(rpc: &str) -> Option<MessageDescriptor> {
    let service = crate::topo::json::pool()?.get_service_by_name("vtctlservice.Vtctld")?;
    service.methods().find(|method| method.name() == rpc).map(|method| method.output())
}

/// The one message of a body; `None` when it is compressed or is none.
fn message(data: BytesMut, descriptor: &MessageDescriptor) -> Option<DynamicMessage> {
    let (is_compressed, message) = only(data)?;
    (!is_compressed).then(|| DynamicMessage::decode(descriptor.clone(), message).ok())?
}

/// A body that is copied while it passes. The copy is sent at the end; it is not when the body is cut or too long.
struct Copied {
    inner: Body,
    whole: Recorded,
    room: usize,
    ended: bool,
    done: Option<oneshot::Sender<Recorded>>,
}

impl Copied {
    fn new(inner: Body, whole: Recorded, limit: usize, done: oneshot::Sender<Recorded>) -> Self {
        let ended = inner.is_end_stream();
        Self { inner, whole, room: limit.saturating_add(HEAD), ended, done: Some(done) }
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            match self.room.checked_sub(data.len()) {
                Some(room) if self.done.is_some() => {
                    self.room = room;
                    self.whole.data.extend_from_slice(data);
                }
                _ => {
                    self.done = None;
                    self.whole = Recorded::default();
                }
            }
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.ended = true;
            self.whole.headers.extend(trailers.clone());
        }
    }

    fn finish(&mut self) {
        if let Some(done) = self.done.take() {
            done.send(std::mem::take(&mut self.whole)).ok();
        }
    }
}

impl HttpBody for Copied {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.keep(frame),
            Some(Err(_)) => self.done = None,
            None => self.ended = true,
        }
        if self.ended {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // who reads a body need not ask once more when it says that it ended
        if self.ended || self.inner.is_end_stream() {
            self.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtmigrated_proto::vtctldata::MountListResponse;

    use super::*;

    fn whole(code: Code, text: &str, names: &[&str]) -> Recorded {
        let message =
            MountListResponse { names: names.iter().map(|name| (*name).to_owned()).collect() }.encode_to_vec();
        let mut data = BytesMut::from([0, 0, 0, 0, u8::try_from(message.len()).unwrap()].as_slice());
        data.extend_from_slice(&message);
        let mut headers = HeaderMap::new();
        Status::new(code, text).add_header(&mut headers).unwrap();
        Recorded { data, headers }
    }

    fn verdict(ours: Recorded, theirs: Recorded) -> String {
        match compare("MountList", ours, theirs) {
            Verdict::Same => "same".into(),
            Verdict::Different(paths) => paths.join(","),
            Verdict::Failed(why) => format!("failed: {why}"),
            Verdict::Skipped => "skipped".into(),
        }
    }

    #[test]
    fn answers_and_errors_are_compared_as_clients_see_them() {
        let ok = |names: &[&str]| whole(Code::Ok, "", names);
        assert_eq!(verdict(ok(&["a", "b"]), ok(&["b", "a"])), "same");
        assert_eq!(verdict(ok(&["a"]), ok(&["b"])), "names[0]");
        let error = |code, text| whole(code, text, &[]);
        let theirs = || error(Code::Unknown, "there is no vitess cluster named x");
        assert_eq!(
            verdict(error(Code::NotFound, "there is no vitess cluster named x\nsee Mount list"), theirs()),
            "same"
        );
        assert_eq!(verdict(error(Code::NotFound, "no x"), theirs()), "error text");
        let lines = error(Code::Unknown, "they differ:\n  here");
        assert_eq!(verdict(error(Code::NotFound, "they differ: here\nmend it"), lines), "same");
        assert_eq!(verdict(ok(&[]), theirs()), "status");
        assert_eq!(verdict(error(Code::NotFound, "x"), error(Code::Internal, "x")), "status");
        assert_eq!(verdict(ok(&[]), error(Code::Unavailable, "gone")), "failed: gone");
        let mut compressed = ok(&["a"]);
        compressed.data[0] = 1;
        assert_eq!(verdict(compressed, ok(&["a"])), "skipped");
    }

    #[tokio::test]
    async fn a_body_that_is_cut_or_too_long_is_not_compared() {
        let body = |frames: Vec<Result<Frame<Bytes>, Status>>| {
            Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames)))
        };
        let data = || Ok(Frame::data(Bytes::from_static(b"12345678")));
        let (done, sent) = oneshot::channel();
        let copied = Copied::new(body(vec![data(), data()]), Recorded::default(), 11, done);
        assert_eq!(copied.collect().await.unwrap().to_bytes().len(), 16);
        assert_eq!(sent.await.unwrap().data.len(), 16);
        for (frames, limit) in [(vec![data(), data()], 10), (vec![data(), Err(Status::unknown("cut"))], 100)] {
            let (done, sent) = oneshot::channel();
            Copied::new(body(frames), Recorded::default(), limit, done).collect().await.ok();
            assert!(sent.await.is_err());
        }
        let (done, sent) = oneshot::channel();
        drop(Copied::new(body(vec![data()]), Recorded::default(), 100, done));
        assert!(sent.await.is_err(), "nobody has read it");
    }
}
