//! Reasons: all words by which programs tell refusals and failures apart. Those that are [checks](super::check), too, are in the
//! table of these; docs/checks.md has both tables, and tests hold it.

use std::fmt;

use serde::{Serialize, Serializer};

/// A stable word in capitals, such as `TOPO_NODE_MISSING`: why something was refused or failed, or what a check has found. There
/// are no others than the constants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    id: &'static str,
    means: &'static str,
}

impl Reason {
    pub(super) const fn new(id: &'static str, means: &'static str) -> Self {
        Self { id, means }
    }

    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.id
    }

    /// One sentence of what it stands for.
    pub const fn means(self) -> &'static str {
        self.means
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.id)
    }
}

impl PartialEq<str> for Reason {
    fn eq(&self, other: &str) -> bool {
        self.id == other
    }
}

impl PartialEq<&str> for Reason {
    fn eq(&self, other: &&str) -> bool {
        self.id == *other
    }
}

macro_rules! reasons {
    ($($id:ident $means:literal;)*) => {
        impl Reason {
            $(#[doc = $means]
            pub const $id: Self = Self::new(stringify!($id), $means);)*
        }

        /// Reasons that are no checks, in the order of docs/checks.md.
        pub const REASONS: &[Reason] = &[$(Reason::$id),*];
    };
}

