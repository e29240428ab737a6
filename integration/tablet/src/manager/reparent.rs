//! Becoming primary, and following one, by MySQL's own replication (in the words of MySQL 8.0.15).

use std::time::Duration;

use vtmigrated::topo::{Record, paths};
use vtmigrated_proto::{
    replicationdata::Status,
    tabletmanagerdata as data,
    topodata::{Tablet, TabletType},
};

use super::{status::set_read_only, wait};
use crate::{
    engine::{
        Context,
        db::Db,
        error::{Error, Result},
    },
    records, sql,
};

/// State of a replication thread (`replication.State` of Vitess 22.0.3).
const RUNNING: i32 = 3;
/// Between two looks for a row of the journal.
const LOOK: Duration = Duration::from_millis(50);

/// Where a replica is.
pub async fn status(context: &Context) -> Result<data::ReplicationStatusResponse> {
    let mut db = Db::connect(&context.shared).await?;
    let rows = db.rows("show slave status").await;
    db.close().await;
    let options = &context.shared.options;
    if options.in_step && context.shared.state().tablet_type == TabletType::Replica {
        let position = wait::position(context).await?;
        let status = Status { position, io_state: RUNNING, sql_state: RUNNING, ..Status::default() };
        return Ok(data::ReplicationStatusResponse { status: Some(status) });
    }
    if rows?.is_empty() {
        return Err(Error::unknown("no replication status (errno 100) (sqlstate HY000)".to_owned()));
    }
    let status = Status { position: wait::position(context).await?, ..Status::default() };
    Ok(data::ReplicationStatusResponse { status: Some(status) })
}

/// Takes writes and becomes the shard's primary. Answers the position.
pub async fn init_primary(context: &Context) -> Result<String> {
    run(context, &["stop slave".to_owned(), "reset slave all".to_owned()]).await?;
    set_read_only(context, false).await?;
    let position = wait::position(context).await?;
    records::promote(context).await?;
    records::refresh(context).await?;
    Ok(position)
}

/// Writes the row that replicas wait for.
pub async fn write_journal(
    context: &Context,
    request: &data::PopulateReparentJournalRequest,
) -> Result<data::PopulateReparentJournalResponse> {
    let table = journal(context);
    let alias = request.primary_alias.as_ref().map(paths::alias_text).unwrap_or_default();
    let create = format!(
        "create table if not exists {table} (time_created_ns bigint unsigned not null primary key, action_name \
         varbinary(250) not null, primary_alias varbinary(32) not null, replication_position varbinary(64000) default null)"
    );
    let insert = format!(
        "insert into {table} values ({}, {}, {}, {})",
        request.time_created_ns,
        sql::string(&request.action_name),
        sql::string(&alias),
        sql::string(&request.replication_position)
    );
    run(context, &[create, insert]).await?;
    Ok(data::PopulateReparentJournalResponse {})
}

/// Replicates from another tablet, and waits for the row of its journal when the request names one.
pub async fn follow(
    context: &Context,
    request: &data::SetReplicationSourceRequest,
) -> Result<data::SetReplicationSourceResponse> {
    let parent = request.parent.clone().unwrap_or_default();
    let source = async {
        let cell = context.topo.cell(&parent.cell).await?;
        Record::<Tablet>::get(&cell, &paths::tablet(&parent)).await
    };
    let source = source.await.map_err(|error| Error::unknown(error.to_string()))?.value;
    let (host, port) = (sql::string(&source.mysql_hostname), source.mysql_port);
    let user = sql::string(&context.shared.options.mysql_user);
    let change = format!(
        "change master to master_host = {host}, master_port = {port}, master_user = {user}, master_auto_position = 1, \
         master_connect_retry = 1, get_master_public_key = 1"
    );
    run(context, &["stop slave".to_owned(), change, "start slave".to_owned()]).await?;
    set_read_only(context, true).await?;
    if request.time_created_ns == 0 {
        return Ok(data::SetReplicationSourceResponse {});
    }
    let table = journal(context);
    let found = format!("select 1 from {table} where time_created_ns = {}", request.time_created_ns);
    // the caller ends the wait
    loop {
        let mut db = Db::connect(&context.shared).await?;
        let row = db.value(&found).await;
        db.close().await;
        if matches!(row, Ok(Some(_))) {
            return Ok(data::SetReplicationSourceResponse {});
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn journal(context: &Context) -> String {
    format!("{}.reparent_journal", sql::quote(&context.shared.options.sidecar_db))
}

async fn run(context: &Context, statements: &[String]) -> Result<()> {
    let mut db = Db::connect(&context.shared).await?;
    let mut done = Ok(());
    for statement in statements {
        done = db.run(statement).await.map(|_| ());
        if done.is_err() {
            break;
        }
    }
    db.close().await;
    done
}
