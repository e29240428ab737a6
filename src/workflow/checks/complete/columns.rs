//! Columns of source and target, and how they came to differ.

use std::collections::BTreeMap;

use crate::error::check;
use crate::workflow::findings::Finding;

/// A column as `information_schema.columns` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// In one spelling for all versions of MySQL: no display width, `utf8mb3` in full.
    pub kind: String,
    pub nullable: bool,
    pub auto_increment: bool,
    pub collation: String,
}

/// Columns in their order, by table.
pub type Columns = BTreeMap<String, Vec<Column>>;

/// `bigint(20) unsigned` as `bigint unsigned`, which is how newer servers say it; `tinyint(1)` stays.
pub fn plain_type(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let Some((head, rest)) = kind.split_once('(') else { return kind };
    let Some((width, tail)) = rest.split_once(')') else { return kind };
    if matches!(head, "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year") && width != "1" {
        return format!("{head}{tail}");
    }
    kind
}

/// True for what [`drift`] finds.
pub fn is_drift(finding: &Finding) -> bool {
    [check::TABLE_GONE, check::TABLE_LOST, check::COLUMN_LOST, check::SCHEMA_DIFFERS].iter().any(|c| c.id == finding.id)
}

/// How the tables of the target's shards differ from the source's.
pub fn drift(source: &Columns, target: &[(String, Columns)], tables: &[String]) -> Vec<Finding> {
    if source.is_empty() && target.iter().all(|(_, columns)| columns.is_empty()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for table in tables {
        let subject = format!("table {table}");
        let Some(theirs) = source.get(table) else {
            let fix = "what the target has of it stays as it is";
            found.push(Finding::new(&check::TABLE_GONE, subject, "it is not in the source any more", fix));
            continue;
        };
        // shards differ from the source alike: each difference is named once
        let mut lost: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut differs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut gone = Vec::new();
        for (shard, columns) in target {
            let Some(ours) = columns.get(table) else {
                gone.push(shard.as_str());
                continue;
            };
            compare(shard, theirs, ours, &mut lost, &mut differs);
        }
        let told = |texts: BTreeMap<String, Vec<&str>>| {
            let tell = |(text, shards): (String, Vec<&str>)| format!("{text} (on {})", shards.join(", "));
            texts.into_iter().map(tell).collect::<Vec<_>>().join("; ")
        };
        if !gone.is_empty() {
            let text = format!("it is not there on {}", gone.join(", "));
            let fix = "create the table there, or cancel the workflow and create it again";
            found.push(Finding::new(&check::TABLE_LOST, subject.clone(), text, fix));
        }
        if !lost.is_empty() {
            let fix = "ALTER TABLE on the target so that it has the source's columns, then compare the rows with VDiff";
            found.push(Finding::new(&check::COLUMN_LOST, subject.clone(), told(lost), fix));
        }
        if !differs.is_empty() {
            let fix = "nothing, if it is meant so; else ALTER TABLE on the target";
            found.push(Finding::new(&check::SCHEMA_DIFFERS, subject, told(differs), fix));
        }
    }
    found
}

fn compare<'s>(
    shard: &'s str,
    theirs: &[Column],
    ours: &[Column],
    lost: &mut BTreeMap<String, Vec<&'s str>>,
    differs: &mut BTreeMap<String, Vec<&'s str>>,
) {
    // names of columns know no letter case
    let find = |list: &[Column], name: &str| list.iter().find(|c| c.name.eq_ignore_ascii_case(name)).cloned();
    for column in theirs {
        let Column { name, .. } = column;
        let Some(here) = find(ours, name) else {
            lost.entry(format!("column {name} of the source is missing")).or_default().push(shard);
            continue;
        };
        let mut say = |text: String| differs.entry(text).or_default().push(shard);
        if here.kind != column.kind {
            say(format!("column {name} is {} instead of {}", here.kind, column.kind));
        }
        if here.nullable != column.nullable {
            let may = |nullable: bool| if nullable { "NULL" } else { "NOT NULL" };
            say(format!("column {name} is {} instead of {}", may(here.nullable), may(column.nullable)));
        }
        if here.collation != column.collation {
            say(format!("column {name} has collation {} instead of {}", here.collation, column.collation));
        }
    }
    for column in ours.iter().filter(|c| find(theirs, &c.name).is_none()) {
        differs.entry(format!("column {} is not in the source", column.name)).or_default().push(shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column { name: name.into(), kind: plain_type(kind), ..Column::default() }
    }

    fn ids(source: &[Column], target: &[Column]) -> Vec<(&'static str, String)> {
        let source = Columns::from([("t".to_owned(), source.to_vec())]);
        let shards = ["-80", "80-"].map(|shard| (shard.to_owned(), Columns::from([("t".to_owned(), target.to_vec())])));
        drift(&source, &shards, &["t".to_owned()]).into_iter().map(|f| (f.id.as_str(), f.cause)).collect()
    }

    #[test]
    fn display_widths_and_letter_case_are_no_difference() {
        assert_eq!(plain_type("BIGINT(20) unsigned"), "bigint unsigned");
        assert_eq!(plain_type("tinyint(1)"), "tinyint(1)");
        assert_eq!(plain_type("varchar(20)"), "varchar(20)");
        assert_eq!(ids(&[column("Id", "int(11)")], &[column("id", "int")]), []);
    }

    #[test]
    fn a_column_that_the_target_lacks_blocks() {
        let found = ids(&[column("id", "int"), column("new", "int")], &[column("id", "int")]);
        assert_eq!(found, [("COLUMN_LOST", "column new of the source is missing (on -80, 80-)".to_owned())]);
    }

    #[test]
    fn other_differences_warn() {
        let wide = column("a", "varchar(20)");
        let narrow = Column { nullable: true, collation: "latin1_bin".into(), ..column("a", "varchar(10)") };
        let found = ids(std::slice::from_ref(&wide), &[narrow, column("own", "int")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "SCHEMA_DIFFERS");
        for part in ["varchar(10) instead of varchar(20)", "is NULL instead", "latin1_bin", "own is not in the source"]
        {
            assert!(found[0].1.contains(part), "{found:?}");
        }
    }

    #[test]
    fn tables_that_are_gone_are_told_apart_from_tablets_that_say_nothing() {
        let here = Columns::from([("t".to_owned(), vec![column("id", "int")])]);
        let of = |source: &Columns, target: &Columns| {
            let found = drift(source, &[("0".to_owned(), target.clone())], &["t".to_owned()]);
            found.into_iter().map(|f| f.id).collect::<Vec<_>>()
        };
        assert_eq!(of(&here, &Columns::new()), ["TABLE_LOST"]);
        assert_eq!(of(&Columns::new(), &here), ["TABLE_GONE"]);
        assert!(of(&Columns::new(), &Columns::new()).is_empty());
        assert!(of(&here, &here).is_empty());
    }
}
