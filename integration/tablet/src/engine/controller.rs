//! Keeps one stream going: picks a source, lets it work, and tries again after a failure.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    db::Db,
    error::{Error, Result},
    row::{self, StreamRow},
    source::SourceTablet,
    stream::{Stream, write_message},
};
use crate::{picker, prototext, sql};

/// A stream's task; none for a stream that has nothing to do.
#[derive(Debug)]
pub struct Controller {
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Controller {
    /// Reads the row and starts its stream, unless it is stopped or failed for good.
    ///
    /// # Errors
    /// A row that cannot be read, and a mounted cluster that cannot be opened.
    pub async fn start(context: &Arc<Context>, db: &mut Db, id: i32) -> Result<Self> {
        let cancel = context.shared.shutdown.child_token();
        let row = row::read(db, &context.shared.options.sidecar_db, id).await?;
        let read = context.shared.options.generation.check_overrides(&row.overrides);
        read.map_err(|why| Error::unknown(format!("failed to process config options: {why}")))?;
        if row.is_idle() {
            return Ok(Self { cancel, task: None });
        }
        let picker = picker::Picker::new(context, &row).await?;
        let run = Run { context: Arc::clone(context), row, picker, cancel: cancel.clone() };
        Ok(Self { cancel, task: Some(tokio::spawn(run.run())) })
    }

    /// Ends the stream after the statement that it is at.
    pub async fn stop(self) {
        self.cancel.cancel();
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "controller failed");
        }
    }

    /// Ends the stream in the middle of whatever it does.
    pub async fn kill(self) {
        if let Some(task) = self.task {
            task.abort();
            // cancelled, or over already
            let _ = task.await;
        }
    }
}

struct Run {
    context: Arc<Context>,
    row: StreamRow,
    picker: picker::Picker,
    cancel: CancellationToken,
}

impl Run {
    async fn run(self) {
        while !self.cancel.is_cancelled() {
            let Err(error) = self.attempt().await else { return };
            if self.cancel.is_cancelled() {
                return;
            }
            tracing::warn!(stream = self.row.id, %error, "error in stream, will retry");
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(self.context.tuning.retry_delay) => {}
            }
        }
    }

    /// One attempt; its failure is already in the row when this returns.
    async fn attempt(&self) -> Result<()> {
        let mut db = Db::connect_stream(&self.context.shared).await?;
        self.claim(&mut db).await?;
        let picked = tokio::select! {
            () = self.cancel.cancelled() => return Ok(()),
            picked = self.picker.pick() => picked,
        };
        let table = format!("{}.vreplication", sql::quote(&self.context.shared.options.sidecar_db));
        let tablet = match picked {
            Ok(tablet) => tablet,
            Err(error) => {
                write_message(&mut db, &table, self.row.id, &format!("Error picking tablet: {error}")).await?;
                return Err(error);
            }
        };
        let alias = tablet.alias.clone().unwrap_or_default();
        let alias = prototext::encode(&alias).map_err(|error| Error::unknown(error.to_string()))?;
        write_message(&mut db, &table, self.row.id, &format!("Picked source tablet: {alias}")).await?;
        let source = SourceTablet::dial(&tablet).await?.with_overrides(self.row.overrides.clone());
        let mut stream = Stream {
            shared: Arc::clone(&self.context.shared),
            tuning: self.context.tuning.clone(),
            id: self.row.id,
            db,
            source,
            cancel: self.cancel.clone(),
            row: self.row.clone(),
            state: String::new(),
            rows_copied: 0,
            tables: std::collections::BTreeMap::new(),
        };
        let result = stream.replicate().await;
        let result = match result {
            Err(error) if !self.cancel.is_cancelled() => self.show(&mut stream, error).await,
            other => other,
        };
        stream.db.close().await;
        result
    }

    /// At most one session works on a stream, also when the one before was cut off and its last statement still runs.
    async fn claim(&self, db: &mut Db) -> Result<()> {
        let options = &self.context.shared.options;
        let name = format!("vreplication {} {}", options.sidecar_db, self.row.id);
        let name: String = name.chars().take(64).collect();
        let claimed = db.value(format!("select get_lock({}, 10)", sql::string(&name))).await?;
        if claimed.as_deref() == Some("1") {
            return Ok(());
        }
        Err(Error::unknown(format!("stream {} is still held by another session", self.row.id)))
    }

    /// Puts a failure where vtctld sees it. `Ok` when it is the last one.
    async fn show(&self, stream: &mut Stream, error: Error) -> Result<()> {
        if stream.db.value("select 1").await.is_err() {
            stream.db = Db::connect_stream(&self.context.shared)
                .await
                .map_err(|lost| Error::unknown(format!("failed to reconnect to the database: {lost}: {error}")))?;
        }
        // an open transaction of the failed attempt would take the message with it
        stream.db.run("rollback").await?;
        if stream.state.is_empty() {
            stream.state.clone_from(&stream.row.state);
        }
        stream.set_message(&error.to_string()).await?;
        if !error.is_terminal() {
            return Err(error);
        }
        stream.set_error(&format!("terminal error: {error}")).await?;
        tracing::error!(stream = self.row.id, %error, "stream going into error state");
        Ok(())
    }
}
