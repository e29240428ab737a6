//! What is done to schema changes: one statement to all primaries of the keyspace.

use std::collections::HashMap;

use futures::stream::{self, StreamExt};
use vtmigrated_proto::tabletmanagerdata::ExecuteQueryRequest;
use vtmigrated_proto::topodata::Tablet;
use vtmigrated_proto::vtrpc::CallerId;

use super::is_uuid;
use crate::cluster::keyspace::finish;
use crate::cluster::schema::{Outcome, locked, primaries};
use crate::cluster::{Error, Result};
use crate::context::Context;
use crate::sql::quote;
use crate::topo::{Lock, paths};

/// Rows of the answer that are fetched: it has none.
const MAX_ROWS: u64 = 10;
/// Tablets that are called at a time.
const AT_ONCE: usize = 64;
/// What stands for every schema change.
const ALL: &str = "all";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Cancel,
    Cleanup,
    Complete,
    ForceCutOver,
    Launch,
    Retry,
}

/// Does something to one schema change, or to all that it fits, on all shards, under the keyspace's lock. Answers the rows
/// affected in each shard: 0 where there was nothing to do.
///
/// # Errors
/// Bad ids, a keyspace whose primaries are not known; then nothing was done. Shards that failed are told with those that did
/// not.
pub async fn act(
    context: &Context,
    action: Action,
    keyspace: &str,
    uuid: &str,
    caller_id: Option<CallerId>,
) -> Result<HashMap<String, u64>> {
    let sql = action.statement(uuid)?;
    paths::check_name(keyspace)?;
    let primaries = primaries(context, keyspace).await?;
    let lock = locked(context, keyspace).await?;
    let done = run(context, &sql, caller_id, &primaries, &lock).await;
    finish(done, lock).await
}

async fn run(
    context: &Context,
    sql: &str,
    caller_id: Option<CallerId>,
    primaries: &[Tablet],
    lock: &Lock,
) -> Result<HashMap<String, u64>> {
    lock.check().await?;
    let calls: Vec<_> = primaries
        .iter()
        .map(|primary| {
            let request = ExecuteQueryRequest {
                query: sql.as_bytes().to_vec(),
                db_name: crate::tablet::db_name(primary),
                max_rows: MAX_ROWS,
                caller_id: caller_id.clone(),
            };
            async move { (primary, context.tablets.execute_query(primary, request).await) }
        })
        .collect();
    let answers: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
    let sqls = [sql.to_owned()];
    let mut outcome = Outcome::of(&sqls);
    let mut affected = HashMap::new();
    for (primary, answer) in answers {
        match answer {
            Ok(answer) => {
                let rows = answer.result.map(|result| result.rows_affected).unwrap_or_default();
                *affected.entry(primary.shard.clone()).or_default() += rows;
                outcome.succeed(&primary.shard, String::new());
            }
            Err(error) => outcome.fail(&primary.shard, &error),
        }
    }
    outcome.error().map_or(Ok(affected), Err)
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Cleanup => "cleanup",
            Self::Complete => "complete",
            Self::ForceCutOver => "force_cutover",
            Self::Launch => "launch",
            Self::Retry => "retry",
        }
    }

    fn statement(self, uuid: &str) -> Result<String> {
        let word = self.word();
        if uuid.eq_ignore_ascii_case(ALL) {
            let sql = format!("alter vitess_migration {word} all");
            if self == Self::Retry {
                let text = format!("failed to parse sql: {sql}, got error: schema changes are retried one by one");
                return Err(Error::bad_argument(text));
            }
            return Ok(sql);
        }
        if !is_uuid(uuid) {
            let shown: String = uuid.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Error::bad_argument(format!("{shown} is not a valid UUID")));
        }
        Ok(format!("alter vitess_migration {} {word}", quote::literal(uuid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_one_or_all() {
        let uuid = "a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9a";
        for (action, word) in [
            (Action::Cancel, "cancel"),
            (Action::Cleanup, "cleanup"),
            (Action::Complete, "complete"),
            (Action::ForceCutOver, "force_cutover"),
            (Action::Launch, "launch"),
        ] {
            assert_eq!(action.statement(uuid).unwrap(), format!("alter vitess_migration '{uuid}' {word}"));
            assert_eq!(action.statement("ALL").unwrap(), format!("alter vitess_migration {word} all"));
        }
        assert_eq!(Action::Retry.statement(uuid).unwrap(), format!("alter vitess_migration '{uuid}' retry"));
        let all = Action::Retry.statement("all").unwrap_err().to_string();
        assert!(all.starts_with("failed to parse sql: alter vitess_migration retry all, got error: "), "{all}");
        let bad = Action::Cancel.statement("x' cancel; drop table t").unwrap_err().to_string();
        assert_eq!(bad, "x' cancel; drop table t is not a valid UUID");
    }
}
