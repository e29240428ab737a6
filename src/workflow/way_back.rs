//! The way back of a migration: after complete, streams bring the target's changes into the source, until somebody decides for
//! one of the two. docs/way-back.md has the whole of it.
//!
//! To the source it is a Migrate with the name `<workflow>_back`, whose source is the target, known there as a mount. The
//! source is written to only where prepare was called.

pub mod plan;
pub mod record;

/// A command of ours, for people.
pub(super) fn command(action: &str, (keyspace, workflow): (&str, &str)) -> String {
    format!("vtmigrated way-back {action} --target-keyspace {keyspace} --workflow {workflow}")
}
