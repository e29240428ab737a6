//! What is asked of the MySQL servers behind tablets: one statement for each, all at once.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt, TryStreamExt};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::PrimaryPositionRequest;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::checks::servers::{Answers, Server};
use crate::workflow::streams::Keyspace;

/// Server variables that checks look at; those that a version does not have are missing in its answer.
const VARIABLES: &str = "'version', 'log_bin', 'binlog_format', 'binlog_row_image', 'gtid_mode', \
     'binlog_expire_logs_seconds', 'expire_logs_days', 'lower_case_table_names', 'read_only', 'super_read_only'";

/// What a database holds besides tables: views, and the rest. Names are brought to one collation, for `union` refuses a mix.
const VIEWS: &str = " union all select 'view', convert(table_name using utf8mb4), '' from information_schema.views \
     where table_schema = database()";

const INVENTORY: &str = " union all select 'trigger', convert(trigger_name using utf8mb4), '' from information_schema.triggers \
     where trigger_schema = database() \
     union all select convert(lower(routine_type) using utf8mb4), convert(routine_name using utf8mb4), '' \
     from information_schema.routines where routine_schema = database() \
     union all select 'event', convert(event_name using utf8mb4), '' from information_schema.events \
     where event_schema = database()";

/// Tables that have triggers.
const TRIGGERED: &str = " union all select distinct 'triggered', convert(event_object_table using utf8mb4), '' \
     from information_schema.triggers where trigger_schema = database()";

const ORPHANS: &str = " union all select 'copy_state', convert(vrepl_id using utf8mb4), '' from _vt.copy_state \
     where vrepl_id not in (select id from _vt.vreplication)";

const MAX_ROWS: u64 = 100_000;

/// Tables asked for in one statement.
const TABLES_AT_ONCE: usize = 200;

/// Statements that one server is asked at a time.
pub(in crate::workflow) const STATEMENTS_AT_ONCE: usize = 4;

/// Asks a source tablet; what its database holds only when it is the primary.
pub async fn ask_source(context: &Context, shard: String, tablet: &Tablet, primary: bool, candidate: bool) -> Server {
    let (views, inventory) = if primary { (VIEWS, INVENTORY) } else { ("", "") };
    let query = format!("{}{views}{inventory}", variables());
    let mut answers = ask(context, tablet, query).await;
    if let Ok(told) = &mut answers
        && candidate
        && told.gtids_off().is_some()
    {
        told.by_place = tells_places(context, tablet).await;
    }
    Server { shard, alias: tablet::alias(tablet), candidate, answers }
}

/// Whether a tablet's positions are places in binlogs; one that tells none has no such.
async fn tells_places(context: &Context, tablet: &Tablet) -> bool {
    let answer = context.tablets.primary_position(tablet, PrimaryPositionRequest {}).await;
    answer.is_ok_and(|answer| answer.position.starts_with("FilePos/"))
}

/// Asks a target primary, for its views and for its tables with triggers, too.
pub async fn ask_target(context: &Context, shard: String, tablet: &Tablet) -> Server {
    let answers = ask(context, tablet, format!("{}{VIEWS}{TRIGGERED}{ORPHANS}", variables())).await;
    Server { shard, alias: tablet::alias(tablet), candidate: false, answers }
}

fn variables() -> String {
    format!(
        "select /*+ MAX_EXECUTION_TIME(2000) */ 'variable', convert(variable_name using utf8mb4), \
         convert(variable_value using utf8mb4) from performance_schema.global_variables where variable_name in ({VARIABLES})"
    )
}

async fn ask(context: &Context, tablet: &Tablet, query: String) -> std::result::Result<Answers, String> {
    context.tablets.read(tablet, query, MAX_ROWS).await.map(|result| decode(&result)).map_err(|e| e.to_string())
}

/// Decodes what a server said.
pub fn decode(result: &QueryResult) -> Answers {
    let mut answers = Answers::default();
    for row in rows::texts(result) {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let (kind, name, value) = (row.next(), row.next().unwrap_or_default(), row.next().unwrap_or_default());
        match kind.as_deref() {
            Some("variable") => drop(answers.variables.insert(name.to_lowercase(), value)),
            Some("copy_state") => answers.orphans.push(name),
            Some(kind) => answers.inventory.push((kind.to_owned(), name)),
            None => {}
        }
    }
    answers.inventory.sort();
    answers.orphans.sort();
    answers.orphans.dedup();
    answers
}

