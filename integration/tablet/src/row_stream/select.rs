//! The select that reads a table in key order, from the start or after a key.

use std::collections::BTreeMap;

use crate::{
    schema::{Column, Table},
    sql::{quote, string},
    value::{Cell, comparison_literal},
};

/// A key of another table, or of this table before it changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "cannot build a row streamer plan for the {table} table as a lastpk value was provided and the number of primary key \
     values within it ({values}) does not match the number of primary key columns in the table ({columns})"
)]
pub(super) struct WrongKey {
    table: String,
    values: usize,
    columns: usize,
}

/// All columns of the table, those in `zones` converted from one time zone to another. `after` is the key that was read
/// last.
pub(super) fn sql(
    table: &Table,
    zones: &BTreeMap<String, (String, String)>,
    after: Option<&[Cell]>,
) -> Result<String, WrongKey> {
    let names = |columns: &mut dyn Iterator<Item = &Column>| {
        columns.map(|column| quote(column.name())).collect::<Vec<_>>().join(", ")
    };
    let read = |column: &Column| match zones.get(column.name()) {
        None => quote(column.name()),
        Some((from, to)) => format!("convert_tz({}, {}, {})", quote(column.name()), string(from), string(to)),
    };
    let mut sql = format!(
        "select /*+ MAX_EXECUTION_TIME(3600000) */ {} from {}",
        table.columns.iter().map(read).collect::<Vec<_>>().join(", "),
        quote(&table.name)
    );
    if let Some(index) = &table.key_index {
        sql.push_str(&format!(" force index ({})", quote(index)));
    }
    let key: Vec<&Column> = table.key.iter().map(|&n| &table.columns[n]).collect();
    if let Some(after) = after {
        if after.len() != key.len() {
            return Err(WrongKey { table: table.name.clone(), values: after.len(), columns: key.len() });
        }
        sql.push_str(&format!(" where {}", beyond(&key, after)));
    }
    sql.push_str(&format!(" order by {}", names(&mut key.into_iter())));
    Ok(sql)
}

/// `(a = 1 and b > 2) or (a > 1)`; NULL comes before everything.
fn beyond(key: &[&Column], after: &[Cell]) -> String {
    let compare = |n: usize, operator: &str| {
        let name = quote(key[n].name());
        match (&after[n], operator) {
            (Some(value), _) => {
                format!("{name} {operator} {}", String::from_utf8_lossy(&comparison_literal(key[n], value)))
            }
            (None, "=") => format!("{name} is null"),
            (None, _) => format!("{name} is not null"),
        }
    };
    let branches = (0..key.len()).rev().map(|last| {
        let same = (0..last).map(|n| compare(n, "="));
        let terms: Vec<String> = same.chain([compare(last, ">")]).collect();
        format!("({})", terms.join(" and "))
    });
    branches.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::{Field, Type};

    use super::*;

    fn table(key_index: Option<&str>) -> Table {
        let column = |name: &str, kind: Type, charset: Option<&str>| Column {
            field: Field { name: name.to_owned(), r#type: kind.into(), ..Field::default() },
            charset: charset.map(str::to_owned),
            nullable: true,
            generated: false,
            members: Vec::new(),
        };
        let columns = vec![column("a", Type::Int64, None), column("b", Type::Varchar, Some("utf8mb4"))];
        Table { name: "t".to_owned(), columns, key: vec![0, 1], key_index: key_index.map(str::to_owned) }
    }

    #[test]
    fn resumes_after_a_composite_key() {
        let none = BTreeMap::new();
        let start = "select /*+ MAX_EXECUTION_TIME(3600000) */ `a`, `b` from `t`";
        let end = "order by `a`, `b`";
        assert_eq!(sql(&table(Some("PRIMARY")), &none, None), Ok(format!("{start} force index (`PRIMARY`) {end}")));
        let after = [Some(b"1".to_vec()), Some(b"x".to_vec())];
        let beyond = "where (`a` = 1 and `b` > _utf8mb4 x'78') or (`a` > 1)";
        assert_eq!(sql(&table(None), &none, Some(&after)), Ok(format!("{start} {beyond} {end}")));
        let beyond = "where (`a` is null and `b` is not null) or (`a` is not null)";
        assert_eq!(sql(&table(None), &none, Some(&[None, None])), Ok(format!("{start} {beyond} {end}")));
        assert_eq!(sql(&table(None), &none, Some(&[None])).expect_err("one value").columns, 2);
    }

    #[test]
    fn times_are_read_in_another_zone() {
        let zones = [("b".to_owned(), ("UTC".to_owned(), "+02:00".to_owned()))].into();
        let found = sql(&table(None), &zones, None).expect("a select");
        assert!(found.contains("`a`, convert_tz(`b`, 'UTC', '+02:00') from `t`"), "{found}");
    }
}
