//! How long ago a stream heard something of its source.

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

/// Seconds since the epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Seconds between now and the last thing heard from the source: a transaction, or a heartbeat when there is none.
pub fn lag(stream: &Stream) -> i64 {
    let seconds = |time: &Option<vtmigrated_proto::vttime::Time>| time.as_ref().map_or(0, |t| t.seconds);
    let (transaction, updated) = (seconds(&stream.transaction_timestamp), seconds(&stream.time_updated));
    let idle = transaction == 0 || (updated == seconds(&stream.time_heartbeat) && updated > transaction);
    let heard = if idle { updated } else { transaction };
    // a stream that never ran carries its creation time as digits, far in the future
    now().saturating_sub(heard).max(0)
}
