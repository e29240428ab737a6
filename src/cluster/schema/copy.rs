//! Copying a tablet's schema to a shard.

use std::time::Duration;

use futures::future::{try_join, try_join3};
use vtmigrated_proto::tabletmanagerdata::{ApplySchemaRequest, PrimaryPositionRequest, SchemaDefinition};
use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use super::WAIT_REPLICAS;
use crate::cluster::reload::{self, Reload};
use crate::cluster::validate::schema_diff::diff;
use crate::cluster::{Error, Result, shown, tablet};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::sql::{is_internal, quote};
use crate::tablet::GetSchema;
use crate::topo::{paths, shard};

/// Where the database's name stands in the statements of a schema.
const DATABASE: &str = "{{.DatabaseName}}";
/// As Vitess's own schema changes run.
const SQL_MODE: &str = "NO_AUTO_VALUE_ON_ZERO";

/// What is copied where.
#[derive(Clone, Debug)]
pub struct Copy {
    pub source: TabletAlias,
    pub tables: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub include_views: bool,
    pub keyspace: String,
    pub shard: String,
    /// Do not compare again at the end.
    pub skip_verify: bool,
    /// How long to wait for replicas before they reload their schemas.
    pub wait_replicas: Option<Duration>,
}

/// Makes a tablet's database, tables and views on the primary of a shard, unless they are all there; then the shard's
/// tablets reload their schemas.
///
/// # Errors
/// The first statement that fails; those before it have run.
pub async fn copy(context: &Context, copy: &Copy) -> Result<()> {
    paths::check_name(&copy.keyspace)?;
    shard::parse_name(&copy.shard)?;
    let (keyspace, name) = (&copy.keyspace, &copy.shard);
    let record = shard::get(context.topo.global(), keyspace, name).await;
    let record = record.map_err(|error| error.wrap(format!("GetShard({keyspace}, {name}) failed")))?.value;
    let Some(primary) = record.primary_alias.filter(|alias| !alias.cell.is_empty()) else {
        let text = format!(
            "no primary in shard record {keyspace}/{name}. Consider running 'vtctl InitShardPrimary' in case of a new shard \
             or reparenting the shard to fix the topology data"
        );
        return Err(Error::precondition(Reason::NO_PRIMARY, text, "elect one with PlannedReparentShard"));
    };
    let doing = "CopySchemaShard failed because schemas could not be compared initially";
    let tablets = try_join(named(context, &copy.source), named(context, &primary)).await;
    let (source, target) = tablets.map_err(|error| error.doing(doing))?;
    let read = try_join(schema(context, &source, copy), schema(context, &target, copy)).await;
    let (wanted, there) = read.map_err(|error| error.doing(doing))?;
    if diff(("source", &wanted), ("dest", &there)).is_empty() {
        return Ok(());
    }
    apply(context, &target, &statements(&wanted, &crate::tablet::db_name(&target))).await?;
    let position = context.tablets.primary_position(&target, PrimaryPositionRequest {});
    let position = async {
        let doing = "CopySchemaShard: can't get replication position after schema applied";
        Ok(position.await.map_err(|error| Error::from(error).doing(doing))?.position)
    };
    let (position, source_now, target_now) = if copy.skip_verify {
        (position.await?, SchemaDefinition::default(), SchemaDefinition::default())
    } else {
        let doing = "CopySchemaShard failed because schemas could not be compared finally";
        let again = |tablet| async move { schema(context, tablet, copy).await.map_err(|error| error.doing(doing)) };
        try_join3(position, again(&source), again(&target)).await?
    };
    let diffs = diff(("source", &source_now), ("dest", &target_now));
    if !diffs.is_empty() {
        let (from, to) = (shown(&copy.source), shown(&primary));
        let text = format!(
            "CopySchemaShard was not successful because the schemas between the two tablets {from} and {to} differ: {}",
            super::super::listed(&diffs)
        );
        return Err(Error::refused(Code::FailedPrecondition, Reason::SCHEMAS_DIFFER, text, ""));
    }
    reload_all(context, copy, position).await;
    Ok(())
}

