//! A diff of a workflow on this shard: its tables one after the other.

use std::{collections::BTreeMap, hash::BuildHasher, hash::RandomState, sync::Arc};

use vtmigrated::topo::Topo;
use vtmigrated_proto::binlogdata::{BinlogSource, Filter};

use super::{
    controller::Run,
    differ,
    plan::{self, TablePlan},
    record::{COMPLETED, ERROR, STARTED},
};
use crate::{
    engine::{
        apply::Zones,
        columns,
        db::{Db, number, text},
        error::{Error, Result},
        plan::rules,
    },
    picker, prototext, schema, sql,
};

/// The streams of the workflow on this shard, as their rows say.
pub(super) struct Workflow {
    /// Stream ids by source shard.
    pub sources: BTreeMap<String, i32>,
    /// Of the first stream, as its filter.
    pub keyspace: String,
    pub filter: Filter,
    pub mount: String,
    pub zones: Zones,
}

impl Workflow {
    async fn read(run: &Run, db: &mut Db) -> Result<Self> {
        let sql =
            format!("select id, source from {} where {}", run.parts.records.table("vreplication"), condition(run));
        let mut workflow = Self {
            sources: BTreeMap::new(),
            keyspace: String::new(),
            filter: Filter::default(),
            mount: String::new(),
            zones: Zones::default(),
        };
        for (index, row) in db.rows(sql).await?.iter().enumerate() {
            run.check()?;
            let source = row.get(1).and_then(Option::as_deref).unwrap_or_default();
            let source: BinlogSource = prototext::decode(source).map_err(|error| Error::unknown(error.to_string()))?;
            workflow.zones = Zones { source: source.source_time_zone, target: source.target_time_zone };
            if !source.external_cluster.is_empty() {
                workflow.mount = source.external_cluster;
            }
            workflow.sources.insert(source.shard, number(row, 0));
            // the filters of the other streams are not looked at, even when they exclude what this one has
            if index == 0 {
                workflow.keyspace = source.keyspace;
                workflow.filter = source.filter.unwrap_or_default();
            }
        }
        Ok(workflow)
    }

    /// The topology of the source.
    ///
    /// # Errors
    /// An unknown mount; the topology does not answer.
    pub(super) async fn topo(&self, run: &Run) -> Result<Arc<Topo>> {
        let opened = picker::open(&run.parts.context, &self.mount).await;
        opened.map_err(|error| error.wrap("failed to get source topo server"))
    }
}

/// The rows of `vreplication` that belong to the workflow.
pub(super) fn condition(run: &Run) -> String {
    let database = sql::string(&run.parts.context.shared.options.db_name);
    format!("workflow = {} and db_name = {database}", sql::string(&run.workflow))
}

/// Compares all tables that are not compared yet, each from where it was left. The first one that fails ends the run.
pub(super) async fn diff(run: &Run, db: &mut Db) -> Result<()> {
    let workflow = Workflow::read(run, db).await?;
    run.parts.records.set_state(db, run.id, STARTED, "").await?;
    let plans = run.unless_cancelled(build(run, db, &workflow)).await.map_err(|error| error.wrap("buildPlan"))?;
    init_tables(run, db, &plans).await?;
    for plan in in_any_order(plans) {
        run.check()?;
        let name = plan.table.name.clone();
        if run.parts.records.get_table(db, run.id, &name).await?.is_none() {
            let text = format!("no vdiff table found for {name} on tablet {}", run.tablet());
            return Err(Error::unknown(text));
        }
        if let Err(error) = differ::diff_table(run, db, &workflow, plan).await {
            run.parts.records.set_table_state(db, run.id, &name, ERROR, None).await?;
            run.parts.records.log(db, run.id, &format!("Table {name} Error: {error}")).await;
            return Err(error);
        }
        run.parts.records.set_table_state(db, run.id, &name, COMPLETED, None).await?;
    }
    run.parts.records.complete_if_done(db, run.id).await
}

/// Plans of the tables that the filter has and the options do not leave out.
async fn build(run: &Run, db: &mut Db, workflow: &Workflow) -> Result<Vec<TablePlan>> {
    let wanted = run.options.core_options.tables.trim();
    let named: Vec<&str> = if wanted.is_empty() { Vec::new() } else { wanted.split(',').collect() };
    let shared = &run.parts.context.shared;
    let mut tables = columns::read(db, &shared.options.db_name).await?;
    tables.retain(|table, _| named.is_empty() || named.contains(&table.as_str()));
    let mut conn = shared.connect().await.map_err(|error| Error::connect(&error, shared.options.mysql_port))?;
    let reserved = plan::Reserved::read(&mut conn).await?;
    let mut plans = Vec::new();
    for rule in rules(&workflow.filter, &tables)?.into_values() {
        let table = schema::read_table(&mut conn, &shared.options.db_name, &rule.target).await;
        let Some(table) = table.map_err(|error| Error::mysql(&error, b""))? else { continue };
        plans.push(plan::build(run, workflow, &rule, table, &reserved).await?);
    }
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    if plans.is_empty() {
        let text = format!("no tables found to diff, {wanted}:[{}], on tablet {}", named.join(" "), run.tablet());
        return Err(Error::unknown(text));
    }
    Ok(plans)
}

/// Rows of `vdiff_table`, with the server's estimates.
async fn init_tables(run: &Run, db: &mut Db, plans: &[TablePlan]) -> Result<()> {
    let database = &run.parts.context.shared.options.db_name;
    if run.options.core_options.update_table_stats {
        for plan in plans {
            let table = sql::quote(&plan.table.name);
            db.rows(format!("analyze table {}.{table}", sql::quote(database))).await?;
        }
    }
    let names: Vec<String> = plans.iter().map(|plan| sql::string(&plan.table.name)).collect();
    let sql = format!(
        "select table_name, table_rows from information_schema.tables \
         where table_schema = {} and table_name in ({}) order by table_name",
        sql::string(database),
        names.join(",")
    );
    for row in db.rows(sql).await? {
        run.parts.records.put_table(db, run.id, &text(&row, 0), number(&row, 1)).await?;
    }
    Ok(())
}

/// Stock walks over a map: each run has another order.
fn in_any_order(mut plans: Vec<TablePlan>) -> Vec<TablePlan> {
    let state = RandomState::new();
    plans.sort_by_cached_key(|plan| state.hash_one(&plan.table.name));
    plans
}
