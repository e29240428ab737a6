//! The stock `vtctldclient`, and our own program as a client.

use std::{fmt, process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Error, Generation};
use crate::server;

/// How long a command may take: the longest waits for a migration to catch up.
const LIMIT: Duration = Duration::from_secs(300);

/// What a command of the client printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    /// The exit status; none if a signal ended it.
    pub status: Option<i32>,
}

impl Output {
    /// It ended with status 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }

    /// What it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn expect(self) -> Result<String, Error> {
        if self.ok() { Ok(self.stdout) } else { Err(Error::Refused { command: self.command.clone(), output: self }) }
    }

    /// What it printed, as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {:?}\n{}{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// Runs a command against the vtctld at `address` (`host:port`). The client's own flags are at their defaults.
pub(super) async fn run(generation: Generation, address: &str, args: &[&str]) -> Result<Output, Error> {
    let mut child = Command::new(generation.path("vtctldclient")?);
    child.arg("--server").arg(address).args(args);
    output(child, args).await
}

/// Runs a command of our own program against the server at `address` (`host:port`).
pub(super) async fn run_ours(address: &str, args: &[&str]) -> Result<Output, Error> {
    let mut child = Command::new(server::binary()?);
    child.args(args).arg("--server").arg(address);
    output(child, args).await
}

async fn output(mut child: Command, args: &[&str]) -> Result<Output, Error> {
    let command = args.join(" ");
    child.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, child.output());
    let output = output.await.map_err(|_| Error::Silent { command: command.clone(), limit: LIMIT })??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output { command, stdout: text(&output.stdout), stderr: text(&output.stderr), status: output.status.code() })
}
