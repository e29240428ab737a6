//! Backups: taken by a tablet, or by the best one of a shard, and brought back. Tablets alone know where they are kept.

use futures::future::join_all;
use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::replicationdata::Status;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vttime::Time;

use super::{Error, Result, replication, tablet};
use crate::context::Context;
use crate::error::Reason;
use crate::tablet::LogStream;

/// Files at a time when a request names no number: the stock client's own. Tablets with none would wait for ever.
const CONCURRENCY: i32 = 4;
/// Seconds of the zero time of Go, which the stock client sends for no time.
const NO_TIME: i64 = -62_135_596_800;

/// Where goes what a tablet tells while it works.
pub trait Log: Sync {
    /// One event of a tablet.
    fn event(&self, tablet: &Tablet, event: Event) -> impl Future<Output = ()> + Send;
}

/// Makes a tablet take a backup.
///
/// # Errors
/// Refused before the tablet is called: a primary, unless that is allowed.
pub async fn of_tablet(
    context: &Context,
    alias: &TabletAlias,
    how: manager::BackupRequest,
    log: &impl Log,
) -> Result<()> {
    let how = checked(how)?;
    let tablet = tablet::get(context, alias).await?;
    if tablet.r#type() == TabletType::Primary && !how.allow_primary {
        let text = format!(
            "TabletManager.Backup on {}: type PRIMARY cannot take backup. if you really need to do this, rerun the \
             backup command with --allow_primary",
            crate::tablet::alias(&tablet)
        );
        return Err(Error::precondition(Reason::IS_PRIMARY, text, ""));
    }
    follow(context.tablets.backup(&tablet, how).await?, &tablet, log).await
}

/// Makes the replica of a shard that lags least take a backup; the primary only when there is no replica for it and it is
/// allowed.
pub async fn of_shard(
    context: &Context,
    keyspace: &str,
    name: &str,
    how: manager::BackupRequest,
    log: &impl Log,
) -> Result<()> {
    let how = checked(how)?;
    let tablet = pick(context, keyspace, name, how.allow_primary).await?;
    follow(context.tablets.backup(&tablet, how).await?, &tablet, log).await
}

/// Replaces all data of a tablet by those of a backup. Then it replicates from its shard's primary, which may be another
/// one by now; not after a dry run, and not when the data are those of an earlier point in time.
///
/// # Errors
/// Refused before the tablet is called: primaries.
pub async fn restore(
    context: &Context,
    alias: &TabletAlias,
    how: manager::RestoreFromBackupRequest,
    log: &impl Log,
) -> Result<()> {
    let to_time = how.restore_to_timestamp.as_ref().is_some_and(is_time);
    if to_time && !how.restore_to_pos.is_empty() {
        return Err(Error::bad_argument("--restore-to-pos and --restore-to-timestamp are mutually exclusive"));
    }
    let stays = how.dry_run || to_time || !how.restore_to_pos.is_empty();
    let tablet = tablet::get(context, alias).await?;
    if tablet.r#type() == TabletType::Primary {
        let text = format!(
            "TabletManager.RestoreFromBackup on {}: type PRIMARY cannot restore from backup, if you really need to do \
             this, restart vttablet in replica mode",
            crate::tablet::alias(&tablet)
        );
        return Err(Error::precondition(Reason::IS_PRIMARY, text, ""));
    }
    follow(context.tablets.restore_from_backup(&tablet, how).await?, &tablet, log).await?;
    if stays || context.options.disable_active_reparents {
        return Ok(());
    }
    let doing = || {
        format!("the backup was restored on {}, but the tablet may not be replicating", crate::tablet::alias(&tablet))
    };
    replication::follow_primary(context, alias).await.map_err(|error| error.doing(doing()))
}

/// What every tablet can serve.
fn checked(mut how: manager::BackupRequest) -> Result<manager::BackupRequest> {
    if how.concurrency == 0 {
        how.concurrency = CONCURRENCY;
    }
    let first = how.init_sql.iter().filter(|sql| !sql.queries.is_empty());
    for sql in first {
        if sql.tablet_types.is_empty() {
            return Err(Error::bad_argument(
                "backup init SQL queries provided but no tablet types on which to run them",
            ));
        }
        if sql.timeout.as_ref().is_none_or(|timeout| timeout.seconds == 0 && timeout.nanos == 0) {
            let text = "backup init SQL queries provided but no timeout provided -- this is dangerous and not allowed";
            return Err(Error::bad_argument(text));
        }
    }
    Ok(how)
}

fn is_time(time: &Time) -> bool {
    (time.seconds, time.nanoseconds) != (NO_TIME, 0)
}

async fn follow(mut events: LogStream, tablet: &Tablet, log: &impl Log) -> Result<()> {
    while let Some(event) = events.next().await? {
        log.event(tablet, event).await;
    }
    Ok(())
}

