//! Whether tablets that streams may read from get changes themselves. A replica whose replication stands still answers, sends
//! heartbeats, and has nothing to tell: its streams say Running.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::replicationdata::Status;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::streaming::Health;
use crate::error::check;
use crate::gtid::Position;
use crate::tablet;
use crate::workflow::findings::Finding;
use crate::workflow::tablet_types::{cell, is_one_of};

/// A replica that is no more than so many seconds behind does what it is there for.
const MAX_LAG: u32 = 30;
/// States of replication threads (`replication.State` of Vitess 22.0.3).
const STOPPED: i32 = 1;
const CONNECTING: i32 = 2;

/// What a tablet says of its replication.
#[derive(Clone, Debug, PartialEq)]
pub enum Replication {
    Told(Box<Status>),
    /// Its MySQL has no source.
    Absent,
    /// With the reason.
    Unknown(String),
}

/// What is wrong with a tablet's replication, and what fixes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// True when it replicates, and is no more than late.
    pub late: bool,
    pub cause: String,
    pub fix: String,
}

/// What is wrong with a tablet's replication. One that has all of `wanted`, what its primary had, is not behind, whatever it
/// says; what it does not tell is no trouble.
pub fn trouble(alias: &str, told: &Replication, wanted: Option<&Position>) -> Option<Trouble> {
    let status = match told {
        Replication::Unknown(_) => return None,
        Replication::Absent => {
            let cause = format!("tablet {alias} does not replicate: its MySQL has no source");
            let fix = format!("in the source's cluster: ReparentTablet {alias}");
            return Some(Trouble { late: false, cause, fix });
        }
        Replication::Told(status) => status,
    };
    let with = |error: &str| if error.is_empty() { String::new() } else { format!(": {error}") };
    let mut wrong = Vec::new();
    if status.sql_state == STOPPED {
        wrong.push(format!("its SQL thread is stopped{}", with(&status.last_sql_error)));
    }
    let from = format!("{}:{}", status.source_host, status.source_port);
    match status.io_state {
        STOPPED => wrong.push(format!("its IO thread is stopped{}", with(&status.last_io_error))),
        // without an error it has just begun to connect
        CONNECTING if !status.last_io_error.is_empty() => {
            wrong.push(format!("its IO thread does not reach {from}: {}", status.last_io_error));
        }
        _ => {}
    }
    if !wrong.is_empty() {
        let backup = if status.backup_running { " (a backup is running there)" } else { "" };
        let fix = match (status.last_sql_error.as_str(), status.last_io_error.as_str()) {
            ("", "") => format!("in the source's cluster: StartReplication {alias}"),
            ("", _) => {
                format!("see that its MySQL reaches its source, or in the source's cluster: ReparentTablet {alias}")
            }
            _ => format!("fix what the error says, then in the source's cluster: StartReplication {alias}"),
        };
        return Some(Trouble {
            late: false,
            cause: format!("tablet {alias} does not replicate: {}{backup}", wrong.join("; ")),
            fix,
        });
    }
    let has_all = wanted.is_some_and(|wanted| Position::parse(&status.position).contains(wanted) == Some(true));
    if status.replication_lag_seconds <= MAX_LAG || has_all {
        return None;
    }
    let meant = match status.sql_delay {
        0 => String::new(),
        delay => format!(", {delay} s of them on purpose (SOURCE_DELAY)"),
    };
    let cause = format!("tablet {alias} is {} s behind its primary{meant}", status.replication_lag_seconds);
    Some(Trouble { late: true, cause, fix: "wait until it catches up".into() })
}

/// Tablets that a new stream may pick whose replication is in trouble. Those that do not serve are not picked, and not told
/// here.
///
/// `looked` are the cells that are looked in.
pub fn at_create(
    tablets: &BTreeMap<String, Vec<Tablet>>,
    health: &BTreeMap<String, Health>,
    replication: &BTreeMap<String, Replication>,
    types: &[TabletType],
    looked: &BTreeSet<&str>,
) -> Vec<Finding> {
    let wanted = |t: &&Tablet| is_one_of(t, types) && looked.contains(cell(t));
    let candidates = tablets.values().flatten().filter(wanted);
    let found = candidates.filter_map(|tablet| {
        let alias = tablet::alias(tablet);
        if matches!(health.get(&alias), Some(Health::NotServing(_))) {
            return None;
        }
        let Trouble { cause, fix, .. } = trouble(&alias, replication.get(&alias)?, None)?;
        let cause = format!("streams may read from a source tablet that gets no changes, or gets them late: {cause}");
        let fix = format!("{fix}; or use --tablet-types primary");
        Some(Finding::new(&check::SOURCE_TABLET_STALLED, format!("tablet {alias}"), cause, fix))
    });
    found.collect()
}

#[cfg(test)]
mod tests;