async fn named(context: &Context, alias: &TabletAlias) -> Result<Tablet> {
    let failed = |error: Error| {
        let alias = shown(alias);
        error.doing(format!("failed to get schema from tablet {alias}. err: GetTablet({alias}) failed"))
    };
    tablet::get(context, alias).await.map_err(failed)
}

async fn schema(context: &Context, tablet: &Tablet, copy: &Copy) -> Result<SchemaDefinition> {
    let what = GetSchema {
        tables: copy.tables.clone(),
        exclude_tables: copy.exclude_tables.clone(),
        include_views: copy.include_views,
        table_schema_only: false,
    };
    let alias = tablet.alias.as_ref().map(shown).unwrap_or_default();
    let doing = || format!("failed to get schema from tablet {alias}. err");
    context.tablets.get_schema(tablet, what).await.map_err(|error| Error::from(error).doing(doing()))
}

/// Runs statements one after the other.
async fn apply(context: &Context, target: &Tablet, statements: &[String]) -> Result<()> {
    for sql in statements {
        let request = ApplySchemaRequest {
            sql: sql.clone(),
            allow_replication: true,
            sql_mode: SQL_MODE.to_owned(),
            ..ApplySchemaRequest::default()
        };
        context.tablets.apply_schema(target, request).await.map_err(|error| {
            Error::from(error).doing(
                "creating a table failed. Most likely some tables already exist on the destination and differ from the \
                 source. Please remove all to be copied tables from the destination manually and run this command again. \
                 Full error",
            )
        })?;
    }
    Ok(())
}

/// Statements that make the database, the tables and then the views, for a database of that name.
fn statements(schema: &SchemaDefinition, database: &str) -> Vec<String> {
    let name = quote::identifier(database);
    let named = |sql: &str| sql.replace(&format!("`{DATABASE}`"), DATABASE).replace(DATABASE, &name);
    let tables = schema.table_definitions.iter().filter(|table| !is_internal(&table.name));
    let (views, tables): (Vec<_>, Vec<_>) = tables.partition(|table| table.r#type == "VIEW");
    let tables = tables.into_iter().map(|table| match table.schema.strip_prefix("CREATE TABLE `") {
        Some(rest) => format!("CREATE TABLE {name}.`{rest}"),
        None => table.schema.clone(),
    });
    let views = views.into_iter().map(|view| named(&view.schema));
    [named(&schema.database_schema)].into_iter().chain(tables).chain(views).collect()
}

/// Best effort, within the waiting time for replicas.
async fn reload_all(context: &Context, copy: &Copy, wait_position: String) {
    let reload = Reload { wait_position, include_primary: true, concurrency: 0 };
    let shards = std::slice::from_ref(&copy.shard);
    let work = reload::shards(context, &copy.keyspace, shards, &reload);
    let limit = crate::deadline::remaining(copy.wait_replicas.unwrap_or(WAIT_REPLICAS));
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::warn!(vitess.keyspace = copy.keyspace, "not all tablets reloaded their schema in time");
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::TableDefinition;

    use super::*;

    #[test]
    fn statements_name_the_database_of_the_target() {
        let table = |name: &str, schema: &str, kind: &str| TableDefinition {
            name: name.into(),
            schema: schema.into(),
            r#type: kind.into(),
            ..TableDefinition::default()
        };
        let schema = SchemaDefinition {
            database_schema: "CREATE DATABASE `{{.DatabaseName}}` x".into(),
            table_definitions: vec![
                table("v", "CREATE VIEW `{{.DatabaseName}}`.`v` AS select 1 from {{.DatabaseName}}.`t`", "VIEW"),
                table("t", "CREATE TABLE `t` (\n  `id` int comment '{{.DatabaseName}}'\n)", "BASE TABLE"),
                table("_t_old", "CREATE TABLE `_t_old`", "BASE TABLE"),
            ],
        };
        assert_eq!(
            statements(&schema, "vt_a`b"),
            [
                "CREATE DATABASE `vt_a``b` x",
                "CREATE TABLE `vt_a``b`.`t` (\n  `id` int comment '{{.DatabaseName}}'\n)",
                "CREATE VIEW `vt_a``b`.`v` AS select 1 from `vt_a``b`.`t`",
            ]
        );
    }
}
