//! The list of what a verdict looks at: id, severity, and what each finds. ARCHITECTURE.md has the same list.

use super::super::finding::{Check, Severity};

macro_rules! checks {
    ($($id:ident $severity:ident $finds:literal;)*) => {
        $(#[doc = $finds]
        pub const $id: Check =
            Check { id: stringify!($id), severity: Severity::$severity, of: "complete", finds: $finds };)*

        /// All of them, in the order of ARCHITECTURE.md.
        pub const CHECKS: &[Check] = &[$($id),*];
    };
}

checks! {
    CREATE_UNFINISHED Blocks "the workflow's create was interrupted or is being taken back";
    STREAM_MISSING Blocks "a serving shard has no stream of the workflow";
    COPYING Blocks "a stream has something left to copy";
    NOT_RUNNING Blocks "a stream is stopped or in error";
    ERROR Blocks "a stream reports an error (a warning while the source cannot be asked)";
    BEHIND Blocks "a stream has heard nothing of the source for long, or does not reach its position";
    CATCHING_UP Warns "a stream is not at the source's position yet; complete waits for it for a while";
    GTID_PURGED Blocks "the source purged binlogs that a stream still needs: it can never catch up";
    BINLOG_RISK Warns "a stream is so far behind that the source will soon purge what it needs";
    SOURCE_UNREACHABLE Warns "the source cannot be asked for its position";
    VDIFF_MISMATCH Blocks "the last VDiff found rows that differ";
    VDIFF_NONE Warns "the rows were never compared";
    VDIFF_UNFINISHED Warns "the last VDiff is not completed on every shard";
    VDIFF_PARTIAL Warns "the last VDiff left tables of the workflow out";
    VDIFF_OLD Warns "the last VDiff ended more than a day ago";
    VDIFF_UNKNOWN Unchecked "a tablet did not tell of its VDiffs";
    COLUMN_LOST Blocks "the source's table has a column that the target's lacks";
    TABLE_LOST Blocks "a table of the workflow is not on a target shard";
    TABLE_GONE Warns "a table of the workflow is not in the source any more";
    SCHEMA_DIFFERS Warns "columns of source and target differ in type, NULL, collation or number";
    SCHEMA_UNKNOWN Unchecked "a tablet did not tell its columns";
    SEQUENCE_MISSING Warns "an AUTO_INCREMENT column on several shards has no sequence in the vschema";
    TABLE_UNROUTED Warns "a table is not in the target's sharded vschema: vtgate will not find it";
    DENIED_MISSING Warns "a table of the workflow is not denied on the target: somebody may have written to it";
    DENIED_ELSEWHERE Warns "somebody else denied writes to a table of the workflow: complete does not lift that";
}
