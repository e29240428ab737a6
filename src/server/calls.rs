//! How calls run: those that read, those that change something, those that tell events.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::events::{Ends, Events};
use super::status::logged;
use super::{audit, sent_message};
use crate::context::Context;
use crate::deadline;
use crate::error::Explain;
use crate::guard::CallSlot;

/// Events that wait for a caller to read them.
const EVENTS: usize = 64;

/// Runs the calls of all services. Those that change something are finished even when their caller goes away: they run on
/// `tasks`, which the program waits for before it ends.
#[derive(Clone)]
pub struct Calls {
    pub(super) context: Arc<Context>,
    pub(super) tasks: TaskTracker,
}

pub(super) type Answer<T> = Result<Response<T>, Status>;

impl Calls {
    /// `tasks` is closed and waited for by whoever stops the program.
    pub fn new(context: Arc<Context>, tasks: TaskTracker) -> Self {
        Self { context, tasks }
    }

    /// Answers a call that changes nothing; it ends when its caller goes away.
    pub(super) async fn read<'a, Q, R, E, F>(
        &'a self,
        request: Request<Q>,
        handler: impl FnOnce(&'a Context, Q) -> F,
    ) -> Answer<R>
    where
        E: Explain,
        F: Future<Output = Result<R, E>>,
    {
        handler(&self.context, request.into_inner()).await.map(Response::new).map_err(|e| logged(&e))
    }

    /// Answers a call that changes something; it goes on to its end whatever its caller does.
    pub(super) async fn change<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q) -> F,
    ) -> Answer<R>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let line = audit::Entry::begin(&request);
        let slot = CallSlot::of(request.extensions());
        let message = sent_message::SentMessage::message(request.extensions());
        let work = line.around(sent_message::scope(message, handler(Arc::clone(&self.context), request.into_inner())));
        // the line is written, and the slot given back, when the work ends, which may be after the caller went away
        let audited = async move {
            let done = work.await;
            line.end(&done);
            drop(slot);
            done
        };
        match self.tasks.spawn(audited.in_current_span()).await {
            Ok(Ok(response)) => Ok(Response::new(response)),
            Ok(Err(error)) => Err(logged(&error)),
            Err(_) => Err(Status::internal("the operation failed inside the server: see its log")),
        }
    }

    /// Answers a call that changes something with events on the way; it ends when its caller goes away.
    pub(super) async fn tell<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.events(request, Ends::WithItsCaller, handler).await
    }

    /// The same for one that goes on to its end whatever its caller does.
    pub(super) async fn tell_to_the_end<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.events(request, Ends::WhenDone, handler).await
    }

    /// Leaves all of a call to its handler.
    pub(super) async fn pass<'a, Q, R, F>(
        &'a self,
        request: Request<Q>,
        handler: impl FnOnce(&'a Self, Request<Q>) -> F,
    ) -> Answer<R>
    where
        F: Future<Output = Answer<R>>,
    {
        handler(self, request).await
    }

    async fn events<Q, R, E, F>(
        &self,
        request: Request<Q>,
        ends: Ends,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let line = audit::Entry::begin(&request);
        let slot = CallSlot::of(request.extensions());
        let (sender, mut events) = mpsc::channel(EVENTS);
        let until = deadline::current().filter(|_| ends == Ends::WithItsCaller);
        let work = handler(Arc::clone(&self.context), request.into_inner(), Events::new(sender.clone()));
        let work = deadline::scope(until, line.around(work));
        let audited = async move {
            let done = match ends {
                Ends::WhenDone => Some(work.await),
                Ends::WithItsCaller => tokio::select! {
                    done = work => Some(done),
                    () = sender.closed() => None,
                },
            };
            match &done {
                Some(done) => line.end(done),
                None => line.end_with(tonic::Code::Cancelled),
            }
            drop(slot);
            if let Some(Err(error)) = done {
                sender.send(Err(logged(&error))).await.ok();
            }
        };
        self.tasks.spawn(audited.in_current_span());
        // a failure before the first event answers the call itself
        let first = events.recv().await.transpose()?;
        Ok(Response::new(stream::iter(first.map(Ok)).chain(ReceiverStream::new(events)).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;
    use vtmigrated_proto::vtctldata::{CreateKeyspaceRequest, CreateKeyspaceResponse};

    use super::*;
    use crate::failure::Error;
    use crate::guard::{Answers, CallSlots};

    #[tokio::test]
    async fn a_change_whose_caller_leaves_holds_its_place_to_its_end() {
        let context = Arc::new(Context::of("memory", "test", "/r").await);
        let calls = Calls::new(context, TaskTracker::new());
        let (slots, connection) = (CallSlots::new(1, usize::MAX), Arc::<Answers>::default());
        let slot = CallSlot::receiving(&connection);
        assert!(slots.take(&slot, &connection));
        let mut request = Request::new(CreateKeyspaceRequest::default());
        request.extensions_mut().insert(slot);
        let (gate, done) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (held, told) = (Arc::clone(&gate), Arc::clone(&done));
        let work = move |_: Arc<Context>, _: CreateKeyspaceRequest| async move {
            held.notified().await;
            told.store(true, Ordering::Relaxed);
            Ok::<_, Error>(CreateKeyspaceResponse::default())
        };
        let caller = tokio::spawn(async move { calls.change(request, work).await.map(drop) });
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(slots.are_taken() && !done.load(Ordering::Relaxed));
        gate.notify_one();
        while slots.are_taken() {
            tokio::task::yield_now().await;
        }
        assert!(done.load(Ordering::Relaxed));
    }
}
