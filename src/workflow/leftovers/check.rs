//! The list of what is looked for. ARCHITECTURE.md has the same list.

use super::super::finding::{Check, Severity};

macro_rules! checks {
    ($($id:ident $severity:ident $finds:literal;)*) => {
        $(#[doc = $finds]
        pub const $id: Check =
            Check { id: stringify!($id), severity: Severity::$severity, of: "leftovers", finds: $finds };)*

        /// All of them, in the order of ARCHITECTURE.md.
        pub const CHECKS: &[Check] = &[$($id),*];
    };
}

checks! {
    CREATE_UNFINISHED Warns "a create was interrupted (cleaned when the tables that it made are empty)";
    COMPLETE_UNFINISHED Warns "a complete was interrupted: repeating it finishes the job";
    RECORD_WITHOUT_STREAMS Warns "a workflow's record without its streams: empty tables that create made, denied tables, vschema entries (cleaned)";
    RECORD_OF_NO_KEYSPACE Warns "a workflow's record in a keyspace that is gone (cleaned)";
    WORKFLOW_HALF_GONE Warns "a workflow has streams on some of the shards only";
    COPY_STATE_ORPHANED Warns "copy states of streams that are gone (cleaned)";
    KEYS_ORPHANED Warns "secondary keys that a stream took and, being gone, will not give back (the note is cleaned)";
    VDIFF_ORPHANED Warns "a diff whose workflow is gone (cleaned)";
    VDIFF_ROWS_ORPHANED Warns "tables or log lines of diffs that are gone (cleaned)";
    LOCK_WITHOUT_LEASE Warns "a lock that would stay for ever (cleaned)";
    LOCK_OLD Warns "a lock that has been held for more than an hour";
    MOUNT_UNUSED Warns "no workflow reads from a mount";
    NOT_READ Unchecked "something could not be looked at";
}
