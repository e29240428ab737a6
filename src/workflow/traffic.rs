//! Whether routing rules have switched the traffic of a workflow's tables, as stock computes it.
//!
//! A Migrate writes no rules; only rules that are there for other reasons make a difference. They are of the whole cluster, so that
//! whoever has broken them may have nothing to do with the workflow.

use std::collections::BTreeMap;

use vtmigrated_proto::vschema::{RoutingRules, SrvVSchema};

use crate::error::Explain;
use crate::topo;

/// The routing rules of the target's cluster, or why they cannot be decoded.
pub type Rules = topo::Result<RoutingRules>;

/// What the rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    replica_switched: Vec<String>,
    replica_not: Vec<String>,
    rdonly_switched: Vec<String>,
    rdonly_not: Vec<String>,
    writes: Writes,
}

/// Whether writes were switched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Writes {
    #[default]
    NotSwitched,
    Switched,
    /// Why nobody can tell.
    Unknown(String),
}

impl Traffic {
    /// Reads the state from the serving vschema of each cell and the global rules.
    pub fn of(source: &str, tables: &[String], cells: &[(String, Option<SrvVSchema>)], rules: &Rules) -> Self {
        let writes = match writes_switched(source, tables, rules) {
            Ok(true) => Writes::Switched,
            Ok(false) => Writes::NotSwitched,
            Err(why) => Writes::Unknown(format!("{why}; {}", why.help())),
        };
        let mut traffic = Self { writes, ..Self::default() };
        let Some(first) = tables.first() else { return traffic };
        for (cell, serving) in cells {
            let rules = serving.as_ref().and_then(|s| s.routing_rules.as_ref());
            for (suffix, switched, not) in [
                ("@replica", &mut traffic.replica_switched, &mut traffic.replica_not),
                ("@rdonly", &mut traffic.rdonly_switched, &mut traffic.rdonly_not),
            ] {
                let from = format!("{source}.{first}{suffix}");
                let rule = rules.and_then(|r| r.rules.iter().find(|rule| rule.from_table == from));
                let elsewhere = |to: &String| to.split_once('.').is_some_and(|(keyspace, _)| keyspace != source);
                let list = if rule.is_some_and(|r| r.to_tables.iter().any(elsewhere)) { switched } else { not };
                list.push(cell.clone());
            }
        }
        traffic
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let switched = !self.replica_switched.is_empty();
        if switched && self.replica_not.is_empty() && self.rdonly_not.is_empty() {
            f.write_str("All Reads Switched")?;
        } else if !switched && self.rdonly_switched.is_empty() {
            f.write_str("Reads Not Switched")?;
        } else {
            f.write_str("Reads partially switched")?;
            for (kind, switched, not) in [
                ("Replica", &self.replica_switched, &self.replica_not),
                ("Rdonly", &self.rdonly_switched, &self.rdonly_not),
            ] {
                match (switched.is_empty(), not.is_empty()) {
                    (false, true) => write!(f, ". All {kind} Reads Switched")?,
                    (true, _) => write!(f, ". {kind} not switched")?,
                    (false, false) => write!(f, ". {kind} switched in cells: {}", switched.join(","))?,
                }
            }
        }
        match &self.writes {
            Writes::Switched => f.write_str(". Writes Switched"),
            Writes::NotSwitched => f.write_str(". Writes Not Switched"),
            Writes::Unknown(why) => write!(f, ". Writes Unknown: {why}"),
        }
    }
}

/// True when a rule sends writes of one of the tables somewhere else.
///
/// # Errors
/// Why the rules cannot be decoded.
pub fn writes_switched<'r>(source: &str, tables: &[String], rules: &'r Rules) -> Result<bool, &'r topo::Error> {
    let rules: BTreeMap<&str, &Vec<String>> =
        rules.as_ref()?.rules.iter().map(|r| (r.from_table.as_str(), &r.to_tables)).collect();
    Ok(tables.iter().any(|table| {
        let key = format!("{source}.{table}");
        rules.get(key.as_str()).and_then(|to| to.first()).is_some_and(|to| *to != key)
    }))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::vschema::RoutingRule;

    use super::*;

    fn stored(list: &[(&str, &str)]) -> RoutingRules {
        let rule =
            |(from, to): &(&str, &str)| RoutingRule { from_table: (*from).into(), to_tables: vec![(*to).into()] };
        RoutingRules { rules: list.iter().map(rule).collect() }
    }

    fn rules(list: &[(&str, &str)]) -> Rules {
        Ok(stored(list))
    }

    fn cell(list: &[(&str, &str)]) -> (String, Option<SrvVSchema>) {
        ("zone1".into(), Some(SrvVSchema { routing_rules: Some(stored(list)), ..SrvVSchema::default() }))
    }

    #[test]
    fn a_migrate_switches_nothing() {
        let tables = ["t".to_owned()];
        let cells = [cell(&[]), ("zone2".into(), None)];
        let traffic = Traffic::of("commerce", &tables, &cells, &rules(&[]));
        assert_eq!(traffic.to_string(), "Reads Not Switched. Writes Not Switched");
    }

    #[test]
    fn rules_of_others_are_seen() {
        let tables = ["t".to_owned()];
        let replica = cell(&[("commerce.t@replica", "customer.t")]);
        let traffic = Traffic::of("commerce", &tables, &[replica], &rules(&[("commerce.t", "customer.t")]));
        assert_eq!(
            traffic.to_string(),
            "Reads partially switched. All Replica Reads Switched. Rdonly not switched. Writes Switched"
        );
        assert_eq!(writes_switched("commerce", &tables, &rules(&[("commerce.t", "commerce.t")])), Ok(false));
    }

    #[test]
    fn rules_that_cannot_be_decoded_are_told_with_what_can_be_done() {
        let tables = ["t".to_owned()];
        let broken = topo::Error::BadData { path: "/global/RoutingRules".into(), detail: "invalid".into() };
        let traffic = Traffic::of("commerce", &tables, &[cell(&[])], &Err(broken.clone())).to_string();
        let begins = "Reads Not Switched. Writes Unknown: bad topology data at /global/RoutingRules: invalid; ";
        assert!(traffic.starts_with(begins) && traffic.ends_with("ApplyRoutingRules --rules-file …"), "{traffic}");
        assert_eq!(writes_switched("commerce", &tables, &Err(broken.clone())), Err(&broken));
    }
}
