//! What two schemas differ in.

use std::cmp::Ordering;

use vtmigrated_proto::tabletmanagerdata::{SchemaDefinition, TableDefinition};

use crate::sql::is_internal;

/// A schema and what the texts call it.
pub type Side<'a> = (&'a str, &'a SchemaDefinition);

/// The differences as stock words them, tables ascending. Tables that Vitess makes for itself do not count.
pub fn diff((left_name, left): Side<'_>, (right_name, right): Side<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if left.database_schema != right.database_schema {
        found.push(format!(
            "schemas are different:\n{left_name}: {}\n differs from:\n{right_name}: {}",
            left.database_schema, right.database_schema
        ));
    }
    let sorted = |side: &SchemaDefinition| {
        let mut tables: Vec<TableDefinition> =
            side.table_definitions.iter().filter(|table| !is_internal(&table.name)).cloned().collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables.into_iter().peekable()
    };
    let (mut left, mut right) = (sorted(left), sorted(right));
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.name.cmp(&r.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        match order {
            Ordering::Less => found.extend(left.next().map(|table| extra(left_name, &table))),
            Ordering::Greater => found.extend(right.next().map(|table| extra(right_name, &table))),
            Ordering::Equal => {
                let (Some(l), Some(r)) = (left.next(), right.next()) else { return found };
                let name = &l.name;
                if l.schema != r.schema {
                    let (l, r) = (&l.schema, &r.schema);
                    found.push(format!(
                        "schemas differ on table {name}:\n{left_name}: {l}\n differs from:\n{right_name}: {r}"
                    ));
                }
                if l.r#type != r.r#type {
                    let (l, r) = (&l.r#type, &r.r#type);
                    found.push(format!(
                        "schemas differ on table type for table {name}:\n{left_name}: {l}\n differs from:\n{right_name}: {r}"
                    ));
                }
            }
        }
    }
}

fn extra(side: &str, table: &TableDefinition) -> String {
    let kind = if table.r#type == "VIEW" { "view" } else { "table" };
    format!("{side} has an extra {kind} named {}", table.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(tables: &[(&str, &str, &str)]) -> SchemaDefinition {
        let table = |(name, schema, kind): &(&str, &str, &str)| TableDefinition {
            name: (*name).into(),
            schema: (*schema).into(),
            r#type: (*kind).into(),
            ..TableDefinition::default()
        };
        SchemaDefinition { database_schema: "d".into(), table_definitions: tables.iter().map(table).collect() }
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let base = "BASE TABLE";
        let left = schema(&[("a", "x", base), ("b", "x", base), ("c", "x", base), ("v", "x", "VIEW")]);
        let mut right = schema(&[("b", "y", "VIEW"), ("c", "x", base), ("_x_old", "x", base), ("z", "x", base)]);
        right.database_schema = "e".into();
        assert_eq!(
            diff(("l", &left), ("r", &right)),
            [
                "schemas are different:\nl: d\n differs from:\nr: e",
                "l has an extra table named a",
                "schemas differ on table b:\nl: x\n differs from:\nr: y",
                "schemas differ on table type for table b:\nl: BASE TABLE\n differs from:\nr: VIEW",
                "l has an extra view named v",
                "r has an extra table named z",
            ]
        );
        assert_eq!(diff(("l", &left), ("r", &left)), Vec::<String>::new());
    }
}
