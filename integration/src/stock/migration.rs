//! The commands of one migration as a user types them, and what they show.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Cluster, Error, MOUNT, Output};
use crate::server::Server;

/// How long a migration may take to get somewhere on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(300);

/// A workflow of the target, which need not exist yet.
#[derive(Clone, Copy)]
pub struct Migration<'a> {
    target: &'a Cluster,
    server: &'a Server,
    workflow: &'a str,
    from: &'a str,
    to: &'a str,
}

impl<'a> Migration<'a> {
    pub(super) fn new(target: &'a Cluster, workflow: &'a str, from: &'a str, to: &'a str) -> Self {
        Self { target, server: target.server(), workflow, from, to }
    }

    /// The same workflow through another server of the target.
    #[must_use]
    pub fn through(self, server: &'a Server) -> Self {
        Self { server, ..self }
    }

    /// `Migrate create` from the mounted source, with more flags: those that are not named keep the client's defaults.
    ///
    /// # Errors
    /// The client does not run.
    pub async fn create(&self, flags: &[&str]) -> Result<Output, Error> {
        let create = ["create", "--source-keyspace", self.from, "--mount-name", MOUNT];
        self.migrate(&[&create, flags].concat()).await
    }

    /// `Migrate status`, `complete`, `cancel` or `show`, with its flags.
    ///
    /// # Errors
    /// The client does not run.
    pub async fn migrate(&self, action: &[&str]) -> Result<Output, Error> {
        self.command("Migrate", action).await
    }

    /// `VDiff create`, `show`, … with their flags.
    ///
    /// # Errors
    /// The client does not run.
    pub async fn vdiff(&self, action: &[&str]) -> Result<Output, Error> {
        self.command("VDiff", action).await
    }

    /// `Migrate complete`; answers what it printed.
    ///
    /// # Errors
    /// It is refused.
    pub async fn complete(&self) -> Result<String, Error> {
        self.migrate(&["complete"]).await?.expect()
    }

    /// Waits until `Migrate status` shows all streams in state Running.
    ///
    /// # Errors
    /// They do not get there; the text has the last status.
    pub async fn until_running(&self) -> Result<(), Error> {
        until("all streams Running", async || {
            let output = self.migrate(&["status", "--format", "json"]).await.map_err(|e| e.to_string())?;
            if all_running(&output.json()) { Ok(()) } else { Err(output.to_string()) }
        })
        .await
    }

    /// Compares both sides with a new VDiff; answers what `VDiff show last` says when it is over.
    ///
    /// # Errors
    /// It does not come to an end.
    pub async fn compare(&self) -> Result<Value, Error> {
        self.vdiff(&["create"]).await?.expect()?;
        until("a VDiff that is over", async || {
            let output = self.vdiff(&["show", "last", "--format", "json"]).await.map_err(|e| e.to_string())?;
            if output.json()["State"] == "completed" { Ok(()) } else { Err(output.to_string()) }
        })
        .await?;
        Ok(self.vdiff(&["show", "last", "--format", "json"]).await?.json())
    }

    async fn command(&self, command: &str, action: &[&str]) -> Result<Output, Error> {
        let which = [command, "--workflow", self.workflow, "--target-keyspace", self.to];
        self.target.vtctldclient_at(self.server, &[&which, action].concat()).await
    }
}

/// What the client prints of a status has streams, and all of them run: one without a position has not begun to copy.
fn all_running(status: &Value) -> bool {
    let shards = status["shard_streams"].as_object();
    let streams: Vec<&Value> = shards
        .into_iter()
        .flat_map(|shards| shards.values())
        .filter_map(|shard| shard["streams"].as_array())
        .flatten()
        .collect();
    let runs = |stream: &&Value| stream["status"] == "Running" && stream["position"] != "";
    !streams.is_empty() && streams.iter().all(runs)
}

/// Asks until the answer is good.
///
/// # Errors
/// It does not become so; the text has the last answer.
pub async fn until<E: Display>(what: &str, ask: impl AsyncFn() -> Result<(), E>) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        let Err(last) = ask().await else { return Ok(()) };
        if Instant::now() >= end {
            return Err(Error::Patience { what: what.to_owned(), limit: PATIENCE, last: last.to_string() });
        }
        tokio::time::sleep(POLL).await;
    }
}
