//! The tables of a workflow that is taken away: made safe, emptied, dropped, given their keys back.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use futures::stream::{self, StreamExt};
use vtmigrated_proto::tabletmanagerdata::{ExecuteFetchAsDbaRequest, ReloadSchemaRequest};
use vtmigrated_proto::topodata::Tablet;

use super::{Removal, Tables, read_again, replaced};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::sql::{ddl, quote};
use crate::tablet::{self, db_name};
use crate::topo::shard::{self, Deny};
use crate::workflow::reads::filled::{self, Visibility};
use crate::workflow::streams::TargetShard;
use crate::workflow::writes::denied::lift_from;
use crate::workflow::writes::refresh;
use crate::workflow::{Error, Result, names, rows};

/// Statements that a tablet runs at a time: each is a connection of its own, and a schema may have thousands of tables.
const AT_ONCE: usize = 4;
/// Tables in one DROP statement.
const DROPPED_AT_ONCE: usize = 500;

impl Removal<'_> {
    /// Denies writes to tables that are to go because they are empty, makes the tablets see it, and looks at them once
    /// more: four waves.
    ///
    /// The tablets' answers also mean that no DDL of a create is under way there any more: both take the tablet's lock.
    ///
    /// # Errors
    /// `TABLES_FILLED` when somebody has written to one meanwhile; what was denied for this look is lifted again.
    pub(super) async fn secure_empty(&self, tables: &[(String, Vec<String>)]) -> Result<()> {
        let Self { context, lock, .. } = self;
        let target = self.target();
        let global = context.topo.global();
        let of: BTreeMap<&str, &Vec<String>> = tables.iter().map(|(shard, list)| (shard.as_str(), list)).collect();
        let named = |name: &str| of.contains_key(name);
        let records = read_again(global, &target.keyspace).await?;
        let records = records.into_iter().filter(|record| named(shard::name(record))).collect();
        let denied = |name: &str| of.get(name).map(|list| (*list).clone()).unwrap_or_default();
        let added = shard::deny_tables(global, records, Deny::Add, &denied, lock).await?;
        refresh::shards(context, target, &named).await?;
        let shards: Vec<&TargetShard> = target.keyspace.shards.iter().filter(|s| named(&s.name)).collect();
        let looks = shards.iter().map(|shard| async {
            let list = of.get(shard.name.as_str()).map(|list| list.as_slice()).unwrap_or_default();
            filled::filled(context, shard.primary()?, list, Visibility::UnderWay).await
        });
        let mut filled = Vec::new();
        for (shard, answer) in shards.iter().zip(join_all(looks).await) {
            filled.extend(answer?.into_iter().map(|table| format!("{table} on shard {}", shard.name)));
        }
        if filled.is_empty() {
            return Ok(());
        }
        let records = read_again(global, &target.keyspace).await?;
        lift_from(context, lock, target, (records, Vec::new()), &added).await?;
        let text = format!("somebody has written to tables that were empty: {}", names::some(&filled, ", "));
        let help = "look at these rows; run the command again, which then says what can be done".into();
        Err(Error::Refused { code: Code::Aborted, reason: Reason::TABLES_FILLED, text, help })
    }

    /// Empties, drops, and gives keys back, in this order: keys are built on empty tables in no time. Where it fails on some
    /// shards, the record notes the others.
    pub(super) async fn see_to_tables(&self) -> Result<()> {
        self.lock.check().await?;
        let of: BTreeMap<&str, &Tables> =
            self.traces.tables.iter().map(|(shard, tables)| (shard.as_str(), tables)).collect();
        let (none, shards) = (Tables::default(), &self.target().keyspace.shards);
        let calls = shards.iter().map(|shard| {
            let tables = of.get(shard.name.as_str()).copied().unwrap_or(&none);
            async move { self.of_shard(shard, shard.primary()?, tables).await }
        });
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for (shard, answer) in shards.iter().zip(join_all(calls).await) {
            match answer {
                Ok(()) => done.push(shard.name.clone()),
                Err(error) => errors.push(error),
            }
        }
        let Some(error) = Error::several(errors) else { return Ok(()) };
        let note = self.seen_to_on(done.into_iter())?;
        if let Err(why) = self.write(note).await {
            tracing::warn!("the record does not tell on which shards the tables were seen to: {why}");
        }
        Err(error)
    }

    /// The keys that are owed are asked for beside the statements that take tables away: the streams stand still.
    async fn of_shard(&self, shard: &TargetShard, tablet: &Tablet, tables: &Tables) -> Result<()> {
        let seen_to = self.traces.mark.as_ref().is_some_and(|stored| stored.facts.seen_to.contains(&shard.name));
        let has_streams = !seen_to && self.traces.with_streams.contains(&shard.name);
        let (db, gone) = (db_name(tablet), replaced::gone(self.found, shard));
        let query = match gone.as_slice() {
            [] => rows::pending_actions(&db, self.workflow),
            gone => rows::pending_actions_with(&db, self.workflow, gone),
        };
        let owed = async { if has_streams { owed(self.context, tablet, query).await } else { Ok(Vec::new()) } };
        let (owed, taken) = join(owed, self.take(tablet, tables)).await;
        taken?;
        // those that go, and those that are somebody else's by now
        let lists = [&tables.drop, &tables.drop_empty, &tables.anew];
        let listed: BTreeSet<&String> = lists.into_iter().flatten().collect();
        let staying: Vec<Owed> = owed?.into_iter().filter(|(table, _)| !listed.contains(table)).collect();
        let changed = !staying.is_empty() || !tables.empty.is_empty();
        give_back(self.context, tablet, staying, Gone::Left).await?;
        if changed {
            self.context.tablets.reload_schema(tablet, ReloadSchemaRequest::default()).await?;
        }
        Ok(())
    }

    async fn take(&self, tablet: &Tablet, tables: &Tables) -> Result<()> {
        let db = quote::identifier(&db_name(tablet));
        let qualified = |table: &String| format!("{db}.{}", quote::identifier(table));
        let truncates = tables.empty.iter().map(|table| format!("truncate table {}", qualified(table))).collect();
        self.run_all(tablet, truncates).await?;
        let dropped: Vec<String> = tables.drop.iter().chain(&tables.drop_empty).map(qualified).collect();
        let mut chunks = dropped.chunks(DROPPED_AT_ONCE).peekable();
        while let Some(some) = chunks.next() {
            // the tablet reads its schema again once
            self.run_sql(tablet, format!("drop table if exists {}", some.join(", ")), chunks.peek().is_none()).await?;
        }
        Ok(())
    }

    /// Runs statements, some at a time, to their ends; the first error is told.
    async fn run_all(&self, tablet: &Tablet, queries: Vec<String>) -> Result<()> {
        let runs: Vec<_> = queries.into_iter().map(|query| self.run_sql(tablet, query, false)).collect();
        let done: Vec<Result<()>> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
        done.into_iter().collect()
    }

    /// One statement of many, each of which may take minutes: once the lock is gone others may have ended the workflow, and the
    /// tables be somebody else's.
    async fn run_sql(&self, tablet: &Tablet, query: String, reload: bool) -> Result<()> {
        self.lock.check().await?;
        Ok(run_sql(self.context, tablet, query, reload).await?)
    }
}

