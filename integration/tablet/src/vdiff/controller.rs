//! Runs one diff from where its record says it is, and leaves there how it ended.

use std::{sync::Arc, time::Duration};

use regex::Regex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    Parts,
    options::Options,
    record::{ERROR, PENDING, Record, STARTED},
    workflow,
};
use crate::engine::{
    db::Db,
    error::{Error, Result},
};

/// A diff's task; over at once when the diff is neither pending nor started.
pub(super) struct Controller {
    uuid: String,
    cancel: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Controller {
    pub(super) fn start(parts: Arc<Parts>, record: Record, cancel: CancellationToken) -> Self {
        let Record { id, uuid, workflow, options, .. } = record;
        let run = Run { parts, id, uuid: uuid.clone(), workflow, options, cancel: cancel.clone() };
        Self { uuid, cancel, task: Some(tokio::spawn(run.run())) }
    }

    /// The diff's UUID as it was given.
    pub(super) fn uuid(&self) -> &String {
        &self.uuid
    }

    /// Ends the diff and waits for it; streams that it holds are started again before.
    pub(super) async fn stop(&mut self) {
        self.cancel.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(uuid = self.uuid, %error, "vdiff controller failed");
        }
    }

    /// Ends the diff in the middle of whatever it does.
    pub(super) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // cancelled, or over already
            let _ = task.await;
        }
    }
}

/// One run of a diff.
pub(super) struct Run {
    pub parts: Arc<Parts>,
    pub id: i64,
    pub uuid: String,
    pub workflow: String,
    pub options: Options,
    pub cancel: CancellationToken,
}

impl Run {
    /// # Errors
    /// CANCELED once the diff is to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }

    /// Does the work, unless the diff is to end first.
    ///
    /// # Errors
    /// CANCELED, and those of the work.
    pub(super) async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            () = self.cancel.cancelled() => Err(cancelled()),
            done = work => done,
        }
    }

    /// The tablet as Vitess prints its alias into texts, `cell:"zone1" uid:100`.
    pub(super) fn tablet(&self) -> String {
        crate::prototext::encode(&self.parts.context.shared.options.alias()).unwrap_or_default()
    }

    async fn run(self) {
        match self.attempt().await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(uuid = self.uuid, %error, "vdiff failed");
                self.save_error(&error).await;
            }
        }
    }

    async fn attempt(&self) -> Result<()> {
        let mut db = Db::connect(&self.parts.context.shared).await?;
        let record = self.parts.records.get(&mut db, self.id).await?;
        if record.is_some_and(|record| record.state == PENDING || record.state == STARTED) {
            self.check()?;
            workflow::diff(self, &mut db).await?;
        }
        db.close().await;
        Ok(())
    }

    /// Until it is saved or the diff is to end.
    async fn save_error(&self, error: &Error) {
        let mut delay = Duration::from_millis(100);
        loop {
            let saved = async {
                let mut db = Db::connect(&self.parts.context.shared).await?;
                self.parts.records.set_state(&mut db, self.id, ERROR, &error.to_string()).await?;
                self.parts.records.log(&mut db, self.id, &format!("Error: {error}")).await;
                db.close().await;
                Ok::<(), Error>(())
            };
            let Err(unsaved) = saved.await else { return };
            tracing::warn!(uuid = self.uuid, error = %unsaved, "failed to persist vdiff error state");
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep(delay) => delay = delay.mul_f64(1.5).min(Duration::from_secs(60)),
            }
        }
    }
}

/// Whether stock tries again after such a text (22.0.3): MySQL's errors of load and connections, and all that names no
/// number of MySQL's.
pub(super) fn is_ephemeral(text: &str) -> bool {
    const EPHEMERAL: [u32; 30] = [
        1021, 1037, 1038, 1041, 1053, 1078, 1080, 1105, 1129, 1135, 1203, 1205, 1206, 1213, 1226, 1317, 1815, 1874,
        2000, 2002, 2003, 2005, 2006, 2012, 2013, 2018, 2026, 2027, 3024, 3168,
    ];
    let number = Regex::new(r"\(errno ([0-9]*)\) \(sqlstate ([0-9a-zA-Z]{5})\)").ok().and_then(|pattern| {
        let found = pattern.captures(text)?;
        found.get(1)?.as_str().parse::<u32>().ok()
    });
    number.is_none_or(|number| EPHEMERAL.contains(&number))
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "context has expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_number_of_mysql_is_tried_again() {
        assert!(is_ephemeral("failed to reconcile extra rows: node doesn't exist: /vitess/global/keyspaces/c/VSchema"));
        assert!(is_ephemeral("Lock wait timeout exceeded (errno 1205) (sqlstate HY000) during query: x"));
        assert!(!is_ephemeral("Table 'a.b' doesn't exist (errno 1146) (sqlstate 42S02) during query: x"));
    }
}