reasons! {
    BAD_ADDRESS "the address of a topology server is no list of hosts and ports";
    BAD_ARGUMENT "an argument that cannot be served";
    BAD_CELL "the record of a cell has no root";
    BAD_DURATION "a time that is negative";
    BAD_MOUNT "the settings of a mount lack something";
    BAD_NAME "a name that is empty, too long or no name";
    BAD_NUMBER "a number that is negative";
    BAD_ON_DDL "an unknown value of `--on-ddl`";
    BAD_TABLET_TYPE "a type of tablets that streams and diffs do not read from";
    BAD_TIME_ZONE "a text that is not a time zone";
    BAD_UUID "a text that is not a UUID";
    NO_CHANGE "a change of a workflow that changes nothing";
    NO_MOUNT "`create` without the name of a mount";
    NO_SHARDS "a keyspace has no shards";
    SHARD_UNKNOWN "a shard that was named is not in its keyspace, or the workflow is not on it";
    SHARDS_OF_WORKFLOW "a delete of a workflow on some of its shards";
    KEYSPACE_UNKNOWN "a keyspace that was named does not exist";

    TOPO_NODE_EXISTS "a record is there already";
    TOPO_CONFLICT "another client changed the same record at the same time";
    TOPO_TIMEOUT "a topology server did not answer in time, or another operation holds the lock";
    TOPO_INTERRUPTED "a topology server interrupted the call";
    TOPO_EXHAUSTED "a topology server has no room for more";
    TOPO_PARTIAL "some cells could not be read";
    TOPO_LOCK_LOST "the lease of a lock ended before a write: nothing was written";
    TOPO_NOT_EMPTY "a directory of the topology is not empty";
    TOPO_BAD_DATA "a record is not what Vitess writes there";
    TOPO_BACKEND "an error that a topology server reports";
    TOPO_VERSION "a version of a record that is not stored any more";
    MOUNT_SETTINGS "the entry of `--mount-settings` is not for this server";
    MOUNT_READ_ONLY "a write into the topology of a mount, which is only read";
    MOUNT_EXISTS "the name of a mount is taken by one that leads elsewhere";
    MOUNT_IN_USE "a mount that workflows read from cannot be unregistered";
    MOUNT_USERS_UNKNOWN "it is not known whether workflows read from a mount";

    TABLET_ERROR "an error that a tablet, or its MySQL, reports";
    TABLET_SLOW "a tablet did not answer in time";
    VSCHEMA_SYNTAX "a statement that cannot be parsed, or changes no vschema";
    VSCHEMA_STATEMENT "a statement that does not fit the vschema as it is";
    VSCHEMA_INVALID "a vschema that vtgates would not take";
    VINDEX_UNKNOWN_PARAMS "a vindex has parameters that its type does not have";

    WORKFLOW_NOT_DONE "`complete` is refused: the violations name the checks";
    WORKFLOW_RIVAL "another client created a workflow of the same name at the same time";
    STREAMS_DISAGREE "some streams of a workflow were changed one by one";
    STREAM_STATE "a stream does not run, or copies still";
    PRIMARY_CHANGES "a shard is being reparented";
    PRIMARY_CHANGED "a shard got another primary during the operation";
    PRIMARY_UNAWARE "a primary did not read that its tables are denied";
    NOT_FROZEN "a stream was started while it had to be stopped";
    FROZEN "`complete`, or what was begun before, has stopped it for good";
    DENIAL_NOT_IN_FORCE "a primary lets clients write to tables that its shard's record denies";
    DELETE_HAS_BEGUN "a `delete --keep-data` was cut off and is to be repeated";
    CREATE_UNCERTAIN "a tablet did not answer while a failed `create` was undone";
    STATUS_NOT_READ "the workflow was created, and its status could not be read";
    TABLES_FILLED "rows were written to tables that were empty";
    KEY_NOT_BUILT "MySQL cannot rebuild a key that the copy dropped";
    DDL_UNREADABLE "the foreign keys cannot be removed from a table's definition";
    LEFTOVER_CHANGED "a leftover has changed since the report";
    NO_TRAFFIC "traffic of a Migrate is not switched, reversed or mirrored";

    VDIFF_EXISTS "a diff of that UUID is there already";
    VDIFF_NOT_STOPPED "a diff to be resumed runs, or has failed";
    VDIFF_ENGINE_CLOSED "a tablet is just being made the primary";
    VDIFF_NOT_EVERYWHERE "the last diff is not the same one on all shards";
    STREAMS_NOT_RUNNING "a diff needs streams that run: the violations name those that do not";
    NO_HEALTHY_TABLET "no tablet that a diff could read from answers healthy";
    NO_TABLET_TO_COMPARE "no tablet of these types and cells for a diff";
    SOURCE_TABLE_MISSING "a table to compare is not in the source: tablets would crash";
    TABLE_UNKNOWN "a table to compare is not one of the workflow's";

    WAY_BACK_UNKNOWN "there is no way back";
    WAY_BACK_EXISTS "there is a way back, which must end first";
    WAY_BACK_NAME_TAKEN "the source has a workflow of the name of the way back";
    WAY_BACK_PHASE "what was asked does not fit where the way back stands";
    WAY_BACK_NOT_READY "going back is refused: the violations name the checks";
    WAY_BACK_STREAMS "the streams of the way back are not those that its record names";
    WAY_BACK_POSITION "the position of a shard was not noted";
    WAY_BACK_UNREAD "the record of a way back cannot be read";
    WAY_BACK_READABLE "`--forget-record` of a record that can be read";
    KEPT_OUT_TOO_LONG "writes were denied on both sides for as long as is allowed";
    SOURCE_STAYS_DENIED "clients may be able to write to neither side";

    CELL_IN_USE "a cell serves keyspaces, or has tablets of the shard";
    CELL_NOT_SERVING "a shard is not served in the cell";
    KEYSPACE_HAS_SHARDS "a keyspace to be deleted has shards";
    SHARD_SERVING "a shard to be deleted serves";
    SHARD_HAS_TABLETS "a shard to be deleted has tablets";
    SHARD_RANGES "the shards of a partition do not cover every row once";
    NOT_SERVED "a cell does not serve the keyspace";
    DENIED_TABLES "a shard denies tables: its query service cannot be switched";
    QUERY_SERVICE_DISABLED "a query service is switched off: the serving keyspace cannot be built";
    DURABILITY_POLICY "an unknown durability policy, or one that the shard's tablets cannot satisfy";
    NO_PRIMARY "a shard has no primary";
    IS_PRIMARY "the tablet is the primary";
    NOT_PRIMARY "the tablet is not the shard's only primary";
    NOT_IN_SHARD "the tablet is not in the shard";
    NOT_FIRST_ELECTION "a shard that had a primary is reparented by stock vtctlds";
    EXPECTED_PRIMARY "the primary is not the tablet that was expected";
    AVOIDED "the tablet to elect is the one to avoid";
    NO_CANDIDATE "no tablet can be made the primary";
    POSITION "the position of a replica cannot be read";
    NO_TABLET "no tablet can take the backup";
    TYPE_CHANGE "a tablet cannot be made one of that type";
    HOOK_NAME "the name of a hook has a slash";
    METRIC "a metric that the throttler does not have";
    NO_SQL "there is no statement";
    NOT_DDL "a statement other than DDL for several shards";
    DDL_STRATEGY "a strategy of schema changes that is left to stock vtctlds";
    SCHEMA_CHANGE_FAILED "a schema change failed on some shards";
    SCHEMAS_DIFFER "two tablets have different schemas";
    PERMISSIONS_DIFFER "two tablets have different users or rights";

    COMMAND_NOT_SERVED "a legacy command that is left to stock vtctlds";
    STREAM_ERROR "a stream that was to start reports an error";
    NOT_STARTED "the streams did not start in time";
    BUSY "the HTTP server is handling as many requests as it may";
    DEADLINE "nothing answered the watcher in time";
    DEADLINE_EXCEEDED "nothing answered the page in time";
    INTERNAL "anything else";
}

#[cfg(test)]
mod tests;
