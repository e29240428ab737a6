//! Rows of `_vt.schema_migrations` as messages.
//!
//! Times are read as seconds since the epoch, so neither the time zone of MySQL nor that of this host matters.

use std::collections::HashMap;
use std::str::FromStr;

use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::topodata::TabletAlias;
use vtmigrated_proto::vtctldata::SchemaMigration;
use vtmigrated_proto::vtctldata::schema_migration::{Status, Strategy};
use vtmigrated_proto::vttime::{Duration, Time};

use crate::sql::rows;

/// Columns with a time (Vitess 22 to 24), and under which name they are read.
pub(super) const TIMES: [(&str, &str); 11] = [
    ("added_timestamp", "added_at"),
    ("requested_timestamp", "requested_at"),
    ("ready_timestamp", "ready_at"),
    ("started_timestamp", "started_at"),
    ("liveness_timestamp", "liveness_at"),
    ("completed_timestamp", "completed_at"),
    ("cleanup_timestamp", "cleaned_up_at"),
    ("last_throttled_timestamp", "last_throttled_at"),
    ("cancelled_timestamp", "cancelled_at"),
    ("reviewed_timestamp", "reviewed_at"),
    ("ready_to_complete_timestamp", "ready_to_complete_at"),
];
/// A strategy that the messages do not know: clients show it as unknown.
const OTHER_STRATEGY: i32 = -1;
/// Numbers of strategies of the past, which the messages have reserved.
const PAST: [(&str, i32); 2] = [("gh-ost", 1), ("pt-osc", 2)];

/// The schema changes of a result. Columns that are not there, and values that cannot be read, are as if nothing was there.
pub fn read(result: &QueryResult) -> Vec<SchemaMigration> {
    let names: Vec<&str> = result.fields.iter().map(|field| field.name.as_str()).collect();
    let row = |row| Row(names.iter().copied().zip(rows::values(row)).collect());
    result.rows.iter().map(|found| row(found).migration()).collect()
}

struct Row<'a>(HashMap<&'a str, Option<&'a [u8]>>);

