//! What the refusals of tablets mean. They answer UNKNOWN for everything (Vitess 22.0.3), so the text decides.

use crate::error::Code;
use crate::tablet;
use crate::workflow::Error;

/// True when the tablet says that it has no such diff.
pub fn is_missing(error: &tablet::Error) -> bool {
    let text = error.to_string();
    text.contains("no vdiff found for UUID")
        || (text.contains("vdiff with UUID") && text.contains("not found on tablet"))
}

/// True when the tablet says that it has the diff already.
pub fn is_there(error: &tablet::Error) -> bool {
    error.to_string().contains("already exists on tablet")
}

/// True when the tablet says that the diff is neither stopped nor completed.
pub fn is_not_resumable(error: &tablet::Error) -> bool {
    error.to_string().contains("no completed or stopped vdiff found for UUID")
}

/// The failure of one shard's primary. Its own text comes first; a tablet that gave no answer is told with its shard.
pub fn on_shard(keyspace: &str, shard: &str, error: tablet::Error) -> Error {
    let text = error.to_string();
    let refused = |code, reason, help: &str| Error::Refused { code, reason, text: text.clone(), help: help.to_owned() };
    if is_there(&error) {
        let help = "see VDiff show with this UUID; when its create was interrupted: VDiff delete it, then create again";
        return refused(Code::AlreadyExists, "VDIFF_EXISTS", help);
    }
    if is_missing(&error) {
        let help = "see VDiff show all; one that only some shards have was not created to its end: VDiff delete it";
        return refused(Code::NotFound, "VDIFF_UNKNOWN", help);
    }
    if is_not_resumable(&error) {
        let help = "it runs already, or stands in an error: see VDiff show; a failed one that does not go on by itself is \
                    deleted and created again";
        return refused(Code::FailedPrecondition, "VDIFF_NOT_STOPPED", help);
    }
    if text.contains("vdiff engine is") {
        let help = format!("the primary of {keyspace}/{shard} is just being made one: run the command again");
        return refused(Code::Unavailable, "VDIFF_ENGINE_CLOSED", &help);
    }
    if error.is_silent() {
        return Error::of_silent(keyspace, shard, &error);
    }
    Error::Tablet(error)
}