/// The tablet for a shard's backup: shard, cells, graphs, tablets, and what all replicas say of their lag.
async fn pick(context: &Context, keyspace: &str, name: &str, allow_primary: bool) -> Result<Tablet> {
    let (shard, tablets, partial) = tablet::shard_with_tablets(context, keyspace, name, &[]).await?;
    let (candidates, others): (Vec<_>, Vec<_>) = tablets.into_iter().partition(may_serve);
    let asked = candidates.into_iter().map(|tablet| async move {
        let status = context.tablets.replication_status(&tablet, manager::ReplicationStatusRequest {}).await;
        (tablet, status.map(|answer| answer.status.unwrap_or_default()))
    });
    let (mut usable, mut reasons) = (Vec::new(), Vec::new());
    for (tablet, status) in join_all(asked).await {
        let alias = crate::tablet::alias(&tablet);
        match status {
            Ok(status) if status.replication_lag_unknown => reasons.push(format!("{alias} is not replicating")),
            Ok(status) => usable.push((tablet, status)),
            Err(error) => reasons.push(format!("ReplicationStatus({alias}) failed: {error}")),
        }
    }
    let replica = best(usable);
    let primaries = others.into_iter().filter(|tablet| allow_primary && tablet.r#type() == TabletType::Primary);
    let primary = || primaries.max_by_key(|tablet| tablet.alias == shard.primary_alias);
    replica.or_else(primary).ok_or_else(|| {
        reasons.extend(partial.map(|error| error.to_string()));
        let why = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
        let text = format!("no tablet available for backup{why}");
        let help = format!(
            "a REPLICA, RDONLY or SPARE tablet of {keyspace}/{name} must be replicating; or use --allow-primary"
        );
        Error::precondition(Reason::NO_TABLET, text, help)
    })
}

fn may_serve(tablet: &Tablet) -> bool {
    matches!(tablet.r#type(), TabletType::Replica | TabletType::Rdonly | TabletType::Spare)
}

/// The one that lags least, if possible one that is not taking a backup already.
fn best(usable: Vec<(Tablet, Status)>) -> Option<Tablet> {
    let key = |(_, status): &(Tablet, Status)| (status.backup_running, status.replication_lag_seconds);
    usable.into_iter().min_by_key(key).map(|(tablet, _)| tablet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Explain};

    #[test]
    fn the_least_lag_wins_unless_a_backup_runs() {
        let tablet = |uid, backup_running, replication_lag_seconds| {
            let alias = Some(TabletAlias { cell: "c".into(), uid });
            let status = Status { backup_running, replication_lag_seconds, ..Status::default() };
            (Tablet { alias, ..Tablet::default() }, status)
        };
        let picked = |usable| best(usable).and_then(|tablet: Tablet| tablet.alias).map(|alias| alias.uid);
        assert_eq!(picked(vec![tablet(1, false, 9), tablet(2, false, 3), tablet(3, false, 3)]), Some(2));
        assert_eq!(picked(vec![tablet(1, false, 9), tablet(2, true, 3)]), Some(1));
        assert_eq!(picked(vec![tablet(2, true, 3)]), Some(2));
        assert_eq!(picked(vec![]), None);
    }

    #[test]
    fn what_tablets_cannot_serve_is_refused_and_what_is_left_out_is_filled_in() {
        let sql = |queries: &[&str], types: &[TabletType], seconds| manager::BackupRequest {
            init_sql: Some(manager::backup_request::InitSql {
                queries: queries.iter().map(|query| (*query).to_owned()).collect(),
                tablet_types: types.iter().map(|tablet_type| i32::from(*tablet_type)).collect(),
                timeout: Some(vtmigrated_proto::vttime::Duration { seconds, nanos: 0 }),
                fail_on_error: false,
            }),
            ..manager::BackupRequest::default()
        };
        assert_eq!(checked(sql(&[], &[], 0)).unwrap().concurrency, 4);
        assert_eq!(checked(manager::BackupRequest { concurrency: 9, ..sql(&[], &[], 0) }).unwrap().concurrency, 9);
        checked(sql(&["select 1"], &[TabletType::Replica], 1)).unwrap();
        let no_types = checked(sql(&["select 1"], &[], 1)).unwrap_err();
        assert_eq!(no_types.code(), Code::InvalidArgument);
        assert!(no_types.to_string().ends_with("no tablet types on which to run them"));
        let no_timeout = checked(sql(&["select 1"], &[TabletType::Replica], 0)).unwrap_err().to_string();
        assert!(no_timeout.contains("no timeout provided"), "{no_timeout}");
    }

    #[test]
    fn the_time_that_the_stock_client_sends_for_none_is_none() {
        assert!(!is_time(&Time { seconds: NO_TIME, nanoseconds: 0 }));
        assert!(is_time(&Time { seconds: 0, nanoseconds: 0 }) && is_time(&Time { seconds: 1, nanoseconds: 0 }));
    }
}