/// Answers with the items that they are about.
type Answered<'f, I, A> = Vec<(&'f [I], A)>;

/// Asks each server about all items, in statements about so many items each, of which a server gets so many at once: each is
/// a connection more to a MySQL that others work with. Answers come with the items that they are about.
pub(in crate::workflow) fn gently<'f, I, A, F>(
    servers: &[&'f Tablet],
    (items, each): (&'f [I], usize),
    at_once: usize,
    ask: impl Fn(&'f Tablet, &'f [I]) -> F,
) -> BoxFuture<'f, Answered<'f, I, A>>
where
    I: Sync,
    A: Send + 'f,
    F: Future<Output = A> + Send + 'f,
{
    let mut of_servers: Vec<BoxFuture<'f, Answered<'f, I, A>>> = Vec::new();
    for on in servers {
        let mut asked: Vec<BoxFuture<'f, (&'f [I], A)>> = Vec::new();
        for some in items.chunks(each) {
            let answer = ask(on, some);
            asked.push(async move { (some, answer.await) }.boxed());
        }
        of_servers.push(futures::stream::iter(asked).buffer_unordered(at_once).collect().boxed());
    }
    join_all(of_servers).map(|answers| answers.into_iter().flatten().collect()).boxed()
}

/// The answers to statements for one server, which gets four of them at once, for the reason that [`gently`] has; in any order.
///
/// # Errors
/// The first that fails; those that were not asked by then never are.
pub(crate) async fn few<T, E>(statements: Vec<BoxFuture<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    futures::stream::iter(statements).buffer_unordered(STATEMENTS_AT_ONCE).try_collect().await
}

/// The greatest value of each AUTO_INCREMENT column over all shards of a keyspace: one wave. Tables that could not be
/// asked are left out, empty ones have 0.
pub async fn auto_increments(
    context: &Context,
    keyspace: &Keyspace,
    columns: &[(String, String)],
) -> BTreeMap<String, u128> {
    let primaries: Vec<&Tablet> = keyspace.shards.iter().filter_map(|shard| shard.primary.as_ref()).collect();
    let asked =
        gently(&primaries, (columns, TABLES_AT_ONCE), STATEMENTS_AT_ONCE, |on, some| greatest(context, on, some));
    let mut found = BTreeMap::new();
    for (some, answer) in asked.await {
        let Ok(result) = answer else { continue };
        for row in rows::texts(&result) {
            let mut row = row.into_iter();
            let at = row.next().flatten().and_then(|at| at.parse::<usize>().ok());
            let Some((table, _)) = at.and_then(|at| some.get(at)) else { continue };
            let value = row.next().flatten().and_then(|value| value.parse().ok()).unwrap_or(0);
            let known = found.entry(table.clone()).or_insert(0);
            *known = value.max(*known);
        }
    }
    found
}

async fn greatest(context: &Context, on: &Tablet, columns: &[(String, String)]) -> tablet::Result<QueryResult> {
    let ask = |(at, (table, column)): (usize, &(String, String))| {
        format!("select {at}, max({}) from {}", quote::identifier(column), quote::identifier(table))
    };
    let query = columns.iter().enumerate().map(ask).collect::<Vec<_>>().join(" union all ");
    context.tablets.read(on, query, MAX_ROWS).await
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::Row;

    use super::*;

    #[test]
    fn rows_are_sorted_by_what_they_tell() {
        let row = |cells: &[&str]| Row {
            lengths: cells.iter().map(|c| i64::try_from(c.len()).unwrap()).collect(),
            values: cells.concat().into_bytes(),
        };
        let rows = vec![
            row(&["variable", "GTID_MODE", "ON"]),
            row(&["view", "v", ""]),
            row(&["copy_state", "7", ""]),
            row(&["copy_state", "7", ""]),
        ];
        let answers = decode(&QueryResult { rows, ..QueryResult::default() });
        assert_eq!(answers.variables["gtid_mode"], "ON");
        assert_eq!(answers.inventory, [("view".to_owned(), "v".to_owned())]);
        assert_eq!(answers.orphans, ["7"]);
    }
}
