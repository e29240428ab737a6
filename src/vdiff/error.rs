//! What the refusals of tablets mean.

use crate::error::{Code, Reason};
use crate::failure::Error;
use crate::tablet;

/// The failure of one shard's primary. Its own text comes first; a tablet that gave no answer is told with its shard.
pub fn on_shard(keyspace: &str, shard: &str, error: tablet::Error) -> Error {
    let refused = |code, reason, help: &str| Error::refused(code, reason, error.to_string(), help);
    if error.is_known_vdiff() {
        let help = "see VDiff show with this UUID; if its create was interrupted, VDiff delete it, then create it \
            again";
        return refused(Code::AlreadyExists, Reason::VDIFF_EXISTS, help);
    }
    if error.is_unknown_vdiff() {
        let help = "see VDiff show all; one that only some shards have was not fully created: VDiff delete it";
        return refused(Code::NotFound, Reason::VDIFF_UNKNOWN, help);
    }
    if error.is_unresumable_vdiff() {
        let help = "it is already running, or it failed: see VDiff show; if a failed one does not retry by itself, \
            delete it and create it again";
        return refused(Code::FailedPrecondition, Reason::VDIFF_NOT_STOPPED, help);
    }
    if error.is_closed_vdiff_engine() {
        let help = format!("the primary of {keyspace}/{shard} is still being promoted: run the command again");
        return refused(Code::Unavailable, Reason::VDIFF_ENGINE_CLOSED, &help);
    }
    if error.is_silent() {
        return Error::of_silent(keyspace, shard, &error);
    }
    Error::Tablet(error)
}
