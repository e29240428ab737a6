//! RPCs of backups.

use std::sync::Arc;

use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::Tablet;
use vtmigrated_proto::vtctldata::*;

use super::events::Events;
use super::time::duration;
use crate::cluster::backup::{self, Log};
use crate::cluster::tablet::alias;
use crate::context::Context;
use crate::failure::{Error, Result};

pub async fn of_tablet(context: Arc<Context>, request: BackupRequest, events: Events<BackupResponse>) -> Result<()> {
    let alias = alias(request.tablet_alias)?;
    let how = manager::BackupRequest {
        concurrency: request.concurrency,
        allow_primary: request.allow_primary,
        incremental_from_pos: request.incremental_from_pos,
        upgrade_safe: request.upgrade_safe,
        backup_engine: request.backup_engine,
        mysql_shutdown_timeout: request.mysql_shutdown_timeout,
        init_sql: request.init_sql,
    };
    check_durations(&how)?;
    backup::of_tablet(&context, &alias, how, &events).await
}

pub async fn of_shard(
    context: Arc<Context>,
    request: BackupShardRequest,
    events: Events<BackupResponse>,
) -> Result<()> {
    let how = manager::BackupRequest {
        concurrency: request.concurrency,
        allow_primary: request.allow_primary,
        incremental_from_pos: request.incremental_from_pos,
        upgrade_safe: request.upgrade_safe,
        backup_engine: None,
        mysql_shutdown_timeout: request.mysql_shutdown_timeout,
        init_sql: request.init_sql,
    };
    check_durations(&how)?;
    backup::of_shard(&context, &request.keyspace, &request.shard, how, &events).await
}

pub async fn restore(
    context: Arc<Context>,
    request: RestoreFromBackupRequest,
    events: Events<RestoreFromBackupResponse>,
) -> Result<()> {
    let alias = alias(request.tablet_alias)?;
    let how = manager::RestoreFromBackupRequest {
        backup_time: request.backup_time,
        restore_to_pos: request.restore_to_pos,
        dry_run: request.dry_run,
        restore_to_timestamp: request.restore_to_timestamp,
        allowed_backup_engines: request.allowed_backup_engines,
    };
    backup::restore(&context, &alias, how, &events).await
}

fn check_durations(how: &manager::BackupRequest) -> std::result::Result<(), Error> {
    duration(how.mysql_shutdown_timeout)?;
    duration(how.init_sql.as_ref().and_then(|sql| sql.timeout))?;
    Ok(())
}

impl Log for Events<BackupResponse> {
    async fn event(&self, tablet: &Tablet, event: Event) {
        let Tablet { alias, keyspace, shard, .. } = tablet.clone();
        self.send(BackupResponse { tablet_alias: alias, keyspace, shard, event: Some(event) }).await;
    }
}

impl Log for Events<RestoreFromBackupResponse> {
    async fn event(&self, tablet: &Tablet, event: Event) {
        let Tablet { alias, keyspace, shard, .. } = tablet.clone();
        self.send(RestoreFromBackupResponse { tablet_alias: alias, keyspace, shard, event: Some(event) }).await;
    }
}
