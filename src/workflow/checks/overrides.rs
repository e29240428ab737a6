//! Config overrides that a tablet does not read any more.

use crate::error::check;
use crate::workflow::findings::Finding;

/// The primary of a shard does not read these overrides.
pub fn finding(keyspace: &str, shard: &str, workflow: &str, names: &[&str]) -> Finding {
    let names = names.join(", ");
    let cause =
        format!("its primary does not read config override {names} since its version changed: no stream runs there");
    let fix = format!(
        "spell it anew and start with: Workflow --keyspace {keyspace} start --workflow {workflow}; if the source's tablets \
         are of before 23 and the target's are not, or the other way round, take it away instead: Workflow --keyspace \
         {keyspace} update --workflow {workflow} --config-overrides {names}="
    );
    Finding::new(&check::OVERRIDES_UNREAD, subject(keyspace, shard), cause, fix)
}

fn subject(keyspace: &str, shard: &str) -> String {
    format!("shard {keyspace}/{shard}")
}
