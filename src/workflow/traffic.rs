//! Whether routing rules have switched the traffic of a workflow's tables, as stock computes it.
//!
//! A Migrate writes no rules; only rules that are there for other reasons make a difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use vtmigrated_proto::vschema::{RoutingRules, SrvVSchema};

use crate::topo::{self, Conn, routing_rules};

/// What the rules say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    replica_switched: Vec<String>,
    replica_not: Vec<String>,
    rdonly_switched: Vec<String>,
    rdonly_not: Vec<String>,
    writes: Writes,
}

/// Where the writes of a workflow's tables go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Writes {
    #[default]
    NotSwitched,
    Switched,
    /// The rules cannot be decoded.
    Unknown,
}

impl Traffic {
    /// Reads the state from the serving vschema of each cell and the global rules; `None` for rules that cannot be decoded.
    pub fn of(
        source: &str,
        tables: &[String],
        cells: &[(String, Option<SrvVSchema>)],
        rules: Option<&RoutingRules>,
    ) -> Self {
        let writes = match rules.map(|rules| writes_switched(source, tables, rules)) {
            Some(true) => Writes::Switched,
            Some(false) => Writes::NotSwitched,
            None => Writes::Unknown,
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
        f.write_str(match self.writes {
            Writes::Switched => ". Writes Switched",
            Writes::NotSwitched => ". Writes Not Switched",
            Writes::Unknown => ". Writes Unknown",
        })
    }
}

/// The routing rules for whoever only shows where traffic goes, or why they cannot be decoded.
///
/// # Errors
/// What else keeps them from being read.
pub async fn shown_rules(global: &Arc<dyn Conn>) -> topo::Result<std::result::Result<RoutingRules, topo::Error>> {
    match routing_rules::get(global).await {
        Err(error) if matches!(error.root(), topo::Error::BadData { .. }) => Ok(Err(error)),
        found => found.map(Ok),
    }
}

/// True when a rule sends writes of one of the tables somewhere else.
pub fn writes_switched(source: &str, tables: &[String], rules: &RoutingRules) -> bool {
    let rules: BTreeMap<&str, &Vec<String>> =
        rules.rules.iter().map(|r| (r.from_table.as_str(), &r.to_tables)).collect();
    tables.iter().any(|table| {
        let key = format!("{source}.{table}");
        rules.get(key.as_str()).and_then(|to| to.first()).is_some_and(|to| *to != key)
    })
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::vschema::RoutingRule;

    use super::*;

    fn rules(list: &[(&str, &str)]) -> RoutingRules {
        let rule =
            |(from, to): &(&str, &str)| RoutingRule { from_table: (*from).into(), to_tables: vec![(*to).into()] };
        RoutingRules { rules: list.iter().map(rule).collect() }
    }

    fn cell(list: &[(&str, &str)]) -> (String, Option<SrvVSchema>) {
        ("zone1".into(), Some(SrvVSchema { routing_rules: Some(rules(list)), ..SrvVSchema::default() }))
    }

    #[test]
    fn a_migrate_switches_nothing() {
        let tables = ["t".to_owned()];
        let cells = [cell(&[]), ("zone2".into(), None)];
        let traffic = |rules: Option<&RoutingRules>| Traffic::of("commerce", &tables, &cells, rules).to_string();
        assert_eq!(traffic(Some(&rules(&[]))), "Reads Not Switched. Writes Not Switched");
        assert_eq!(traffic(None), "Reads Not Switched. Writes Unknown");
    }

    #[test]
    fn rules_of_others_are_seen() {
        let tables = ["t".to_owned()];
        let replica = cell(&[("commerce.t@replica", "customer.t")]);
        let traffic = Traffic::of("commerce", &tables, &[replica], Some(&rules(&[("commerce.t", "customer.t")])));
        assert_eq!(
            traffic.to_string(),
            "Reads partially switched. All Replica Reads Switched. Rdonly not switched. Writes Switched"
        );
        assert!(!writes_switched("commerce", &tables, &rules(&[("commerce.t", "commerce.t")])));
    }
}
