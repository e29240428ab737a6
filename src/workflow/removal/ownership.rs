//! Whose a table of the target is, and what may become of it: the one rule that everything asks that drops or empties.
//!
//! A table with rows goes only when it is proven at that moment that the rows are the workflow's: a stream of it has copied
//! into the table, and clients could not have written, for the shard's record denies them. Rows that no stream brought are
//! somebody's. An empty table goes when create made it, and only while writes to it are denied, and as long as a stream is
//! there, or create was interrupted before it inserted them. A record alone proves nothing: it stays behind when somebody else
//! ends its workflow. After a cancel that was cut off, only a table goes that was there when that began.

use std::fmt;

use crate::workflow::record::made_at::Since;

/// What the workflow's record proves about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// There is none: stock made the workflow, or nobody did.
    None,
    /// It is about a shard of the same name that was deleted since.
    OfAnotherShard,
    /// Create has begun, or is being taken back.
    Creating,
    Created,
    /// Complete has handed the tables over: what is in them is the target's own.
    HandedOver,
    /// A cancel that was cut off has seen to all tables of the shard: what is there since is somebody else's.
    SeenTo,
}

/// How far the streams of the workflow came that write the table on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    None,
    /// There, without a position: it has copied nothing.
    Idle,
    /// It has a position, or has copied rows.
    Copying,
}

/// Whether clients can write the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They can.
    No,
    /// The shard's record denies it, and the workflow's record says that create did.
    Ours,
    /// The shard's record denies it, and no record says who did.
    Others,
    /// The shard's record denies it, and its primary, or one since create, is not known to have read that.
    Unaware,
    /// The shard's record denies it, and its primary lets clients write all the same.
    NotInForce,
}

/// What is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Nobody has looked.
    Unseen,
    /// The table is not there.
    Gone,
    Empty,
    Filled,
}

/// All that is known of one table on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub record: Record,
    pub stream: Stream,
    pub denied: Denied,
    /// True when create makes the table; false when it was there, empty, before.
    pub made: bool,
    pub rows: Rows,
    /// Whether it is the table that was there when a cancel began that was cut off; `None` when there was no such cancel.
    pub since: Option<Since>,
}

/// What may become of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There is nothing to do.
    Nothing,
    Drop,
    /// Dropped once writes are denied, the tablets know it, and the table is seen to be empty still.
    DropEmpty,
    /// Emptied: it was there before.
    Empty,
    /// It must be looked at before anything can be said.
    Look,
    /// Nothing proves whose it is, and it keeps nobody from ending the workflow: it stays, and nothing is lost.
    Leave(Doubt),
    Keep(Doubt),
}

/// Why a table stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// No stream of the workflow is on the shard.
    NoStream,
    /// The streams have copied nothing, and there are rows.
    NotCopied,
    /// Clients can write it.
    NotDenied,
    /// The primary, or one since create, denies nothing, whatever the shard's record says.
    PrimaryUnaware,
    /// The primary says so itself.
    NotInForce,
    /// Nobody could tell what is in it.
    NotSeen,
    HandedOver,
    /// It was not there, or was another one, when a cancel began that was cut off.
    MadeSince,
    /// Nothing tells whether it was there then.
    NotNoted,
    /// Streams of another workflow bring it.
    Shared,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStream => "no stream of the workflow is there",
            Self::NotCopied => "it holds rows, and the workflow's streams have copied none",
            Self::NotDenied => "writes to it are not denied, so that clients may have written",
            Self::PrimaryUnaware => {
                "its shard's primary was not refreshed when writes to it were denied, or one since may not have been, so that clients \
                 may have written"
            }
            Self::NotInForce => {
                "its shard's record denies writes to it, but its primary lets them pass, so that clients may have written"
            }
            Self::NotSeen => "nobody could tell what is in it",
            Self::HandedOver => "complete has handed it over",
            Self::MadeSince => {
                "a cancel that was cut off had begun before somebody made or altered it; keys that its streams took from it are \
                 not given back"
            },
            Self::NotNoted => {
                "a cancel that was cut off has not noted when it was made, so that somebody may have made it since"
            }
            Self::Shared => "another workflow works on it",
        })
    }
}

/// What may become of a table.
pub fn fate(known: &Evidence) -> Fate {
    match (known.rows, known.since) {
        (Rows::Gone, _) => Fate::Nothing,
        _ if known.record == Record::SeenTo => Fate::Nothing,
        _ if known.record == Record::HandedOver => Fate::Keep(Doubt::HandedOver),
        (Rows::Unseen, Some(_)) => Fate::Look,
        (_, None | Some(Since::Same)) => by_streams(known),
        // to empty it may have been to make it anew: it is as it is to be, but for keys
        (Rows::Empty, Some(_)) if !known.made && known.stream != Stream::None => Fate::Nothing,
        // or create has made it, and could not note that
        (Rows::Empty, Some(_)) if !known.made => Fate::Leave(Doubt::NoStream),
        (_, Some(Since::Another)) => Fate::Leave(Doubt::MadeSince),
        (_, Some(Since::Unclear)) => Fate::Leave(Doubt::NotNoted),
    }
}

/// What may become of a table that nobody has made anew since a cancel began.
fn by_streams(known: &Evidence) -> Fate {
    let denied = matches!(known.denied, Denied::Ours | Denied::Others);
    match (known.rows, known.stream) {
        (Rows::Gone, _) => Fate::Nothing,
        (_, Stream::Copying) if denied && known.made => Fate::Drop,
        (_, Stream::Copying) if denied => Fate::Empty,
        (Rows::Unseen, _) => Fate::Look,
        (Rows::Empty, Stream::None) if !known.made => Fate::Leave(Doubt::NoStream),
        (Rows::Empty, _) if !known.made => Fate::Nothing,
        (Rows::Empty, stream) => of_empty(known, stream),
        (Rows::Filled, Stream::None) => Fate::Keep(Doubt::NoStream),
        (Rows::Filled, Stream::Idle) => Fate::Keep(Doubt::NotCopied),
        (Rows::Filled, Stream::Copying) => Fate::Keep(writable(known.denied)),
    }
}

/// Why clients can write a table.
fn writable(denied: Denied) -> Doubt {
    match denied {
        Denied::Unaware => Doubt::PrimaryUnaware,
        Denied::NotInForce => Doubt::NotInForce,
        _ => Doubt::NotDenied,
    }
}

/// An empty table that create made.
fn of_empty(known: &Evidence, stream: Stream) -> Fate {
    match (known.denied, stream) {
        (Denied::Ours | Denied::Others, Stream::Idle | Stream::Copying) => Fate::DropEmpty,
        // the record says what create had made when it was interrupted
        (Denied::Ours, Stream::None) if known.record == Record::Creating => Fate::DropEmpty,
        (_, Stream::None) => Fate::Leave(Doubt::NoStream),
        (Denied::No | Denied::Unaware | Denied::NotInForce, _) => Fate::Leave(writable(known.denied)),
    }
}

#[cfg(test)]
mod tests;
