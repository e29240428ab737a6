//! The tablet's records in the topology: those it writes at its start, and those it follows.

use prost::Message;
use vtmigrated::topo::{self, Expect, Record, Write, keyspace, paths, shard, srv_vschema};
use vtmigrated_proto::{
    topodata::{Keyspace, Shard, ShardReplication, Tablet, TabletType, shard_replication},
    vttime::Time,
};

use super::{
    engine::{
        Context,
        db::Db,
        error::{Error, Result},
        stream::now,
    },
    sql,
};

/// Makes keyspace and shard if they are missing, writes the tablet's record and adds it to its shard's replication graph. A
/// primary becomes the shard's primary, since now if it was not before.
///
/// # Errors
/// Those of the topology.
pub async fn publish(context: &Context, grpc_port: u16) -> Result<()> {
    write_all(context, grpc_port).await.map_err(|error| Error::unknown(error.to_string()))
}

/// Makes this tablet the primary of its shard, since now: in the shard's record and in its own.
///
/// # Errors
/// Those of the topology.
pub async fn promote(context: &Context) -> Result<()> {
    let promoted = async {
        let term_start = publish_shard(context, true).await?;
        let cell = context.topo.cell(&context.shared.options.cell).await?;
        let old = Record::<Tablet>::get(&cell, &paths::tablet(&context.shared.options.alias())).await?;
        let tablet =
            Tablet { r#type: TabletType::Primary.into(), primary_term_start_time: term_start, ..old.value.clone() };
        cell.write_one(Write::put(old.path, tablet.encode_to_vec(), Expect::Any), None).await?;
        context.shared.set_state(|state| {
            state.tablet_type = TabletType::Primary;
            state.primary_term_start = term_start.map(|time| time.seconds).unwrap_or_default();
        });
        topo::Result::Ok(())
    };
    promoted.await.map_err(|error| Error::unknown(error.to_string()))
}

/// Reads again what the query service and the streams go by: denied tables of the shard, and the vschema of the own cell. One
/// call at a time, so that what was read last counts.
///
/// # Errors
/// Those of the topology. A vschema that is not there is none.
pub async fn refresh(context: &Context) -> Result<()> {
    let _one = context.shared.refreshing.lock().await;
    follow_vschema(context).await?;
    let denied = denied(context).await.map_err(|error| Error::unknown(error.to_string()))?;
    context.shared.set_denied(there(context, denied).await?);
    Ok(())
}

/// Reads the vschema of the own cell again. A real tablet watches it; its shard's record it reads only when it is told to.
///
/// # Errors
/// Those of the topology. A vschema that is not there is none.
pub async fn follow_vschema(context: &Context) -> Result<()> {
    let found = async {
        let cell = context.topo.cell(&context.shared.options.cell).await?;
        srv_vschema::get(&cell).await
    };
    match found.await {
        Ok(vschema) => context.shared.set_vschema(vschema.value),
        Err(error) if error.is_no_node() => {}
        Err(error) => return Err(Error::unknown(error.to_string())),
    }
    Ok(())
}

/// Those of some tables that are there: a tablet denies no others, until it reads its shard's record again (Vitess 22.0.4 and
/// 24.0.4, `applyDenyList`).
async fn there(context: &Context, tables: Vec<String>) -> Result<Vec<String>> {
    if tables.is_empty() {
        return Ok(tables);
    }
    let mut db = Db::connect(&context.shared).await?;
    let named: Vec<String> = tables.iter().map(|table| sql::string(table)).collect();
    let found = db
        .rows(format!(
            "select table_name from information_schema.tables where table_schema = {} and table_name in ({})",
            sql::string(&context.shared.options.db_name),
            named.join(",")
        ))
        .await;
    db.close().await;
    Ok(found?.into_iter().flatten().flatten().map(|name| String::from_utf8_lossy(&name).into_owned()).collect())
}

async fn write_all(context: &Context, grpc_port: u16) -> topo::Result<()> {
    let options = &context.shared.options;
    let global = context.topo.global();
    let record = Keyspace { sidecar_db_name: options.sidecar_db.clone(), ..Keyspace::default() };
    match keyspace::create(global, &options.keyspace, &record, None).await {
        Err(topo::Error::NodeExists(_)) => {}
        other => other?,
    }
    let primary = options.tablet_type == TabletType::Primary;
    let term_start = publish_shard(context, primary).await?;
    let cell = context.topo.cell(&options.cell).await?;
    let tablet = Tablet {
        alias: Some(options.alias()),
        hostname: options.hostname.clone(),
        port_map: [("grpc".to_owned(), i32::from(grpc_port))].into(),
        keyspace: options.keyspace.clone(),
        shard: options.shard.clone(),
        key_range: options.key_range.clone(),
        r#type: options.tablet_type.into(),
        db_name_override: options.db_name.clone(),
        mysql_hostname: "127.0.0.1".to_owned(),
        mysql_port: i32::from(options.mysql_port),
        primary_term_start_time: term_start,
        ..Tablet::default()
    };
    let write = Write::put(paths::tablet(&options.alias()), tablet.encode_to_vec(), Expect::Any);
    cell.write_one(write, None).await?;
    join_graph(context, &cell).await?;
    context.shared.set_state(|state| {
        state.primary_term_start = term_start.map(|time| time.seconds).unwrap_or_default();
    });
    Ok(())
}

/// The shard's record with this tablet as primary, if it is one; answers since when.
async fn publish_shard(context: &Context, primary: bool) -> topo::Result<Option<Time>> {
    let options = &context.shared.options;
    let global = context.topo.global();
    let path = paths::shard(&options.keyspace, &options.shard);
    loop {
        let found = Record::<Shard>::find(global, &path).await?;
        let (mut record, expect) = match found {
            Some(found) => (found.value, Expect::Version(found.version)),
            None => (Shard { key_range: options.key_range.clone(), ..Shard::default() }, Expect::Absent),
        };
        let is_new = expect == Expect::Absent;
        let mut changed = is_new;
        if primary && record.primary_alias != Some(options.alias()) {
            record.primary_alias = Some(options.alias());
            record.primary_term_start_time = Some(Time { seconds: now(), ..Time::default() });
            changed = true;
        }
        if primary && !record.is_primary_serving {
            record.is_primary_serving = true;
            changed = true;
        }
        let term_start = record.primary_term_start_time.filter(|_| primary);
        if !changed {
            return Ok(term_start);
        }
        match global.write_one(Write::put(path.clone(), record.encode_to_vec(), expect), None).await {
            // another tablet of the shard was faster
            Err(topo::Error::BadVersion(_) | topo::Error::NodeExists(_)) => {}
            other => return other.map(|_| term_start),
        }
    }
}

async fn join_graph(context: &Context, cell: &std::sync::Arc<dyn topo::Conn>) -> topo::Result<()> {
    let options = &context.shared.options;
    let path = paths::shard_replication(&options.keyspace, &options.shard);
    let node = shard_replication::Node { tablet_alias: Some(options.alias()) };
    loop {
        let found = Record::<ShardReplication>::find(cell, &path).await?;
        let (mut graph, expect) = match found {
            Some(found) => (found.value, Expect::Version(found.version)),
            None => (ShardReplication::default(), Expect::Absent),
        };
        if graph.nodes.contains(&node) {
            return Ok(());
        }
        graph.nodes.push(node.clone());
        match cell.write_one(Write::put(path.clone(), graph.encode_to_vec(), expect), None).await {
            Err(topo::Error::BadVersion(_) | topo::Error::NodeExists(_)) => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Answers what the shard's record denies.
async fn denied(context: &Context) -> topo::Result<Vec<String>> {
    let options = &context.shared.options;
    let record = shard::get(context.topo.global(), &options.keyspace, &options.shard).await?;
    let is_primary = context.shared.state().tablet_type == TabletType::Primary;
    Ok(if is_primary { shard::denied(&record.value) } else { Vec::new() })
}
