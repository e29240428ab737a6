//! Rows of `vreplication_log`.

use super::{
    db::{Db, number, text},
    error::{Result, truncate},
};
use crate::sql;

/// What a log row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    StreamCreated,
    StreamDeleted,
    Message,
    CopyStarted,
    CopyEnded,
    StateChanged,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::StreamCreated => "Stream Created",
            Self::StreamDeleted => "Stream Deleted",
            Self::Message => "Message",
            Self::CopyStarted => "Started Copy Phase",
            Self::CopyEnded => "Ended Copy Phase",
            Self::StateChanged => "State Changed",
        }
    }
}

/// Writes a row, or counts up the newest one when its message is the same, whatever its type and state; a change to the
/// state of the newest row is not written at all (as in Vitess 22.0.3).
///
/// # Errors
/// Those of the server.
pub async fn write(db: &mut Db, sidecar: &str, stream: i32, kind: Kind, state: &str, message: &str) -> Result<()> {
    let table = format!("{}.vreplication_log", sql::quote(sidecar));
    let newest = db
        .rows(format!("select id, state, message from {table} where vrepl_id = {stream} order by id desc limit 1"))
        .await?;
    let statement = match newest.first() {
        Some(row) if kind == Kind::StateChanged && text(row, 1) == state => return Ok(()),
        Some(row) if text(row, 2) == message => {
            format!("update {table} set count = count + 1 where id = {}", number::<i64>(row, 0))
        }
        _ => format!(
            "insert into {table}(vrepl_id, type, state, message) values({stream}, {}, {}, {})",
            sql::string(kind.name()),
            sql::string(state),
            sql::string(&truncate(message, 65_535)),
        ),
    };
    db.run(statement).await?;
    Ok(())
}
