//! One log line for every call that changes something: who, from where, what, on what, with which outcome.

mod request_start;
mod subject;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prost::Message;
use tonic::body::Body;

use crate::error::Explain;
use crate::guard::listen::Peer;
use crate::guard::{Caller, Role};
use crate::server::layers::call::Rpc;
use crate::server::rpcs;
use crate::telemetry::grpc_code;

/// Log target of the lines.
const TARGET: &str = "vtmigrated::audit";
/// Longest remark, in characters.
const REMARK_LENGTH: usize = 2000;

tokio::task_local! {
    /// What the work of a call adds to its line.
    static REMARK: Arc<Mutex<String>>;
}

/// Adds a text to the line of the call that this task works for.
pub(super) fn remark(text: String) {
    let text = text.chars().filter(|c| !c.is_control()).take(REMARK_LENGTH).collect();
    REMARK.try_with(|remark| *remark.lock().unwrap_or_else(PoisonError::into_inner) = text).ok();
}

/// A call that changes something, from its begin.
#[derive(Debug)]
pub struct Entry {
    caller: String,
    address: String,
    rpc: String,
    on: String,
    remark: Arc<Mutex<String>>,
    begun: Instant,
    /// Another server answers what is not served here, and its answer gets a line of its own.
    offered: bool,
    finished: bool,
}

/// In the extensions of a request that is forwarded when it is answered as not served here.
#[derive(Clone, Copy, Debug)]
pub struct Offered;

/// Who calls, kept while a command is read.
pub struct Who {
    caller: Option<Caller>,
    peer: Option<Peer>,
    offered: bool,
}

impl Who {
    /// What the layers before have found out.
    pub fn of<Q>(request: &tonic::Request<Q>) -> Self {
        let extensions = request.extensions();
        let offered = extensions.get::<Offered>().is_some();
        Self { caller: extensions.get().cloned(), peer: extensions.get().cloned(), offered }
    }
}

impl Drop for Entry {
    /// A call that panicked, or that the end of the program cut short, leaves its line too.
    fn drop(&mut self) {
        if !self.finished {
            self.write("CUT_SHORT");
        }
    }
}

impl Entry {
    /// Remembers who calls, and on what.
    pub fn begin<Q: Message>(request: &tonic::Request<Q>) -> Self {
        let extensions = request.extensions();
        let rpc = extensions.get::<Rpc>().map(|rpc| rpc.0.as_str()).unwrap_or_default();
        let on = subject::of(rpc, &request.get_ref().encode_to_vec());
        let mut line = Self::new(extensions.get(), extensions.get(), rpc.to_owned(), on);
        line.offered = extensions.get::<Offered>().is_some();
        line
    }

    /// The same for a call that a stock vtctld at `to` answers; `None` for reads. It waits for the beginning of the request's
    /// message, and answers the same request.
    pub async fn forwarded(request: http::Request<Body>, to: &str) -> (http::Request<Body>, Option<Self>) {
        let rpc = request.uri().path().trim_start_matches('/').to_owned();
        if rpcs::role(&rpc) <= Role::Read {
            return (request, None);
        }
        let (request, message) = request_start::begin(request).await;
        let (extensions, on) = (request.extensions(), subject::of(&rpc, &message));
        let line = Self::new(extensions.get(), extensions.get(), rpc, on);
        *line.remark.lock().unwrap_or_else(PoisonError::into_inner) = format!("forwarded to {to}");
        (request, Some(line))
    }

    /// The same for a command of the older service. Of `words` only those are shown that can be names.
    pub fn command(who: &Who, name: &str, words: &[String]) -> Self {
        let Who { caller, peer, offered } = who;
        let on = subject::command(name, words);
        let mut line = Self::new(caller.as_ref(), peer.as_ref(), subject::COMMANDS.into(), on);
        line.offered = *offered;
        line
    }

    fn new(caller: Option<&Caller>, peer: Option<&Peer>, rpc: String, on: String) -> Self {
        Self {
            caller: name(caller),
            address: address(peer),
            rpc,
            on,
            remark: Arc::default(),
            begun: Instant::now(),
            offered: false,
            finished: false,
        }
    }

    /// Does the work of the call, which may [`remark`].
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        REMARK.scope(Arc::clone(&self.remark), work)
    }

    /// Writes the line, unless somebody else is to answer.
    pub fn end<R, E: Explain>(mut self, done: &Result<R, E>) {
        match done {
            Err(error) if self.offered && error.is_forwarded() => self.finished = true,
            Err(error) => self.end_with(error.code().grpc()),
            Ok(_) => self.end_with(tonic::Code::Ok),
        }
    }

    /// The same with a code of the wire.
    pub fn end_with(mut self, outcome: tonic::Code) {
        self.finished = true;
        self.write(grpc_code::name(outcome));
    }

    fn write(&self, outcome: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let Self { caller, address, rpc, on, .. } = self;
        let remark = self.remark.lock().unwrap_or_else(PoisonError::into_inner);
        let remark = Some(remark.as_str()).filter(|remark| !remark.is_empty());
        tracing::info!(
            target: TARGET,
            caller,
            client.address = address,
            rpc.method = rpc,
            on,
            outcome,
            seconds,
            remark,
            "audit"
        );
    }
}

/// The line of a call that its caller's role does not allow.
pub fn refused(caller: &Caller, peer: Option<&Peer>, rpc: &str) {
    let (caller, address) = (name(Some(caller)), address(peer));
    let outcome = grpc_code::name(tonic::Code::PermissionDenied);
    tracing::info!(target: TARGET, caller, client.address = address, rpc.method = rpc, outcome, "audit");
}

fn name(caller: Option<&Caller>) -> String {
    match caller {
        Some(caller) if !caller.name.is_empty() => caller.name.clone(),
        Some(caller) if !caller.subject.is_empty() => caller.subject.clone(),
        _ => "anonymous".into(),
    }
}

fn address(peer: Option<&Peer>) -> String {
    peer.and_then(|peer| peer.address).map(|address| address.to_string()).unwrap_or_default()
}
