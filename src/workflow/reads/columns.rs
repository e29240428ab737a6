//! Columns of tables, as MySQL tells them.

use futures::FutureExt;
use futures::future::join_all;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::topodata::Tablet;

use super::servers::few;
use crate::context::Context;
use crate::error::check;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::checks::complete::ASK_AGAIN;
use crate::workflow::checks::complete::columns::{Column, Columns, plain_type};
use crate::workflow::findings::Finding;
use crate::workflow::record::Facts;
use crate::workflow::streams::{Keyspace, ShardWorkflow};

/// Columns of some tables on every shard that the workflow with these streams and this record [is about](Keyspace::concerned): one
/// wave. Shards that do not tell are findings.
pub async fn columns_of(
    context: &Context,
    target: &Keyspace,
    (rows, facts): (&[ShardWorkflow], Option<&Facts>),
    tables: &[String],
) -> (Vec<(String, Columns)>, Vec<Finding>) {
    let shards = target.concerned(rows, facts).into_iter().map(|(_, shard)| shard);
    let asked = shards.filter_map(|shard| Some((shard, shard.primary.as_ref()?)));
    let asked = asked.map(|(shard, on)| async move { (&shard.name, columns(context, on, tables).await) });
    let (mut columns, mut silent) = (Vec::new(), Vec::new());
    for (shard, answer) in join_all(asked).await {
        match answer {
            Ok(answer) => columns.push((shard.clone(), answer)),
            Err(error) => {
                let subject = format!("shard {}/{shard}", target.name);
                silent.push(Finding::new(&check::SCHEMA_UNKNOWN, subject, error.to_string(), ASK_AGAIN));
            }
        }
    }
    (columns, silent)
}

/// Tables asked for in one statement.
const AT_ONCE: usize = 500;

const MAX_ROWS: u64 = 1_000_000;

/// Reads the columns of some tables of a tablet's database: one wave, more for very many tables.
///
/// # Errors
/// The tablet does not tell all of them.
pub async fn columns(context: &Context, on: &Tablet, tables: &[String]) -> tablet::Result<Columns> {
    let query = |tables: &[String]| {
        format!(
            "select /*+ MAX_EXECUTION_TIME(4000) */ table_name, column_name, column_type, is_nullable, extra, \
             coalesce(collation_name, '') from information_schema.columns \
             where table_schema = database() and table_name in ({}) order by table_name, ordinal_position",
            quote::literals(tables.iter().map(String::as_str))
        )
    };
    let mut reads = Vec::new();
    for some in tables.chunks(AT_ONCE) {
        reads.push(context.tablets.read(on, query(some), MAX_ROWS).boxed());
    }
    Ok(few(reads).await?.iter().flat_map(decode).collect())
}

/// Decodes the answer to what [`columns`] asks.
pub fn decode(result: &QueryResult) -> Columns {
    let mut columns = Columns::new();
    for row in rows::texts(result) {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let table = next();
        let (name, kind) = (next(), plain_type(&next()));
        let column = Column {
            name,
            kind,
            nullable: next().eq_ignore_ascii_case("yes"),
            auto_increment: next().to_ascii_lowercase().contains("auto_increment"),
            collation: next().replace("utf8_", "utf8mb3_"),
        };
        columns.entry(table).or_default().push(column);
    }
    columns
}
