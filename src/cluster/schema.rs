//! Schemas of tablets: read from one, change on all primaries of a keyspace.

mod copy;
mod outcome;
mod primaries;
mod statement;

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::{
    ExecuteMultiFetchAsDbaRequest, ExecuteQueryRequest, PrimaryPositionRequest, SchemaDefinition, TableDefinition,
};
use vtmigrated_proto::topodata::{Tablet, TabletAlias};
use vtmigrated_proto::vtrpc::CallerId;

pub use self::copy::{Copy, copy};
pub(super) use self::outcome::Outcome;
pub(super) use self::primaries::primaries;
use self::statement::{Batch, Strategy};
use super::keyspace::{finish, lock};
use super::reload::{self, Reload};
use super::{Error, Result, tablet};
use crate::context::Context;
use crate::error::Reason;
use crate::tablet::GetSchema;
use crate::topo::{Lock, paths};

/// Rows of a statement's result that are fetched.
const MAX_ROWS: u64 = 10;
/// Tablets that reload their schemas at a time.
const RELOADS: i32 = 10;
/// Waiting time for replicas when the request has none.
const WAIT_REPLICAS: Duration = Duration::from_secs(30);
/// Longest statement text that an error repeats, in characters.
const SHOWN: usize = 200;

/// How much of each table is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    #[default]
    Full,
    Names,
    Sizes,
}

/// A change of a keyspace's schema.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub keyspace: String,
    pub statements: Vec<String>,
    pub ddl_strategy: String,
    /// One for each statement; used by online strategies only.
    pub uuids: Vec<String>,
    /// How long to wait for replicas to come so far before their schemas are reloaded.
    pub wait_replicas: Option<Duration>,
    /// Statements sent at once.
    pub batch_size: i64,
    /// For what the tablets' query services run.
    pub caller_id: Option<CallerId>,
}

/// Reads the schema of a tablet.
pub async fn get(context: &Context, alias: &TabletAlias, what: GetSchema, detail: Detail) -> Result<SchemaDefinition> {
    let tablet = tablet::get_named(context, alias).await?;
    let doing = || format!("GetSchema({}) failed", paths::alias_text(alias));
    let read = context.tablets.get_schema(&tablet, what).await;
    let mut schema = read.map_err(|error| Error::from(error).doing(doing()))?;
    for table in &mut schema.table_definitions {
        let old = std::mem::take(table);
        *table = match detail {
            Detail::Full => old,
            Detail::Names => TableDefinition { name: old.name, ..TableDefinition::default() },
            Detail::Sizes => TableDefinition {
                name: old.name,
                r#type: old.r#type,
                row_count: old.row_count,
                data_length: old.data_length,
                ..TableDefinition::default()
            },
        };
    }
    Ok(schema)
}

/// Runs statements on all primaries of a keyspace, one after the other, under the keyspace's lock; then the tablets
/// reload their schemas if MySQL ran any. Answers the rows affected in each shard, over all statements.
///
/// # Errors
/// Everything that can be told beforehand is told before the first statement runs. Online strategies are refused.
pub async fn apply(context: &Context, change: Change) -> Result<HashMap<String, u64>> {
    if change.statements.is_empty() {
        return Err(Error::precondition(Reason::NO_SQL, "Sql must be a non-empty array", ""));
    }
    let strategy = Strategy::parse(&change.ddl_strategy)?;
    let statements = statement::check_all(&change.statements)?;
    if statements.is_empty() {
        return Ok(HashMap::new());
    }
    paths::check_name(&change.keyspace)?;
    if !change.uuids.is_empty() && change.uuids.len() != statements.len() {
        let text = format!("provided {} UUIDs do not match number of DDLs {}", change.uuids.len(), statements.len());
        return Err(Error::bad_argument(text));
    }
    let primaries = primaries(context, &change.keyspace).await?;
    if let Some(statement) = statements.iter().find(|statement| !statement.is_ddl && primaries.len() != 1) {
        let shown: String = statement.sql.chars().take(SHOWN).collect();
        let text = format!("non-ddl statements can only be executed for single shard keyspaces: {shown}");
        return Err(Error::precondition(Reason::NOT_DDL, text, ""));
    }
    let batches = statement::batches(&statements, &strategy, change.batch_size)?;
    let lock = locked(context, &change.keyspace).await?;
    let applied = run(context, &change, &strategy, &batches, &primaries, &lock).await;
    finish(applied, lock).await
}

