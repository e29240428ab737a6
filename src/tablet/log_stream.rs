//! Calls that take as long as they take: meanwhile the tablet tells what it does.

use std::time::Instant;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tonic::Status;
use tracing::{Instrument, Span};
use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::tabletmanagerdata::{BackupRequest, RestoreFromBackupRequest};
use vtmigrated_proto::topodata::Tablet;

use super::client::{SERVICE, failure, span};
use super::{Client, Result, address, alias};
use crate::failpoint;
use crate::telemetry::{grpc_code, metrics, traces};

type Messages = BoxStream<'static, std::result::Result<Option<Event>, Status>>;

/// What a tablet tells while it works. Dropped before its end, it stops the work.
pub struct LogStream {
    messages: Messages,
    call: Call,
}

/// A call, from its begin to its end.
struct Call {
    alias: String,
    address: String,
    method: &'static str,
    span: Span,
    start: Instant,
    ended: bool,
}

impl Client {
    /// Takes a backup.
    pub async fn backup(&self, tablet: &Tablet, request: BackupRequest) -> Result<LogStream> {
        let mut client = self.manager(tablet, "Backup")?;
        let messages = async move {
            Ok::<Messages, Status>(client.backup(request).await?.into_inner().map_ok(|message| message.event).boxed())
        };
        open(tablet, "Backup", messages).await
    }

    /// Replaces all data by those of a backup.
    pub async fn restore_from_backup(&self, tablet: &Tablet, request: RestoreFromBackupRequest) -> Result<LogStream> {
        let mut client = self.manager(tablet, "RestoreFromBackup")?;
        let messages = async move {
            let answer = client.restore_from_backup(request).await?;
            Ok::<Messages, Status>(answer.into_inner().map_ok(|message| message.event).boxed())
        };
        open(tablet, "RestoreFromBackup", messages).await
    }
}

/// Waits for the first sign of the tablet, without a bound: it may have to wait until another operation ends. Pings of the
/// connection find out when it is gone.
async fn open(
    tablet: &Tablet,
    method: &'static str,
    opened: impl Future<Output = std::result::Result<Messages, Status>>,
) -> Result<LogStream> {
    let alias = alias(tablet);
    let span = span(tablet, SERVICE, method, &alias);
    let mut call = Call { alias, address: address(tablet), method, span, start: Instant::now(), ended: false };
    let opened = failpoint::around(true, opened.instrument(call.span.clone())).await;
    match opened {
        Ok(messages) => Ok(LogStream { messages, call }),
        Err(status) => Err(call.fail(&status)),
    }
}

impl LogStream {
    /// The next event; `None` when the work is done.
    ///
    /// # Errors
    /// The work failed, or the tablet went away.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        match self.messages.next().await {
            Some(Ok(event)) => Ok(Some(event.unwrap_or_default())),
            Some(Err(status)) => Err(self.call.fail(&status)),
            None => {
                self.call.end(tonic::Code::Ok);
                Ok(None)
            }
        }
    }
}

impl Call {
    fn fail(&mut self, status: &Status) -> super::Error {
        self.end(status.code());
        failure(self.alias.clone(), self.address.clone(), self.method, status)
    }

    fn end(&mut self, code: tonic::Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        traces::called(&self.span, code);
        let method = format!("{SERVICE}/{}", self.method);
        metrics::tablet_call(&method, &self.address, grpc_code::name(code), self.start.elapsed());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(tonic::Code::Cancelled);
    }
}
