//! Runs the statements of [`Statement`] on a shard's contents.

use std::time::SystemTime;

use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    query::{QueryResult, Type},
};

use super::{
    contents::Contents,
    diff::Diff,
    result::{changed, result, utc},
    statement::{Statement, recognise},
    stream::{ROWS, Stream, seconds},
};

const TEXT: Type = Type::Varchar;
const NUMBER: Type = Type::Int64;

/// Settings that let a migration go on.
const SETTINGS: [(&str, &str); 6] = [
    ("version", "8.0.30"),
    ("log_bin", "ON"),
    ("binlog_format", "ROW"),
    ("binlog_row_image", "FULL"),
    ("gtid_mode", "ON"),
    ("binlog_expire_logs_seconds", "2592000"),
];

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn missing(db_name: &str, table: &str) -> String {
    format!("Table '{db_name}.{table}' doesn't exist (errno 1146) (sqlstate 42S02)")
}

impl Contents {
    /// Runs one statement. No more than `max_rows` rows are answered, 0 is without a bound.
    ///
    /// # Errors
    /// MySQL's texts; statements that are not known.
    pub fn run(&mut self, query: &str, max_rows: u64, now: SystemTime) -> Result<QueryResult, String> {
        let statement = recognise(query);
        let answer = self.execute(statement.ok_or_else(|| format!("a light tablet does not know: {query}"))?, now)?;
        if max_rows > 0 && answer.rows.len() as u64 > max_rows {
            return Err(format!("Row count exceeded {max_rows} (errno 10001) (sqlstate HY000)"));
        }
        Ok(answer)
    }

    fn execute(&mut self, statement: Statement, now: SystemTime) -> Result<QueryResult, String> {
        Ok(match statement {
            Statement::DeleteStreams(which) => changed(self.delete(&which)),
            Statement::SetStreams { which, state, message } => {
                let state = state.and_then(|name| State::from_str_name(&name));
                changed(self.set(&which, state, message.as_deref(), now))
            }
            Statement::Drop { tables, if_exists } => {
                self.version += 1;
                for table in tables {
                    if self.tables.remove(table.as_str()).is_none() && !if_exists {
                        let db = &self.db_name;
                        return Err(format!("Unknown table '{db}.{table}' (errno 1051) (sqlstate 42S02)"));
                    }
                }
                changed(0)
            }
            Statement::Truncate(tables) => {
                self.version += 1;
                for table in tables {
                    let rows = self.tables.get_mut(table.as_str());
                    *rows.ok_or_else(|| missing(&self.db_name, &table))? = 0;
                }
                changed(0)
            }
            Statement::Made(tables) => self.made_at(&tables, now),
            read => return self.read(read),
        })
    }

    fn read(&self, statement: Statement) -> Result<QueryResult, String> {
        Ok(match statement {
            Statement::Columns(tables) => self.columns(&tables),
            Statement::Names(tables) => {
                let there = tables.into_iter().filter(|table| self.tables.contains_key(table.as_str()));
                result(&[("table_name", TEXT)], there.map(|table| vec![table]))
            }
            Statement::Sizes => {
                let columns = [("table_name", TEXT), ("table_rows", NUMBER), ("data_length", NUMBER)];
                let row = |(name, rows): (&std::sync::Arc<str>, &u64)| texts(&[name, &rows.to_string(), "16384"]);
                result(&columns, self.tables.iter().map(row))
            }
            Statement::Filled(asked) => {
                let filled = self.with_rows(asked)?.into_iter().filter(|(_, rows)| *rows > 0);
                result(&[("n", NUMBER)], filled.map(|(number, _)| vec![number]))
            }
            Statement::Bounds(asked) => {
                let columns = [("n", NUMBER), ("low", NUMBER), ("high", NUMBER)];
                let filled = self.with_rows(asked)?.into_iter().filter(|(_, rows)| *rows > 0);
                result(&columns, filled.map(|(number, rows)| vec![number, "1".to_owned(), rows.to_string()]))
            }
            Statement::Greatest(asked) => {
                let all = self.with_rows(asked)?.into_iter();
                result(&[("n", NUMBER), ("max", NUMBER)], all.map(|(number, rows)| vec![number, rows.to_string()]))
            }
            Statement::TimeZone => result(&[("converted", TEXT)], [texts(&["2006-01-02 15:04:05"])]),
            Statement::Settings => {
                let columns = ["variable", "name", "value"].map(|name| (name, TEXT));
                result(&columns, SETTINGS.map(|(name, value)| texts(&["variable", name, value])))
            }
            Statement::Binlogs => {
                let columns = ["variable_name", "variable_value"].map(|name| (name, TEXT));
                let keeps = texts(&["binlog_expire_logs_seconds", "2592000"]);
                result(&columns, [texts(&["gtid_purged", ""]), keeps])
            }
            Statement::Orphans => result(&[("count(*)", NUMBER)], (0..4).map(|_| texts(&["0"]))),
            of_streams => self.of_streams(of_streams),
        })
    }

