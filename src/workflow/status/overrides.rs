//! Config overrides that are not read, as status tells of them.

use vtmigrated_proto::vtctldata::WorkflowStatusResponse;

use crate::error::check;
use crate::workflow::findings::Finding;

/// Puts these findings where the client shows them: behind what is told of the shard's streams.
pub fn tell(findings: &[Finding], answer: &mut WorkflowStatusResponse) {
    for finding in findings.iter().filter(|finding| finding.id == check::OVERRIDES_UNREAD.id) {
        let of_shard =
            answer.shard_streams.iter_mut().filter(|entry| finding.subject == format!("shard {}", entry.key));
        for stream in of_shard.filter_map(|entry| entry.value.as_mut()).flat_map(|streams| &mut streams.streams) {
            stream.info = format!("{}; {}: {}", stream.info, finding.cause, finding.fix);
        }
    }
}
