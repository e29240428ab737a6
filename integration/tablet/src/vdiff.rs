//! The vdiff engine: one controller for each diff that this tablet's shard takes part in.
//!
//! # Layout
//! - [`actions`] performs what the RPC asks for; [`options`] and [`record`] are what it leaves in the sidecar database
//! - [`controller`] runs one diff, [`workflow`] its tables one after the other
//! - [`plan`] is what is read of a table, [`setup`] opens both sides at one position, [`rows`] merges them by key in the
//!   order of [`order`], [`differ`] compares them, [`report`] says what was found, [`reconcile`] what of it counts
//!
//! Differs from stock in one thing that callers could see: two diffs that were resumed do not share their options.

mod actions;
mod controller;
mod differ;
mod options;
mod order;
mod plan;
mod reconcile;
mod record;
mod report;
mod rows;
mod setup;
mod workflow;

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use self::{
    controller::Controller,
    record::{Record, Records},
};
use super::engine::{
    self, Context,
    db::Db,
    error::{Error, Result},
};

/// What the controllers of one tablet share.
struct Parts {
    context: Arc<Context>,
    /// Stops and starts the streams of the workflow.
    streams: Arc<engine::Engine>,
    /// Held by the one diff that is opening its snapshots.
    snapshot: Mutex<()>,
    records: Records,
}

/// The engine of one tablet. Closed until [`Engine::open`].
pub struct Engine {
    parts: Arc<Parts>,
    /// `None` while closed. Held during every change of records, so that controllers and records agree.
    open: Mutex<Option<Open>>,
}

struct Open {
    /// Ended ones stay until their diff is deleted or started again.
    controllers: BTreeMap<i64, Controller>,
    /// Parent of all that runs.
    cancel: CancellationToken,
    retrying: JoinHandle<()>,
}

impl Engine {
    #[must_use]
    pub fn new(context: Arc<Context>, streams: Arc<engine::Engine>) -> Self {
        let records = Records::new(&context.shared.options);
        let parts = Parts { context, streams, snapshot: Mutex::new(()), records };
        Self { parts: Arc::new(parts), open: Mutex::new(None) }
    }

    /// Goes on with the diffs that were under way, and from now on tries failed ones again.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn open(self: &Arc<Self>) -> Result<()> {
        let mut guard = self.open.lock().await;
        if guard.is_some() {
            return Ok(());
        }
        let mut db = Db::connect(&self.parts.context.shared).await?;
        let found = self.parts.records.to_run(&mut db).await;
        db.close().await;
        let cancel = self.parts.context.shared.shutdown.child_token();
        let retrying = tokio::spawn(Arc::clone(self).retry(cancel.clone()));
        let mut open = Open { controllers: BTreeMap::new(), cancel, retrying };
        for record in found? {
            self.start(&mut open, record);
        }
        *guard = Some(open);
        Ok(())
    }

    /// Ends all diffs and waits for them. They go on when the engine is opened again.
    pub async fn close(&self) {
        let Some(open) = self.open.lock().await.take() else { return };
        open.cancel.cancel();
        for (_, mut controller) in open.controllers {
            controller.stop().await;
        }
        // cancelled: over or about to be
        let _ = open.retrying.await;
    }

    /// Aborts all diffs wherever they are, as the death of the process would.
    pub async fn kill(&self) {
        let Some(open) = self.open.lock().await.take() else { return };
        open.retrying.abort();
        for (_, mut controller) in open.controllers {
            controller.kill().await;
        }
        // aborted, or over already
        let _ = open.retrying.await;
    }

    /// Performs an action of the RPC `VDiff`.
    ///
    /// # Errors
    /// Stock's texts: UNAVAILABLE while closed, actions and arguments that there are not, records that there are not.
    pub async fn perform(&self, request: VDiffRequest) -> Result<VDiffResponse> {
        let mut guard = self.open.lock().await;
        let Some(open) = guard.as_mut() else {
            return Err(Error::new(Code::Unavailable, "vdiff engine is closed"));
        };
        actions::perform(self, open, request).await
    }

    /// Gives a diff a controller, which does nothing unless the diff is to be run.
    fn start(&self, open: &mut Open, record: Record) {
        let id = record.id;
        let controller = Controller::start(Arc::clone(&self.parts), record, open.cancel.child_token());
        open.controllers.insert(id, controller);
    }

    async fn retry(self: Arc<Self>, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(self.parts.context.tuning.vdiff_retry_interval) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                tried = self.retry_failed() => if let Err(error) = tried {
                    tracing::error!(%error, "error retrying vdiffs");
                },
            }
        }
    }

    async fn retry_failed(&self) -> Result<()> {
        let mut guard = self.open.lock().await;
        let Some(open) = guard.as_mut() else { return Ok(()) };
        let mut db = Db::connect(&self.parts.context.shared).await?;
        for (record, last_error) in self.parts.records.failed(&mut db).await? {
            if !controller::is_ephemeral(&last_error) {
                continue;
            }
            tracing::info!(uuid = record.uuid, last_error, "retrying vdiff");
            self.parts.records.retry(&mut db, record.id).await?;
            self.start(open, record);
        }
        db.close().await;
        Ok(())
    }
}