/// The keyspace's lock for a change of its schema.
pub(super) async fn locked(context: &Context, keyspace: &str) -> Result<Lock> {
    let locked = lock(context, keyspace, "ApplySchemaKeyspace").await;
    locked.map_err(|error| error.doing(format!("lockErr in ApplySchemaKeyspace {keyspace}")))
}

async fn run(
    context: &Context,
    change: &Change,
    strategy: &Strategy,
    batches: &[Batch],
    primaries: &[Tablet],
    lock: &Lock,
) -> Result<HashMap<String, u64>> {
    let mut affected: HashMap<String, u64> = HashMap::new();
    let sqls: Vec<String> = batches.iter().map(|batch| batch.sql.clone()).collect();
    let mut outcome = Outcome::of(&sqls);
    for (at, batch) in batches.iter().enumerate() {
        lock.check().await?;
        outcome.cur_sql_index = at;
        outcome.success_shards.clear();
        let run = primaries.iter().map(|primary| execute(context, primary, batch, strategy, change));
        let calls = join_all(run).await;
        for (primary, called) in primaries.iter().zip(calls) {
            match called {
                Ok((rows, position)) => {
                    *affected.entry(primary.shard.clone()).or_default() += rows;
                    outcome.succeed(&primary.shard, position);
                }
                Err(error) => outcome.fail(&primary.shard, &error),
            }
        }
        if outcome.has_failed() {
            break;
        }
    }
    if batches.iter().any(|batch| !batch.through_query_service) {
        reload(context, change, &outcome).await;
    }
    outcome.error().map_or(Ok(affected), Err)
}

/// Rows affected, and a position that is surely after the change.
async fn execute(
    context: &Context,
    primary: &Tablet,
    batch: &Batch,
    strategy: &Strategy,
    change: &Change,
) -> crate::tablet::Result<(u64, String)> {
    let (sql, db_name) = (batch.sql.as_bytes().to_vec(), crate::tablet::db_name(primary));
    let results: Vec<QueryResult> = if batch.through_query_service {
        let caller_id = change.caller_id.clone();
        let request = ExecuteQueryRequest { query: sql, db_name, max_rows: MAX_ROWS, caller_id };
        context.tablets.execute_query(primary, request).await?.result.into_iter().collect()
    } else {
        let request = ExecuteMultiFetchAsDbaRequest {
            sql,
            db_name,
            max_rows: MAX_ROWS,
            disable_foreign_key_checks: strategy.allow_foreign_keys,
            ..ExecuteMultiFetchAsDbaRequest::default()
        };
        context.tablets.execute_multi_fetch_as_dba(primary, request).await?.results
    };
    let position = context.tablets.primary_position(primary, PrimaryPositionRequest {}).await?.position;
    Ok((results.iter().map(|result| result.rows_affected).sum(), position))
}

/// Best effort, within the waiting time for replicas.
async fn reload(context: &Context, change: &Change, outcome: &Outcome<'_>) {
    let work = outcome.success_shards.iter().map(|done| async move {
        let reload = Reload { wait_position: done.position.clone(), include_primary: true, concurrency: RELOADS };
        reload::shards(context, &change.keyspace, std::slice::from_ref(&done.shard), &reload).await
    });
    let limit = crate::deadline::remaining(change.wait_replicas.unwrap_or(WAIT_REPLICAS));
    if tokio::time::timeout(limit, join_all(work)).await.is_err() {
        tracing::warn!(vitess.keyspace = change.keyspace, "not all tablets reloaded their schema in time");
    }
}
