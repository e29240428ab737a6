//! Calls to one tablet that answer what the tablet answers.

use std::collections::HashMap;
use std::time::Duration;

use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::replicationdata::FullStatus;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use super::{Statement, get, max_rows};
use crate::cluster::{Error, Result, shown};
use crate::context::Context;
use crate::error::Reason;

/// Longest time that a tablet may be asked to sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Runs several statements as the administrator.
pub async fn fetch_multi_as_dba(
    context: &Context,
    alias: &TabletAlias,
    statement: Statement,
) -> Result<Vec<QueryResult>> {
    let max_rows = max_rows(&statement)?;
    let tablet = get(context, alias).await?;
    let request = manager::ExecuteMultiFetchAsDbaRequest {
        sql: statement.query.into_bytes(),
        db_name: crate::tablet::db_name(&tablet),
        max_rows,
        disable_binlogs: statement.disable_binlogs,
        reload_schema: statement.reload_schema,
        ..manager::ExecuteMultiFetchAsDbaRequest::default()
    };
    Ok(context.tablets.execute_multi_fetch_as_dba(&tablet, request).await?.results)
}

/// Replication and settings of a tablet's MySQL server.
pub async fn full_status(context: &Context, alias: &TabletAlias) -> Result<Option<FullStatus>> {
    let tablet = get(context, alias).await?;
    Ok(context.tablets.full_status(&tablet, manager::FullStatusRequest {}).await?.status)
}

/// Users and grants of a tablet's MySQL server.
pub async fn permissions(context: &Context, alias: &TabletAlias) -> Result<manager::Permissions> {
    let doing = || format!("Failed to get tablet {}", shown(alias));
    let tablet = get(context, alias).await.map_err(|error| error.doing(doing()))?;
    read_permissions(context, &tablet).await
}

/// The same of a tablet whose record was read.
pub async fn read_permissions(context: &Context, tablet: &Tablet) -> Result<manager::Permissions> {
    let request = manager::GetPermissionsRequest {};
    Ok(context.tablets.get_permissions(tablet, request).await?.permissions.unwrap_or_default())
}

/// Runs a program on a tablet's host.
///
/// # Errors
/// Refused: no program, and a name that leads out of the folder of programs.
pub async fn hook(
    context: &Context,
    alias: Option<TabletAlias>,
    hook: Option<manager::ExecuteHookRequest>,
) -> Result<manager::ExecuteHookResponse> {
    let hook = hook.ok_or_else(|| Error::bad_argument("TabletHookRequest cannot be nil"))?;
    if hook.name.contains('/') {
        let text = format!("hook name cannot contain a '/'; was {}", hook.name);
        return Err(Error::precondition(Reason::HOOK_NAME, text, ""));
    }
    if hook.name.is_empty() || hook.name.starts_with('.') {
        return Err(Error::bad_argument("the hook must be a program in the tablet's vthook directory"));
    }
    let tablet = get(context, &super::alias(alias)?).await?;
    Ok(context.tablets.execute_hook(&tablet, hook).await?)
}

/// Makes a tablet's MySQL server take writes, or refuse them.
pub async fn set_writable(context: &Context, alias: &TabletAlias, writable: bool) -> Result<()> {
    let tablet = get(context, alias).await?;
    if writable {
        context.tablets.set_read_write(&tablet, manager::SetReadWriteRequest {}).await?;
    } else {
        context.tablets.set_read_only(&tablet, manager::SetReadOnlyRequest {}).await?;
    }
    Ok(())
}

/// Makes a tablet do nothing else for a while; 15 s when no time is given.
pub async fn sleep(context: &Context, alias: &TabletAlias, time: Option<Duration>) -> Result<()> {
    let time = time.unwrap_or(Duration::from_secs(15));
    if time > LONGEST_SLEEP {
        return Err(Error::bad_argument("the duration must be at most an hour"));
    }
    let tablet = get(context, alias).await?;
    let duration = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    context.tablets.sleep(&tablet, manager::SleepRequest { duration }).await?;
    Ok(())
}

/// Adds tags to a tablet's, or puts them in the place of all that it has. Answers those before and after.
pub async fn change_tags(
    context: &Context,
    alias: &TabletAlias,
    tags: HashMap<String, String>,
    replace: bool,
) -> Result<(HashMap<String, String>, HashMap<String, String>)> {
    let tablet = get(context, alias).await?;
    let changed = context.tablets.change_tags(&tablet, manager::ChangeTagsRequest { tags, replace }).await?;
    Ok((tablet.tags, changed.tags))
}
