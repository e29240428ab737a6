//! A side whose writes were denied: none is under way any more, and it is the one that was proven still.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::ExecuteFetchAsDbaRequest;
use vtmigrated_proto::topodata::Shard;

use super::plan;
use crate::context::Context;
use crate::deadline;
use crate::error::{Code, Reason};
use crate::tablet::db_name;
use crate::topo::{Lock, Record, shard};
use crate::workflow::streams::Keyspace;
use crate::workflow::writes::denied;
use crate::workflow::{Error, Result};

/// How long transactions may take that were under way when writes were denied.
pub const TRANSACTIONS: Duration = Duration::from_secs(35);
/// Tables are locked so often, with a pause: a write may have passed the tablet's check just before (Vitess 24).
const CYCLES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for transactions on the primaries that had begun before writes to the tables were denied there: they may commit still.
/// `lock` keeps others from lifting that.
///
/// # Errors
/// One that does not end within [`TRANSACTIONS`]; what keeps a primary from being asked.
pub async fn settle(context: &Context, keyspace: &Keyspace, tables: &[String], lock: &Lock) -> Result<()> {
    let until = deadline::now() + TRANSACTIONS;
    for cycle in 0..CYCLES {
        if cycle > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        lock.check().await?;
        let locked = keyspace.primaries()?.into_iter().map(|(_, tablet)| async move {
            let request = ExecuteFetchAsDbaRequest {
                query: plan::lock_tables(tables).into_bytes(),
                db_name: db_name(tablet),
                max_rows: 1,
                ..ExecuteFetchAsDbaRequest::default()
            };
            Ok(context.tablets.execute_fetch_as_dba(tablet, request).await.map(drop)?)
        });
        Error::all(deadline::within(Some(until), join_all(locked.collect::<Vec<_>>())).await)?;
    }
    Ok(())
}

/// Sees that a keyspace has the primaries still that were proven, and denies these tables still: another one may have taken writes,
/// or may lack what was proven.
///
/// # Errors
/// `PRIMARY_CHANGED`, `WRITES_NOT_DENIED`.
pub async fn unchanged(context: &Context, keyspace: &Keyspace, tables: &[String]) -> Result<()> {
    let records = denied::as_read(keyspace);
    let fresh = shard::again(context.topo.global(), &records).await?;
    let refused = |reason: Reason, record: &Record<Shard>, what: &str| {
        let text = format!("shard {}/{} {what} meanwhile", keyspace.name, shard::name(record));
        Err(Error::Refused { code: Code::Aborted, reason, text, help: "run the command again".into() })
    };
    for (old, new) in records.iter().zip(&fresh) {
        if !shard::has_same_primary(&old.value, &new.value) {
            return refused(Reason::PRIMARY_CHANGED, new, "got another primary");
        }
        let denied: BTreeSet<String> = shard::denied(&new.value).into_iter().collect();
        if tables.iter().any(|table| !denied.contains(table)) {
            return refused(Reason::WRITES_NOT_DENIED, new, "was opened to clients");
        }
    }
    Ok(())
}