/// A table, and the statement that builds the secondary keys which the tablet took from it for the copy.
type Owed = (String, String);

/// What becomes of a key whose columns somebody has dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// It is told: the table may be another one than the streams took the key from.
    Left,
    Refused,
}

/// Gives all tables of a workflow the secondary keys back that the tablet took for the copy.
///
/// # Errors
/// `KEY_NOT_BUILT` for one that cannot be built, such as a unique one on rows that are not.
pub async fn restore_keys(context: &Context, tablet: &Tablet, workflow: &str) -> Result<()> {
    let owed = owed(context, tablet, rows::pending_actions(&db_name(tablet), workflow)).await?;
    give_back(context, tablet, owed, Gone::Refused).await
}

/// The same of streams by id, of which others of the workflow stay.
///
/// # Errors
/// The same.
pub async fn restore_keys_of(context: &Context, tablet: &Tablet, ids: &[i64]) -> Result<()> {
    give_back(context, tablet, owed(context, tablet, rows::pending_actions_of(ids)).await?, Gone::Refused).await
}

async fn owed(context: &Context, tablet: &Tablet, query: String) -> tablet::Result<Vec<Owed>> {
    Ok(rows::actions(&context.tablets.read(tablet, query, 100_000).await?))
}

async fn give_back(context: &Context, tablet: &Tablet, owed: Vec<Owed>, gone: Gone) -> Result<()> {
    let runs: Vec<_> = owed.into_iter().map(|owed| restore(context, tablet, owed, gone)).collect();
    Error::all(stream::iter(runs).buffer_unordered(AT_ONCE).collect().await)
}

/// Builds the keys of one table. Where one of several cannot be added, for it is there or has no columns any more, the others are
/// added without it.
async fn restore(context: &Context, tablet: &Tablet, (table, sql): Owed, gone: Gone) -> Result<()> {
    if add(context, tablet, (&table, &sql), gone).await? {
        return Ok(());
    }
    let each = ddl::one_by_one(&sql);
    for one in each.iter().filter(|_| each.len() > 1) {
        add(context, tablet, (&table, one), gone).await?;
    }
    Ok(())
}

/// Runs a statement that adds keys to a table. False when there is nothing to add, or nothing to add it to, for one of them: then
/// it has added none.
async fn add(context: &Context, tablet: &Tablet, (table, sql): (&str, &str), gone: Gone) -> Result<bool> {
    let Err(error) = run_sql(context, tablet, sql.to_owned(), false).await else { return Ok(true) };
    if error.is_duplicate_key() {
        tracing::info!(table, "a secondary key was restored before: {error}");
        return Ok(false);
    }
    if error.is_missing_key_column() && gone == Gone::Left {
        tracing::warn!(table, "a secondary key that was taken for the copy cannot be given back: {error}");
        return Ok(false);
    }
    Err(if error.is_of_mysql() { not_built(tablet, table, &error) } else { error.into() })
}

/// What is said of a key that MySQL does not build: the ways out are the operator's.
fn not_built(tablet: &Tablet, table: &str, error: &tablet::Error) -> Error {
    let text = format!("{error} (secondary keys that were taken from table {table} for the copy)");
    let alias = tablet::alias(tablet);
    let help = format!(
        "fix what MySQL says, such as rows that are not unique, with ExecuteFetchAsDBA {alias}, and run the command again; to do \
         without the keys of that table: ExecuteFetchAsDBA {alias} \"{}\", and run it again",
        rows::forget_keys(table)
    );
    Error::precondition(Reason::KEY_NOT_BUILT, text, help)
}

/// One statement as administrator; a table that is not there is none to care about.
async fn run_sql(context: &Context, tablet: &Tablet, query: String, reload_schema: bool) -> tablet::Result<()> {
    let request = ExecuteFetchAsDbaRequest {
        query: query.into_bytes(),
        db_name: db_name(tablet),
        max_rows: 1,
        reload_schema,
        disable_foreign_key_checks: true,
        ..ExecuteFetchAsDbaRequest::default()
    };
    match context.tablets.execute_fetch_as_dba(tablet, request).await {
        Err(error) if error.is_missing_table() => Ok(()),
        other => other.map(|_| ()),
    }
}