impl Row<'_> {
    fn text(&self, name: &str) -> String {
        let bytes = self.0.get(name).copied().flatten().unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).parse().ok()
    }

    fn count<T: FromStr + Default>(&self, name: &str) -> T {
        self.number(name).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.text(name) == "1"
    }

    /// Seconds with a fraction; MySQL's zero time is none.
    fn time(&self, name: &str) -> Option<Time> {
        let text = self.text(name);
        let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let nanoseconds = format!("{fraction:0<9}").get(..9).and_then(|digits| digits.parse().ok()).unwrap_or_default();
        let time = Time { seconds: seconds.parse().ok()?, nanoseconds };
        (time != Time::default()).then_some(time)
    }

    fn strategy(&self) -> i32 {
        let name = self.text("strategy");
        let past = PAST.iter().find(|(past, _)| *past == name).map(|(_, number)| *number);
        let known = |name: &str| match name {
            // before there were names
            "" => Some(Strategy::Direct),
            "online" => Some(Strategy::Vitess),
            name => Strategy::from_str_name(&name.to_ascii_uppercase()),
        };
        past.or_else(|| known(&name).map(i32::from)).unwrap_or(OTHER_STRATEGY)
    }

    fn tablet(&self) -> Option<TabletAlias> {
        let text = self.text("tablet");
        let (cell, uid) = text.rsplit_once('-')?;
        Some(TabletAlias { cell: cell.to_owned(), uid: uid.parse().ok()? })
    }

    fn migration(&self) -> SchemaMigration {
        let status = Status::from_str_name(&self.text("migration_status").to_ascii_uppercase());
        let retention = self.number("retain_artifacts_seconds").map(|seconds| Duration { seconds, nanos: 0 });
        SchemaMigration {
            uuid: self.text("migration_uuid"),
            keyspace: self.text("keyspace"),
            shard: self.text("shard"),
            schema: self.text("mysql_schema"),
            table: self.text("mysql_table"),
            migration_statement: self.text("migration_statement"),
            strategy: self.strategy(),
            options: self.text("options"),
            added_at: self.time("added_at"),
            requested_at: self.time("requested_at"),
            ready_at: self.time("ready_at"),
            started_at: self.time("started_at"),
            liveness_timestamp: self.time("liveness_at"),
            completed_at: self.time("completed_at"),
            cleaned_up_at: self.time("cleaned_up_at"),
            status: status.unwrap_or_default().into(),
            log_path: self.text("log_path"),
            artifacts: self.text("artifacts"),
            retries: self.count("retries"),
            tablet: self.tablet(),
            tablet_failure: self.is("tablet_failure"),
            progress: self.count("progress"),
            migration_context: self.text("migration_context"),
            ddl_action: self.text("ddl_action"),
            message: self.text("message"),
            eta_seconds: self.number("eta_seconds").unwrap_or(-1),
            rows_copied: self.count("rows_copied"),
            table_rows: self.count("table_rows"),
            added_unique_keys: self.count("added_unique_keys"),
            removed_unique_keys: self.count("removed_unique_keys"),
            log_file: self.text("log_file"),
            artifact_retention: retention,
            postpone_completion: self.is("postpone_completion"),
            removed_unique_key_names: self.text("removed_unique_key_names"),
            dropped_no_default_column_names: self.text("dropped_no_default_column_names"),
            expanded_column_names: self.text("expanded_column_names"),
            revertible_notes: self.text("revertible_notes"),
            allow_concurrent: self.is("allow_concurrent"),
            reverted_uuid: self.text("reverted_uuid"),
            is_view: self.is("is_view"),
            ready_to_complete: self.is("ready_to_complete"),
            vitess_liveness_indicator: self.count("vitess_liveness_indicator"),
            user_throttle_ratio: self.count("user_throttle_ratio"),
            special_plan: self.text("special_plan"),
            last_throttled_at: self.time("last_throttled_at"),
            component_throttled: self.text("component_throttled"),
            cancelled_at: self.time("cancelled_at"),
            postpone_launch: self.is("postpone_launch"),
            stage: self.text("stage"),
            cutover_attempts: self.count("cutover_attempts"),
            is_immediate_operation: self.is("is_immediate_operation"),
            reviewed_at: self.time("reviewed_at"),
            ready_to_complete_at: self.time("ready_to_complete_at"),
            removed_foreign_key_names: self.text("removed_foreign_key_names"),
            in_order_completion_pending_count: self.count("in_order_completion_pending_count"),
        }
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::Field;

    use super::*;

    fn one(columns: &[(&str, Option<&str>)]) -> SchemaMigration {
        let fields = columns.iter().map(|(name, _)| Field { name: (*name).to_owned(), ..Field::default() }).collect();
        let row = rows::row(columns.iter().map(|(_, value)| value.map(str::as_bytes)));
        read(&QueryResult { fields, rows: vec![row], ..QueryResult::default() }).remove(0)
    }

    #[test]
    fn values_are_read_by_name_and_kind() {
        let found = one(&[
            ("retries", Some("3")),
            ("migration_uuid", Some("u")),
            ("strategy", Some("vitess")),
            ("migration_status", Some("cancelled")),
            ("tablet", Some("zone-1-0000000100")),
            ("tablet_failure", Some("1")),
            ("progress", Some("12.5")),
            ("eta_seconds", None),
            ("retain_artifacts_seconds", Some("86400")),
            ("cancelled_timestamp", Some("2026-11-26 10:00:00")),
            ("cancelled_at", Some("1795687200")),
            ("completed_at", Some("1795687200.123456")),
            ("added_at", Some("0")),
            ("ready_at", None),
        ]);
        assert_eq!((found.uuid.as_str(), found.retries, found.status()), ("u", 3, Status::Cancelled));
        assert_eq!(found.strategy(), Strategy::Vitess);
        assert_eq!(found.tablet, Some(TabletAlias { cell: "zone-1".into(), uid: 100 }));
        assert_eq!((found.tablet_failure, found.progress, found.eta_seconds), (true, 12.5, -1));
        assert_eq!(found.artifact_retention, Some(Duration { seconds: 86400, nanos: 0 }));
        assert_eq!(found.cancelled_at, Some(Time { seconds: 1_795_687_200, nanoseconds: 0 }));
        assert_eq!(found.completed_at, Some(Time { seconds: 1_795_687_200, nanoseconds: 123_456_000 }));
        assert_eq!((found.added_at, found.ready_at, found.is_view), (None, None, false));
    }

    #[test]
    fn one_odd_row_does_not_hide_the_others() {
        let strategy = |name: &str| one(&[("strategy", Some(name))]).strategy;
        assert_eq!(["", "direct", "online", "mysql"].map(strategy), [3, 3, 0, 4]);
        assert_eq!(["gh-ost", "pt-osc", "of the future"].map(strategy), [1, 2, -1]);
        assert_eq!(one(&[("migration_status", Some("review")), ("tablet", Some("x"))]).status(), Status::Unknown);
    }
}
