//! Config overrides that a tablet does not read any more.

use crate::error::check;
use crate::workflow::findings::Finding;
use crate::workflow::overrides::Spelling;

/// What a tablet answers that does not read an override, before its name (Vitess 22.0.4 and 24.0.4).
const UNREAD: &str = "unknown vreplication config flag: ";

/// The primary of a shard does not read these overrides.
pub fn finding(keyspace: &str, shard: &str, workflow: &str, names: &[&str]) -> Finding {
    let cause = format!(
        "its primary does not read config override {} since its version changed: no stream runs there",
        names.join(", ")
    );
    let fix = format!(
        "spell it anew and start with: Workflow --keyspace {keyspace} start --workflow {workflow}; if the source's tablets \
         are of before 23 and the target's are not, or the other way round, take it away instead: {}",
        removal(keyspace, workflow, names)
    );
    Finding::new(&check::OVERRIDES_UNREAD, subject(keyspace, shard), cause, fix)
}

/// What helps a stream whose source does not read an override, by the stream's message; `None` for any other message. The target's
/// tablet passes its overrides on to the source's, which reads them by its own version.
pub fn refused_by_source(keyspace: &str, workflow: &str, message: &str) -> Option<String> {
    let (_, rest) = message.split_once(UNREAD)?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    let name = rest.get(..end).filter(|name| !name.is_empty())?;
    Some(format!(
        "the source's tablets do not read this config override, for they are not of the target's version; take it away: {}; then \
         start it: Workflow --keyspace {keyspace} start --workflow {workflow}",
        removal(keyspace, workflow, &[name])
    ))
}

/// The command that takes overrides away. Clients from 23 on take the names with dashes only, earlier ones with underscores only.
fn removal(keyspace: &str, workflow: &str, names: &[&str]) -> String {
    let spelled = |spelling: Spelling| {
        let sets: Vec<String> = names.iter().map(|name| format!("{}=", spelling.spell(name))).collect();
        sets.join(",")
    };
    let (dashes, underscores) = (spelled(Spelling::Dashes), spelled(Spelling::Underscores));
    let command = format!("Workflow --keyspace {keyspace} update --workflow {workflow} --config-overrides {dashes}");
    if dashes == underscores { command } else { format!("{command} (vtctldclient of 22: {underscores})") }
}

fn subject(keyspace: &str, shard: &str) -> String {
    format!("shard {keyspace}/{shard}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_taken_away_in_the_words_of_either_client() {
        let names = ["vreplication_net_read_timeout", "vreplication_retry_delay"];
        let fix = finding("customer", "-80", "import", &names).fix;
        assert!(
            fix.ends_with(
                "take it away instead: Workflow --keyspace customer update --workflow import --config-overrides \
                 vreplication-net-read-timeout=,vreplication-retry-delay= (vtctldclient of 22: \
                 vreplication_net_read_timeout=,vreplication_retry_delay=)"
            ),
            "{fix}"
        );
    }

    #[test]
    fn a_source_that_does_not_read_an_override_is_known_by_its_message() {
        let message = "Error: failed to parse VReplicationConfig: unknown vreplication config flag: \
                       vreplication_experimental_flags (in uvstreamer)";
        let fix = refused_by_source("customer", "import", message).unwrap();
        assert!(fix.contains("--config-overrides vreplication-experimental-flags= ("), "{fix}");
        assert!(fix.ends_with("Workflow --keyspace customer start --workflow import"), "{fix}");
        assert_eq!(refused_by_source("customer", "import", "Error: Data too long"), None);
    }
}
