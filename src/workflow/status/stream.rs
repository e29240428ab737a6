//! One stream, as status shows it.

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::vtctldata::workflow_status_response::ShardStreamState;

use crate::gtid::Position;
use crate::workflow::progress::Overall;
use crate::workflow::streams::{self, lag};

pub(super) fn stream_state(stream: &Stream, copying: bool, overall: &Overall) -> ShardStreamState {
    let status = streams::shown_state(stream, copying);
    let source = stream.bls.as_ref().map(|bls| format!("{}/{}", bls.keyspace, bls.shard)).unwrap_or_default();
    let info = match (status, copying) {
        ("Error", _) => streams::message(stream),
        // a tablet is done with its tables a moment before it says that its stream runs
        ("Copying", _) | (_, true) => overall.text(),
        _ if stream.pos.is_empty() => "VStream has not started".into(),
        _ => lag_text(stream),
    };
    ShardStreamState {
        id: stream.id,
        tablet: None,
        source_shard: source,
        position: Position::stored(&stream.pos).to_string(),
        status: status.to_owned(),
        info,
    }
}

/// How far a running stream is behind, in seconds, and the time of the last transaction.
fn lag_text(stream: &Stream) -> String {
    let mut text = format!("VStream Lag: {}s", lag(stream));
    let transaction = stream.transaction_timestamp.as_ref().map_or(0, |t| t.seconds);
    if transaction > 0
        && let Ok(time) = jiff::Timestamp::from_second(transaction)
    {
        text = format!("{text}; Tx time: {}", time.strftime("%a %b %e %H:%M:%S %Y UTC"));
    }
    text
}
