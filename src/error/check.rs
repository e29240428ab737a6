//! The list of all checks: id, severity, and what each finds. docs/checks.md has the same list; a test holds it. Each id is a
//! [`Reason`], too.

use serde::Serialize;

use super::Reason;

/// What a finding means for the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The operation is refused.
    Blocks,
    /// The operation goes on; somebody should know.
    Warns,
    /// Nobody could tell: a tablet did not say, or cannot be asked.
    Unchecked,
}

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What refuses, when it blocks; it means what the check finds.
    pub id: Reason,
    pub severity: Severity,
    /// The operation that it belongs to.
    pub of: &'static str,
}

macro_rules! checks {
    ($($id:ident $severity:ident $of:literal $finds:literal;)*) => {
        impl Reason {
            $(#[doc = $finds]
            pub const $id: Self = Self::new(stringify!($id), $finds);)*
        }

        $(#[doc = $finds]
        pub const $id: Check = Check { id: Reason::$id, severity: Severity::$severity, of: $of };)*

        /// All checks, in the order of docs/checks.md.
        pub const CHECKS: &[Check] = &[$($id),*];
    };
}

checks! {
    TOPO_TYPE Blocks "mount" "the type of the topology is not known";
    TOPO_UNREACHABLE Blocks "mount" "the topology server does not answer";
    MOUNT_ROOT_MISSING Blocks "mount" "the root holds neither keyspaces nor cells (`node doesn't exist`)";
    MOUNT_WITHOUT_CELLS Warns "mount" "the root holds no cell";
    MOUNT_WITHOUT_KEYSPACES Warns "mount" "the root holds no keyspace";
    CELL_UNREACHABLE Warns "mount" "a cell's own topology server does not answer";
    TABLET_UNREACHABLE Warns "mount" "a tablet cannot be dialled (the first 64 are tried)";
    VERSION_UNTRIED Warns "mount" "a tablet's version is not one of 22 to 25";
    VERSION_UNKNOWN Unchecked "mount" "tablets do not report their version";

    MOUNT_UNKNOWN Blocks "create" "no mount of that name";
    TOPO_NODE_MISSING Blocks "create" "a keyspace, its shards or its vschema are not there";
    NO_SERVING_SHARDS Blocks "create" "a keyspace has no serving shard";
    SHARD_WITHOUT_PRIMARY Blocks "create" "a serving shard has no primary";
    PRIMARY_WITHOUT_RECORD Blocks "create" "the tablet record of a primary is not there";
    PRIMARY_SHUT_DOWN Blocks "create" "the primary of a serving shard was shut down";
    SAME_KEYSPACE Blocks "create" "source and target are the same keyspace of the same cluster";
    SHARDS_NOT_A_PARTITION Blocks "create" "the serving shards of the target do not cover every row once";

    WORKFLOW_EXISTS Blocks "create" "the name is taken";
    CREATE_HALF_TAKEN_BACK Blocks "create" "an earlier create failed and is still to be cleaned up";
    SHARDS_CHANGED Blocks "create" "the target's shards are not those that an interrupted create worked on";
    WRITES_NOT_DENIED Blocks "create" "clients could write to tables into which an interrupted create's streams copy";
    PLAN_CHANGED Blocks "create" "what an interrupted create began is not what is planned now: its streams, or its tables";
    TABLE_IN_OTHER_WORKFLOW Blocks "create" "another workflow writes to the same table of the target";
    LEFTOVER_RECORD Warns "create" "a record of an earlier workflow of that name is there without its streams";
    LEFTOVER_COPY_STATE Warns "create" "copy states of streams that are gone";
    ALREADY_DENIED Warns "create" "another program denied writes to a table of the target: complete will not lift that";

    NO_TABLES Blocks "create" "there is no table to move";
    TABLE_MISSING Blocks "create" "a table that was named is not in the source";
    TABLE_MISSING_ON_SHARD Blocks "create" "a table is not on every source shard";
    TABLE_IS_VIEW Blocks "create" "a view was named; only tables are moved";
    TABLE_INTERNAL Blocks "create" "a table was named whose name is like those that Vitess gives its own";
    INTERNAL_LEFT_OUT Warns "create" "tables with names like those that Vitess gives its own are not moved";
    TABLE_NAME_UNFIT Blocks "create" "a table's name begins with a slash, has a back-quote or more bytes than tablets keep";
    TARGET_NAME_UNREADABLE Blocks "create" "a table of the target, moved or not, has a back-quote in its name: its tablets run no stream";
    NAME_NOT_QUOTED Blocks "create" "a name that MySQL reserves and tablets do not quote (a warning where the source may still be read)";
    FUNCTIONAL_KEY Warns "create" "a table has a key with an expression: tablets copy it and cannot stream its changes";
    MULTI_VALUED_KEY Warns "create" "a table of the source, moved or not, has a key of arrays: a change of it ends every stream";
    LETTER_CASE Blocks "create" "tables that the target's MySQL or its tablets do not tell apart by letter case";
    VIEW_ON_TARGET Blocks "create" "a view of the target has the name of a table";
    TABLE_DIFFERS_BETWEEN_SHARDS Blocks "create" "source shards have other columns for the same table (a warning where nothing is lost)";
    TARGET_NOT_EMPTY Blocks "create" "a table of the target holds rows";
    COLUMN_MISSING_ON_TARGET Blocks "create" "the target's table lacks a column that the source's has";
    DEFINITION_DIFFERS Warns "create" "the target's table is there and differs from the source's";
    NOT_MOVED Warns "create" "views, triggers, routines and events of the source are not moved";
    TABLE_WITHOUT_KEY Warns "create" "a table has neither a primary key nor a unique key without NULL";
    FOREIGN_KEYS_DEFERRED Blocks "create" "deferred secondary keys cannot drop a key that a foreign key needs";
    AUTO_INCREMENT_KEY_DEFERRED Blocks "create" "the same for the only key of an AUTO_INCREMENT column";
    FOREIGN_KEY_PARENT_MISSING Warns "create" "a foreign key points to a table that is neither moved nor there";
    CASCADE_NOT_STREAMED Warns "create" "a foreign key of the source cascades to other rows, which streams do not see";
    AUTO_INCREMENT_SHARDED Warns "create" "an AUTO_INCREMENT column on several shards needs a sequence";

    SEQUENCE_UNKNOWN Warns "create" "the vschema names a sequence that vtgate would not find";
    SEQUENCE_BEHIND Warns "create" "a sequence would give out ids that the table has already";
    VSCHEMA_TYPES_KEPT Warns "create" "sequence and reference tables are written to the target's vschema as such";

    VSCHEMA_NOT_SHARDED Blocks "create" "several shards, but an unsharded vschema: every row would be on each";
    TABLE_NOT_IN_VSCHEMA Blocks "create" "a table is not in the target's vschema";
    TABLE_WITHOUT_VINDEX Blocks "create" "a table has no primary vindex (MySQL error 1105 later)";
    VINDEX_MISSING Blocks "create" "a table names a vindex that the vschema does not have";
    NO_USABLE_VINDEX Blocks "create" "no vindex of the table can compute a keyspace id";
    VINDEX_UNKNOWN_AT_SOURCE Blocks "create" "the vindex cannot be sent to the source's tablets";
    VINDEX_COLUMN_MISSING Blocks "create" "a column of the vindex that filters rows is not in the table (a warning for other vindexes)";
    VINDEX_COLUMN_TYPE Warns "create" "the vindex takes numbers and the column holds something else";
    LOOKUP_OWNER_LEFT_OUT Warns "create" "a table needs a lookup vindex whose owner is neither moved nor there";
    LOOKUP_NOT_FILLED Warns "create" "streams do not fill the table behind a lookup vindex";

    CELL_UNKNOWN Blocks "create" "a cell that neither cluster has";
    ALIAS_UNREADABLE Warns "create" "a cells alias of the source cannot be decoded and was passed over";
    NO_SOURCE_TABLET Blocks "create" "no tablet of these types and cells (`No tablet found for streaming`)";
    SOURCE_TABLET_NOT_SERVING Blocks "create" "the tablets of these types and cells are there, but none serves now";
    SOURCE_TABLET_STALLED Warns "create" "a source tablet that streams may read from does not replicate, or lags";
    SOURCE_HEALTH_UNKNOWN Unchecked "create" "a source tablet did not report its health";
    BINLOG_OFF Blocks "create" "a source tablet writes no binlog";
    BINLOG_NOT_ROW Blocks "create" "a source tablet's binlog_format is not ROW";
    ROW_IMAGE_MINIMAL Blocks "create" "a source tablet's binlog_row_image leaves columns out";
    ROW_IMAGE_NOBLOB Warns "create" "a source tablet's binlog_row_image leaves blobs out";
    TARGET_ROW_IMAGE Blocks "create" "the MySQL of a target primary has a binlog_row_image with which tablets run no stream of a Migrate";
    GTID_OFF Blocks "create" "a source tablet has no GTIDs, and reads no places in binlogs either";
    BINLOG_RETENTION Warns "create" "the source may purge binlogs before the copy is over (an estimate)";
    SOURCE_NOT_ASKED Unchecked "create" "a source tablet did not answer what the checks ask of it";
    TARGET_NOT_ASKED Unchecked "create" "a target tablet did not answer what the checks ask of it";
    DISK_FREE_UNKNOWN Unchecked "create" "tablets do not report free disk space; what is needed is estimated";
    VREPLICATION_PERMISSIONS Blocks "create" "the user of vreplication may not write the sidecar tables";
    VERSION_TOO_OLD Blocks "create" "a target tablet is of before Vitess 22: complete could not freeze its streams";
    BATCHING_STAYS Warns "create" "batching of changes should be switched off, and source and target spell that differently";
    TIME_ZONE_UNKNOWN Blocks "create" "the target's MySQL cannot convert from the source's time zone";

    WORKFLOW_UNKNOWN Blocks "complete, cancel" "no streams of that workflow";
    WORKFLOW_TYPE Blocks "complete, cancel" "the workflow is no Migrate";
    RECORD_UNREADABLE Blocks "complete, cancel" "the workflow's record cannot be read: only a delete that keeps the data goes on (create, too; a warning of leftovers)";
    CREATE_UNFINISHED Blocks "complete" "the workflow's create was interrupted or is being taken back";
    CANCEL_HAS_BEGUN Blocks "complete" "the workflow's cancel began to drop tables, and did not finish";
    STREAM_MISSING Blocks "complete" "a serving shard has no stream of the workflow, or none of a source shard that feeds it";
    COPYING Blocks "complete" "a stream has not finished copying";
    NOT_RUNNING Blocks "complete" "a stream is stopped or in error";
    ERROR Blocks "complete" "a stream reports an error";
    BEHIND Blocks "complete" "a stream has received nothing from the source for a long time, or does not reach its position";
    CATCHING_UP Warns "complete" "a stream is not at the source's position yet; complete waits for it for a while";
    PAUSED_FOR_VDIFF Warns "complete" "a VDiff has stopped a stream for a moment and will start it again";
    SOURCE_REPLICA_STALLED Warns "complete" "a stream runs and gets nothing, for its source tablet does not replicate, or lags; the first blocks while the stream is behind";
    GTID_PURGED Blocks "complete" "the source purged binlogs that a stream still needs: it can never catch up";
    BINLOG_RISK Warns "complete" "a stream is so far behind that the source will soon purge what it needs";
    SOURCE_UNREACHABLE Blocks "complete" "the source cannot be asked for its position";
    POSITION_UNKNOWN Blocks "complete" "a stream's position cannot be compared with its source's";
    POSITION_AHEAD Blocks "complete" "a stream has applied transactions that the source has lost, as after a restore from a backup";
    MOUNT_CHANGED Blocks "complete" "the mount leads to another cluster than when the workflow was created, or the source's keyspace was made anew (create that goes on, too)";
    STOPPED_AFTER_COPY Warns "complete" "a stream stopped after its copy, as it was asked to: later writes of the source are not in it";
    VDIFF_MISMATCH Blocks "complete" "the last VDiff that compared a table found rows that differ";
    VDIFF_NONE Warns "complete" "the rows were never compared";
    VDIFF_UNFINISHED Warns "complete" "the last VDiff is not completed on every shard";
    VDIFF_PARTIAL Warns "complete" "the last VDiff left tables of the workflow out";
    VDIFF_OLD Warns "complete" "the last VDiff ended more than a day ago";
    VDIFF_UNKNOWN Unchecked "complete" "a tablet did not report its VDiffs (where VDiff refuses: no diff of that UUID)";
    VINDEX_CHANGED Blocks "complete" "a vindex, or the vschema of a table, is not the one that the streams filter by";
    COLUMN_LOST Blocks "complete" "the source's table has a column that the target's lacks";
    TABLE_LOST Blocks "complete" "a table of the workflow is not on a target shard";
    TABLE_NOT_BROUGHT Blocks "complete" "no stream brings a table of the workflow into a target shard";
    TABLE_GONE Warns "complete" "a table of the workflow is not in the source any more";
    TABLE_ADDED Warns "complete" "the source has got a table since create chose all that there were: no stream brings it (only the verdict asks)";
    SCHEMA_DIFFERS Warns "complete" "columns of source and target differ in type, NULL, collation or number";
    SCHEMA_UNKNOWN Unchecked "complete" "a tablet of the target or of the source did not report its columns";
    VINDEX_UNREAD Unchecked "complete" "a cell of the source did not report the serving vschema in which its tablets look vindexes up";
    SEQUENCE_MISSING Warns "complete" "an AUTO_INCREMENT column on several shards has no sequence in the vschema, or vtgate would not find it";
    SEQUENCE_LOW Warns "complete" "a sequence would give out ids that the table has already";
    TABLE_UNROUTED Warns "complete" "a table is not in the target's sharded vschema: vtgate will not find it";
    OVERRIDES_UNREAD Warns "complete" "a target tablet was upgraded and does not read the workflow's config overrides: nothing runs";
    DENIED_MISSING Warns "complete" "a table of the workflow is not denied on the target: somebody may have written to it";
    DENIED_ELSEWHERE Warns "complete" "another program denied writes to a table of the workflow: complete does not lift that";
    TABLES_NOT_OWNED Blocks "cancel" "tables contain what cannot be proven to be the workflow's own";
    TABLES_SHARED Blocks "cancel" "another workflow works on tables of the record that the streams do not bring (complete, too)";
    COMPLETE_HAS_BEGUN Blocks "cancel" "the tables may hold new rows of the target";
    WRITES_SWITCHED Blocks "cancel" "routing rules send writes to the target";
    RULES_UNREADABLE Blocks "cancel" "routing rules cannot be decoded, which may send writes to the target: only a delete that keeps the data goes on";

    WAY_BACK_OF_ANOTHER Blocks "cancel" "the workflow is the way back of another cluster's migration: its tables are the keyspace's own (complete, too)";
    WAY_BACK_TOO_LATE Blocks "way back" "the migration is not at a point where its way back can be prepared";
    WAY_BACK_TARGET_WRITTEN Blocks "way back" "clients could write to a table of the target before complete";
    WAY_BACK_TABLE Blocks "way back" "a table of the workflow is not on every shard of the source any more";
    WAY_BACK_AUTO_INCREMENT Blocks "way back" "shards of the target count an AUTO_INCREMENT column for themselves: rows would meet in the source";
    WAY_BACK_UNIQUE Warns "way back" "a key is unique on each shard of the target only: a row may break it in the source";
    WAY_BACK_FOREIGN_KEY Blocks "way back" "a foreign key of the source leads from a table of the workflow to another one, or back; or one of the target changes rows that no binlog has (a warning where only the source's does)";
    WAY_BACK_TRIGGER Warns "way back" "a table of the source has triggers, which fire for every row that comes back";
    WAY_BACK_READ_ONLY Blocks "way back" "the MySQL of a primary of the source is read-only";
    WAY_BACK_TOPO_LOCAL Warns "way back" "source tablets on other hosts are given a loopback address of the target's topology server";
    WAY_BACK_NOT_OPEN Blocks "way back" "complete could not open the way back: prepare opens it when called again";
    WAY_BACK_MISSED Blocks "way back" "the target was handed over and its positions were not noted before: there is no way back";
    WAY_BACK_BOTH_WRITABLE Blocks "way back" "clients may write to the source and to the target (a warning once the way back is open)";
    WAY_BACK_STANDS Warns "way back" "streams of an open way back were stopped for going back, which was abandoned: prepare starts them again";
    WAY_BACK_BOTH_WRITTEN Blocks "way back" "clients could write to the source after complete had read it for the last time, or had handed the target over, or complete was told to go on without that, and no VDiff has found since that both sides have the same rows (a warning with `--allow-unfinished-complete`)";

    CREATE_INTERRUPTED Warns "leftovers" "a create was interrupted (cleaned when the tables that it made are empty)";
    COMPLETE_INTERRUPTED Warns "leftovers" "a complete was interrupted: repeating it finishes the job";
    RECORD_WITHOUT_STREAMS Warns "leftovers" "a workflow's record without its streams: denied tables, vschema entries (cleaned; its tables stay)";
    RECORD_OF_NO_KEYSPACE Warns "leftovers" "a workflow's record in a keyspace that is gone (cleaned)";
    WORKFLOW_HALF_GONE Warns "leftovers" "a workflow has streams on some of the shards only";
    COPY_STATE_ORPHANED Warns "leftovers" "copy states of streams that are gone (cleaned)";
    KEYS_ORPHANED Warns "leftovers" "secondary keys that a stream dropped and, being gone, will not restore (the note is cleaned)";
    VDIFF_ORPHANED Warns "leftovers" "a diff whose workflow is gone (cleaned)";
    VDIFF_ROWS_ORPHANED Warns "leftovers" "tables or log lines of diffs that are gone (cleaned)";
    LOCK_WITHOUT_LEASE Warns "leftovers" "a lock that would never be released (cleaned)";
    LOCK_OLD Warns "leftovers" "a lock that has been held for more than an hour";
    WAY_BACK_LEFT Warns "leftovers" "a way back that was not finished, whose migration is gone, or that has been open for more than a week";
    MOUNT_UNUSED Warns "leftovers" "no workflow reads from a mount";
    NOT_READ Unchecked "leftovers" "something could not be checked";
}
