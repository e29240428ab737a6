//! Choosing the tablet that becomes primary.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::ReplicationStatusRequest;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::journal::{Events, within};
use super::{State, WAIT_REPLICAS, Wanted};
use crate::cluster::durability::Promotion;
use crate::cluster::{Error, Result};
use crate::context::Context;
use crate::error::Reason;
use crate::gtid::GtidSet;

/// A tablet that may become primary, and what speaks for it.
struct Candidate<'a> {
    tablet: &'a Tablet,
    position: GtidSet,
    promotion: Promotion,
    pool: u64,
}

/// What a candidate says of itself.
struct Answer {
    position: GtidSet,
    lag: Duration,
    backup: bool,
    unknown: bool,
}

/// The wanted tablet, else the best replica: the one with the most transactions, then the one that the policy prefers, then
/// the one with the fullest buffer pool (`pools`, in the order of the tablets), then the first.
///
/// # Errors
/// Nobody can be primary: the text has everybody's reason.
pub(super) async fn elect(
    context: &Context,
    wanted: &Wanted,
    state: &State,
    pools: &[u64],
    events: &mut Events,
) -> Result<Tablet> {
    let mut reasons = String::new();
    let mut candidates = Vec::new();
    for (tablet, pool) in state.tablets.iter().zip(pools) {
        let reason = match &wanted.new {
            Some(_) if tablet.alias == wanted.new => None,
            Some(_) => Some("does not match the new primary alias provided"),
            None if wanted.avoid.is_some() && tablet.alias == wanted.avoid => {
                Some("matches the primary alias to avoid")
            }
            None if tablet.r#type() != TabletType::Replica => Some("is not a replica"),
            None => None,
        };
        match reason {
            Some(reason) => reasons.push_str(&format!("\n{} {reason}", crate::tablet::alias(tablet))),
            None => candidates.push((tablet, *pool)),
        }
    }
    if let ([(only, _)], true) = (candidates.as_slice(), wanted.tolerable_lag.is_zero()) {
        return Ok((*only).clone());
    }
    let mut best: Option<Candidate<'_>> = None;
    let wait = wanted.wait_replicas.unwrap_or(WAIT_REPLICAS);
    let asked = join_all(candidates.iter().map(|(tablet, _)| ask(context, tablet, wait))).await;
    for ((tablet, pool), answer) in candidates.into_iter().zip(asked) {
        let name = crate::tablet::alias(tablet);
        events.info(format!("getting replication position from {name}"));
        let Answer { position, lag, backup, unknown } = answer?;
        let reason = if !wanted.tolerable_lag.is_zero() && lag > wanted.tolerable_lag {
            format!("has {}s replication lag which is more than the tolerable amount", lag.as_secs())
        } else if backup {
            "is taking a backup".to_owned()
        } else if unknown {
            "position known but unknown replication status".to_owned()
        } else {
            let found = Candidate { tablet, position, promotion: state.durability.promotion(tablet), pool };
            if best.as_ref().is_none_or(|best| found.is_better_than(best)) {
                best = Some(found);
            }
            continue;
        };
        reasons.push_str(&format!("\n{name} {reason}"));
    }
    best.map(|best| best.tablet.clone()).ok_or_else(|| {
        let text = format!("cannot find a tablet to reparent to{reasons}");
        Error::precondition(Reason::NO_CANDIDATE, text, "")
    })
}

impl Candidate<'_> {
    fn is_better_than(&self, other: &Self) -> bool {
        match (self.position.contains(&other.position), other.position.contains(&self.position)) {
            (true, true) => (self.promotion, self.pool) > (other.promotion, other.pool),
            (ahead, _) => ahead,
        }
    }
}

async fn ask(context: &Context, tablet: &Tablet, wait: Duration) -> Result<Answer> {
    let status = match within(wait, context.tablets.replication_status(tablet, ReplicationStatusRequest {})).await {
        // a server that never replicated
        Err(error) if error.is_no_replica() => {
            let position = GtidSet::default();
            return Ok(Answer { position, lag: Duration::ZERO, backup: false, unknown: false });
        }
        other => other?.status.unwrap_or_default(),
    };
    let position = if status.relay_log_position.is_empty() { &status.position } else { &status.relay_log_position };
    let position = GtidSet::parse(position).map_err(|detail| {
        let name = crate::tablet::alias(tablet);
        Error::precondition(
            Reason::POSITION,
            format!("cannot decode replica position {position} for tablet {name}: {detail}"),
            "",
        )
    })?;
    let lag = Duration::from_secs(status.replication_lag_seconds.into());
    Ok(Answer { position, lag, backup: status.backup_running, unknown: status.replication_lag_unknown })
}
