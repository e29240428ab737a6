//! Records that cannot be read: damaged ones, and those of a newer version. Whatever needs what they tell is refused; what else
//! there is of their workflows can be ended without them, and the data kept.

use std::sync::Arc;

use crate::error::{Code, Reason};
use crate::topo::{self, Conn, paths};
use crate::workflow::streams::{Keyspace, TargetShard};
use crate::workflow::{Error, names};

/// What stands behind the name of a workflow whose record cannot be read, where workflows are listed.
pub const MARK: &str = "(its record cannot be read)";

/// A record that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, in the words of the decoder.
    pub why: String,
    /// The version that it was read at.
    pub version: i64,
}

/// The command that ends a workflow without its record; the names are those of keyspace and workflow.
pub fn way_out((keyspace, workflow): (&str, &str)) -> String {
    format!("Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data")
}

/// What is said to whoever needs the record of a keyspace's workflow: `RECORD_UNREADABLE`, with the way out.
pub fn refusal(global: &Arc<dyn Conn>, names: (&str, &str), why: &str) -> Error {
    let path = global.full(&paths::workflow_record(names.0, names.1));
    let text = topo::Error::BadData { path, detail: why.to_owned() }.to_string();
    let help = format!(
        "if a newer version wrote this record, let that go on; else end the workflow and keep its tables: {}",
        way_out(names)
    );
    Error::Refused { code: Code::DataLoss, reason: Reason::RECORD_UNREADABLE, text, help }
}

/// The denied tables of shards that are not `known` to be somebody's, and the commands that lift them, to be put behind another
/// text; empty when there are none. Only the record would tell whether they are its workflow's. Of many tables, and of many shards, some
/// are named.
pub fn still_denied(target: &Keyspace, known: impl Fn(&TargetShard, &String) -> bool) -> String {
    let keyspace = &target.name;
    let on = |shard: &TargetShard| {
        let mut tables = shard.denied();
        tables.retain(|table| !known(shard, table));
        (shard.name.clone(), tables.into_iter().collect::<Vec<String>>())
    };
    let lists: Vec<(String, Vec<String>)> =
        target.shards.iter().map(on).filter(|(_, tables)| !tables.is_empty()).collect();
    if lists.is_empty() {
        return String::new();
    }
    let are_many = |tables: &[String]| tables.len() > names::NAMED;
    let lifting = |(shard, tables): &(String, Vec<String>)| {
        let all = if are_many(tables) { format!(" (GetShard {keyspace}/{shard} tells all)") } else { String::new() };
        let tables = names::argument(tables);
        format!("SetShardTabletControl --denied-tables {tables} --remove {keyspace}/{shard} primary{all}")
    };
    let commands: Vec<String> = lists.iter().map(lifting).collect();
    // a command that names its tables tells which they are
    let named = match lists.iter().any(|(_, tables)| are_many(tables)) {
        true => format!(": {}", names::by_shard(&lists)),
        false => String::new(),
    };
    let commands = names::some(&commands, "; ");
    format!("; tables stay denied, for nothing tells whose they are{named}; if no workflow needs that: {commands}")
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::shard::TabletControl;
    use vtmigrated_proto::topodata::{Shard, TabletType};

    use super::*;
    use crate::topo::{Cells, Record};

    /// A keyspace with so many shards, each of which denies so many tables.
    fn denying(shards: usize, tables: usize) -> Keyspace {
        let denied_tables: Vec<String> = (0..tables).map(|number| format!("t{number:05}")).collect();
        let tablet_type = TabletType::Primary.into();
        let control = TabletControl { tablet_type, denied_tables, ..TabletControl::default() };
        let shard = |number: usize| {
            let value = Shard { tablet_controls: vec![control.clone()], ..Shard::default() };
            let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1, created: 1 };
            let name = format!("s{number}");
            TargetShard { name, record, primary: None, missing: String::new(), unread: None }
        };
        let shards = (0..shards).map(shard).collect();
        Keyspace { name: "ks".into(), cells: Cells::default(), shards, silent: Vec::new() }
    }

    #[test]
    fn tables_that_stay_denied_are_told_with_the_commands_that_lift_that() {
        let told = still_denied(&denying(2, 2), |shard, table| shard.name == "s1" && table == "t00000");
        let lift = |tables: &str, shard: &str| {
            format!("SetShardTabletControl --denied-tables {tables} --remove ks/{shard} primary")
        };
        assert_eq!(
            told,
            format!(
                "; tables stay denied, for nothing tells whose they are; if no workflow needs that: {}; {}",
                lift("t00000,t00001", "s0"),
                lift("t00001", "s1")
            )
        );
        assert_eq!(still_denied(&denying(2, 2), |_, _| true), "");
    }

    #[test]
    fn of_many_tables_that_stay_denied_some_are_told() {
        let told = still_denied(&denying(64, 10_000), |_, _| false);
        assert!(told.contains("whose they are: s0 (t00000, t00001, "), "{told}");
        let lift =
            "SetShardTabletControl --denied-tables <these 10000> --remove ks/s0 primary (GetShard ks/s0 tells all); ";
        assert!(told.contains(lift) && told.ends_with("; and 52 more"), "{told}");
        assert!(told.len() < 4096, "{} bytes", told.len());
    }
}
