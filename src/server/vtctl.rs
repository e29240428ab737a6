//! `vtctlservice.Vtctl`: the service of legacy vtctl commands, which `vtctlclient` and `LegacyVtctlCommand` call.
//!
//! A command is a line of arguments; its answer is a stream of log events. The commands run the same operations as the
//! RPCs of `vtctlservice.Vtctld`; those that are not here are for a stock vtctld.

mod arguments;
mod cells;
mod commands;
mod console;
mod error;
mod flags;
mod keyspaces;
mod migrate;
mod mount;
mod print;
mod rules;
mod schemas;
mod serving;
mod shards;
mod streams;
mod tablets;
mod vdiff;
mod vschemas;
mod workflow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response};
use tracing::Instrument;
use vtmigrated_proto::vtctldata::ExecuteVtctlCommandRequest;

use self::console::{Console, Sent};
use self::error::Error;
use super::audit::Who;
use super::calls::{Answer, Calls};
use super::status::logged;
use crate::deadline;
use crate::guard::CallSlot;

/// Result of a command.
type Result<T> = std::result::Result<T, Error>;

/// Runs a command as a task: one that changes something is finished even when its caller goes away.
pub async fn execute(calls: &Calls, request: Request<ExecuteVtctlCommandRequest>) -> Answer<BoxStream<'static, Sent>> {
    let (who, slot) = (Who::of(&request), CallSlot::of(request.extensions()));
    let ExecuteVtctlCommandRequest { args, action_timeout } = request.into_inner();
    let (sender, mut events) = mpsc::unbounded_channel();
    let console = Console::new(sender, until(action_timeout));
    let context = Arc::clone(&calls.context);
    let work = async move {
        if let Err(error) = commands::run(context, &console, &who, args).await {
            console.fail(logged(&error));
        }
        drop(slot);
    };
    calls.tasks.spawn(work.in_current_span());
    // a failure before the first line answers the call itself, so that it can be forwarded
    let first = events.recv().await.transpose()?;
    let rest = UnboundedReceiverStream::new(events);
    Ok(Response::new(stream::iter(first.map(Ok)).chain(rest).boxed()))
}

/// When the client stops waiting: by its deadline or its `--action_timeout`, in nanoseconds.
fn until(action_timeout: i64) -> Option<Instant> {
    let timeout = u64::try_from(action_timeout).ok().filter(|nanoseconds| *nanoseconds > 0);
    let timeout = timeout.and_then(|nanoseconds| Instant::now().checked_add(Duration::from_nanos(nanoseconds)));
    [deadline::current(), timeout].into_iter().flatten().min()
}
