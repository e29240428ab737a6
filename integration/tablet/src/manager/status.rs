//! Facts of the MySQL server.

use std::collections::{BTreeMap, HashMap};

use vtmigrated_proto::{
    replicationdata::{FullStatus, PrimaryStatus},
    tabletmanagerdata as data,
};

use super::wait;
use crate::{
    engine::{
        Context,
        db::{Db, text},
        error::Result,
    },
    sql,
};

/// Sets or clears `read_only` and `super_read_only`.
pub async fn set_read_only(context: &Context, on: bool) -> Result<()> {
    let mut db = Db::connect(&context.shared).await?;
    let statement = if on { "set global super_read_only = ON" } else { "set global read_only = OFF" };
    let result = db.run(statement).await;
    db.close().await;
    result.map(|_| ())
}

/// Counters of the server: those that are named, or all.
pub async fn variables(
    context: &Context,
    request: &data::GetGlobalStatusVarsRequest,
) -> Result<data::GetGlobalStatusVarsResponse> {
    let names: Vec<String> = request.variables.iter().map(|name| sql::string(name)).collect();
    let condition =
        if names.is_empty() { String::new() } else { format!(" where variable_name in ({})", names.join(",")) };
    let mut db = Db::connect(&context.shared).await?;
    let rows = db.rows(format!("show global status{condition}")).await;
    db.close().await;
    let status_values: HashMap<String, String> = rows?.iter().map(|row| (text(row, 0), text(row, 1))).collect();
    Ok(data::GetGlobalStatusVarsResponse { status_values })
}

/// Hosts of connected replicas.
pub async fn replicas(context: &Context) -> Result<data::GetReplicasResponse> {
    let mut db = Db::connect(&context.shared).await?;
    let rows = db.rows("show processlist").await;
    db.close().await;
    let dumps = rows?.into_iter().filter(|row| text(row, 4).starts_with("Binlog Dump"));
    let addrs = dumps.map(|row| text(&row, 2).split(':').next().unwrap_or_default().to_owned()).collect();
    Ok(data::GetReplicasResponse { addrs })
}

/// What vtctld shows of a server.
pub async fn full(context: &Context) -> Result<data::FullStatusResponse> {
    let position = wait::position(context).await?;
    let mut db = Db::connect(&context.shared).await?;
    let rows = db.rows("show global variables").await;
    db.close().await;
    let values: BTreeMap<String, String> = rows?.iter().map(|row| (text(row, 0), text(row, 1))).collect();
    let value = |name: &str| values.get(name).cloned().unwrap_or_default();
    let is_on = |name: &str| value(name) == "ON";
    let status = FullStatus {
        server_id: value("server_id").parse().unwrap_or_default(),
        server_uuid: value("server_uuid"),
        primary_status: Some(PrimaryStatus { position, server_uuid: value("server_uuid"), ..PrimaryStatus::default() }),
        gtid_purged: format!("MySQL56/{}", value("gtid_purged")),
        version: value("version"),
        version_comment: value("version_comment"),
        read_only: is_on("read_only"),
        super_read_only: is_on("super_read_only"),
        gtid_mode: value("gtid_mode"),
        binlog_format: value("binlog_format"),
        binlog_row_image: value("binlog_row_image"),
        log_bin_enabled: is_on("log_bin"),
        log_replica_updates: is_on("log_slave_updates"),
        tablet_type: context.shared.state().tablet_type.into(),
        ..FullStatus::default()
    };
    Ok(data::FullStatusResponse { status: Some(status) })
}
