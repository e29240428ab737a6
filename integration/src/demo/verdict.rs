//! `vtmigrated advise verdict`: our own program as a client.

use std::process::Stdio;

use tokio::process::Command;

use super::{Error, TARGET, commands::WORKFLOW, screen::Screen};
use crate::server::{self, Server};

/// Asks whether complete would be accepted; the first line of a good answer.
///
/// # Errors
/// It would not, or the program cannot be run.
pub async fn ask(screen: &mut Screen, server: &Server) -> Result<String, Error> {
    let port = server.grpc_address().port();
    let arguments =
        format!("advise verdict --server localhost:{port} --target-keyspace {TARGET} --workflow {WORKFLOW}");
    screen.command(&format!("vtmigrated {arguments}"))?;
    let mut program = Command::new(server::binary()?);
    program.args(arguments.split(' ')).stdin(Stdio::null()).kill_on_drop(true);
    let output = program.output().await?;
    let told = String::from_utf8_lossy(&output.stdout);
    for text in [told.trim_end(), String::from_utf8_lossy(&output.stderr).trim_end()] {
        if !text.is_empty() {
            screen.answer(text)?;
        }
    }
    if !output.status.success() {
        return Err(Error::NotGo);
    }
    Ok(told.lines().next().unwrap_or_default().to_owned())
}
