//! What differs between the tablets of Vitess 22, 23 and 24, as far as vtctld meets it.

use std::collections::BTreeMap;

/// The major version that a tablet behaves as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 22.0.3.
    #[default]
    V22,
    /// 23.0.5.
    V23,
    /// 24.0.4.
    V24,
}

/// Names of config overrides that begin so have underscores before 23 and dashes since.
const RENAMED: &str = "vreplication-";
/// Names that both read.
const EITHER: [&str; 4] =
    ["relay-log-max-size", "relay-log-max-items", "vstream-packet-size", "vstream-dynamic-packet-size"];
/// Names after [`RENAMED`].
const SETTINGS: [&str; 9] = [
    "experimental-flags",
    "net-read-timeout",
    "net-write-timeout",
    "copy-phase-duration",
    "retry-delay",
    "max-time-to-retry-on-error",
    "replica-lag-tolerance",
    "heartbeat-update-interval",
    "store-compressed-gtid",
];

impl Generation {
    /// Refuses overrides whose name this generation does not know; those without a value are passed over.
    ///
    /// # Errors
    /// The text of the tablet.
    pub fn check_overrides<'o>(
        self,
        overrides: impl IntoIterator<Item = (&'o String, &'o String)>,
    ) -> Result<(), String> {
        let set: BTreeMap<&String, &String> = overrides.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let unknown = set.into_keys().filter(|name| !self.knows(name));
        let unknown: Vec<String> = unknown.map(|name| format!("unknown vreplication config flag: {name}")).collect();
        if unknown.is_empty() { Ok(()) } else { Err(unknown.join(", ")) }
    }

    fn knows(self, name: &str) -> bool {
        let (dashes, has_dash, has_underscore) = (name.replace('_', "-"), name.contains('-'), name.contains('_'));
        match name {
            "vreplication-parallel-insert-workers" | "vstream_binlog_rotation_threshold" => true,
            _ if EITHER.contains(&dashes.as_str()) => !(has_dash && has_underscore),
            _ if !dashes.strip_prefix(RENAMED).is_some_and(|setting| SETTINGS.contains(&setting)) => false,
            _ => {
                if self >= Self::V23 {
                    !has_underscore
                } else {
                    !has_dash
                }
            }
        }
    }

    /// Whether an update of overrides keeps those that it does not name.
    #[must_use]
    pub fn merges_overrides(self) -> bool {
        self >= Self::V24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_reads_its_own_spelling() {
        let check =
            |generation: Generation, name: &str| generation.check_overrides([(&name.to_owned(), &"1".to_owned())]);
        assert!(check(Generation::V22, "vreplication_experimental_flags").is_ok());
        assert!(check(Generation::V24, "vreplication-experimental-flags").is_ok());
        for either in ["relay_log_max_size", "relay-log-max-size", "vreplication-parallel-insert-workers"] {
            assert!(check(Generation::V22, either).is_ok() && check(Generation::V23, either).is_ok(), "{either}");
        }
        let refused = check(Generation::V23, "vreplication_experimental_flags").unwrap_err();
        assert_eq!(refused, "unknown vreplication config flag: vreplication_experimental_flags");
        assert!(check(Generation::V22, "vreplication-experimental-flags").is_err());
        assert!(check(Generation::V22, "nosuch").is_err());
    }
}