    fn of_streams(&self, statement: Statement) -> QueryResult {
        match statement {
            Statement::CopyStates { workflow, streams: ids } => {
                let columns = [("vrepl_id", Type::Int32), ("table_name", Type::Varbinary), ("lastpk", Type::Varbinary)];
                let of = self.streams_of(workflow.as_deref(), &ids);
                let row = |id: i32, (table, last): (&str, Option<u64>)| {
                    vec![id.to_string(), table.to_owned(), last.map(last_key).unwrap_or_default()]
                };
                result(&columns, of.flat_map(|stream| stream.left().map(move |left| row(stream.id, left))))
            }
            Statement::CopyStarts(workflow) => {
                let row = |stream: &Stream| Some(vec![stream.id.to_string(), seconds(stream.begun()?).to_string()]);
                let of = self.streams_of(workflow.as_deref(), &[]);
                result(&[("vrepl_id", NUMBER), ("begun", NUMBER)], of.filter_map(row))
            }
            Statement::Logs { workflow, streams } => self.logs(workflow.as_deref(), &streams),
            Statement::Sources => {
                let row = |stream: &Stream| {
                    let source = &stream.source;
                    let text = format!(
                        r#"keyspace:"{}" shard:"{}" external_cluster:"{}""#,
                        source.keyspace, source.shard, source.external_cluster
                    );
                    vec![stream.workflow().to_owned(), text]
                };
                result(&[("workflow", TEXT), ("source", TEXT)], self.streams.iter().map(row))
            }
            Statement::Ids(workflow) => {
                let of = self.streams_of(workflow.as_deref(), &[]);
                result(&[("id", Type::Int32)], of.map(|stream| vec![stream.id.to_string()]))
            }
            Statement::OrphanedDiffs => {
                let orphaned = |diff: &&Diff| !self.streams.iter().any(|stream| stream.workflow() == diff.workflow);
                let row = |diff: &Diff| texts(&[&diff.uuid, &diff.workflow, diff.state()]);
                let columns = ["vdiff_uuid", "workflow", "state"].map(|name| (name, TEXT));
                result(&columns, self.diffs.iter().filter(orphaned).map(row))
            }
            _ => QueryResult::default(),
        }
    }

    /// The streams of a workflow, or of all, with one of these ids, or with any when there are none.
    fn streams_of<'s>(&'s self, workflow: Option<&'s str>, ids: &'s [i32]) -> impl Iterator<Item = &'s Stream> {
        let wanted = move |stream: &&Stream| {
            (ids.is_empty() || ids.contains(&stream.id)) && workflow.is_none_or(|name| name == stream.workflow())
        };
        self.streams.iter().filter(wanted)
    }

    /// When these tables were made, where they are there, and the time of now.
    fn made_at(&self, tables: &[String], now: SystemTime) -> QueryResult {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = format!("{}.{:06}", since.as_secs(), since.subsec_micros());
        let there = tables.iter().filter(|table| self.tables.contains_key(table.as_str()));
        let row = |table: &String| texts(&[table, &self.made(table).to_string(), &now]);
        let columns = [("table_name", TEXT), ("made", NUMBER), ("now", Type::Decimal)];
        result(&columns, there.map(row))
    }

    /// Rows of each of these tables, with their numbers.
    fn with_rows(&self, asked: Vec<(String, String)>) -> Result<Vec<(String, u64)>, String> {
        let rows = |(number, table): (String, String)| match self.tables.get(table.as_str()) {
            Some(rows) => Ok((number, *rows)),
            None => Err(missing(&self.db_name, &table)),
        };
        asked.into_iter().map(rows).collect()
    }

    fn columns(&self, tables: &[String]) -> QueryResult {
        let columns = ["table_name", "column_name", "column_type", "is_nullable", "extra", "collation_name"];
        let there = tables.iter().filter(|table| self.tables.contains_key(table.as_str()));
        let of = |table: &String| {
            ["id", "v"]
                .map(|column| texts(&[table, column, "bigint", if column == "id" { "NO" } else { "YES" }, "", ""]))
        };
        result(&columns.map(|name| (name, TEXT)), there.flat_map(of))
    }

    fn logs(&self, workflow: Option<&str>, ids: &[i32]) -> QueryResult {
        let columns = [
            ("id", NUMBER),
            ("vrepl_id", NUMBER),
            ("type", TEXT),
            ("state", TEXT),
            ("message", TEXT),
            ("created_at", Type::Timestamp),
            ("updated_at", Type::Timestamp),
            ("count", NUMBER),
        ];
        let of = |stream: &Stream| {
            let id = stream.id;
            let row = move |(at, (kind, state, message, time)): (i32, (&str, &str, String, SystemTime))| {
                let (number, time) = (id * 10 + at, utc(time));
                texts(&[&number.to_string(), &id.to_string(), kind, state, &message, &time, &time, "1"])
            };
            (0..).zip(stream.log()).map(row).collect::<Vec<_>>()
        };
        result(&columns, self.streams_of(workflow, ids).flat_map(of))
    }
}

/// A last key as tablets store it: a query result in prototext.
fn last_key(last: u64) -> String {
    let text = last.min(ROWS).to_string();
    format!("fields:{{name:\"id\" type:INT64}} rows:{{lengths:{} values:\"{text}\"}}", text.len())
}

#[cfg(test)]
mod tests;
