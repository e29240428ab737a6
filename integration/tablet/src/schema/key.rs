//! The columns that order a copy and identify a row.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use vtmigrated_proto::query::Type;

use super::Column;

/// The key's index and columns: see [`super::Table::key`].
pub(super) async fn read(
    conn: &mut impl Queryable,
    db: &str,
    table: &str,
    columns: &[Column],
) -> mysql_async::Result<(Option<String>, Vec<usize>)> {
    let parts: Vec<Part> = conn
        .exec(
            "select index_name, column_name, sub_part from information_schema.statistics \
             where table_schema = ? and table_name = ? and non_unique = 0 order by index_name, seq_in_index",
            (db, table),
        )
        .await?;
    Ok(choose(parts, columns))
}

/// A column of a unique index: the index, the column unless it is an expression, the length if only its beginning counts.
pub type Part = (String, Option<String>, Option<u64>);

/// The key's index and columns, from the parts of the unique indexes by index and place.
#[must_use]
pub fn choose(parts: Vec<Part>, columns: &[Column]) -> (Option<String>, Vec<usize>) {
    let mut indexes: BTreeMap<String, Vec<(Option<usize>, bool)>> = BTreeMap::new();
    for (index, column, prefix) in parts {
        let column = column.and_then(|name| columns.iter().position(|column| column.name() == name));
        indexes.entry(index).or_default().push((column, prefix.is_some()));
    }
    if let Some(parts) = indexes.remove("PRIMARY") {
        return (Some("PRIMARY".to_owned()), parts.into_iter().filter_map(|(column, _)| column).collect());
    }
    let best = indexes
        .into_iter()
        .filter_map(|(name, parts)| {
            let whole = |(column, prefix): (Option<usize>, bool)| column.filter(|&n| !prefix && !columns[n].nullable);
            parts.into_iter().map(whole).collect::<Option<Vec<usize>>>().map(|key| (name, key))
        })
        .min_by_key(|(_, key)| (key.iter().map(|&n| cost(&columns[n])).sum::<u32>(), key.len()));
    match best {
        Some((name, key)) => (Some(name), key),
        None => (None, (0..columns.len()).collect()),
    }
}

/// How dear it is to compare values of the column: fixed numbers and times first, long text last.
fn cost(column: &Column) -> u32 {
    match column.field.r#type() {
        Type::Int8 | Type::Uint8 | Type::Year | Type::Enum => 1,
        Type::Int16 | Type::Uint16 | Type::Int24 | Type::Uint24 | Type::Date | Type::Set => 2,
        Type::Int32 | Type::Uint32 | Type::Timestamp | Type::Time => 3,
        Type::Int64 | Type::Uint64 | Type::Datetime | Type::Bit => 4,
        Type::Decimal | Type::Float32 | Type::Float64 => 5,
        Type::Binary | Type::Varbinary => 10,
        Type::Char | Type::Varchar => 20,
        _ => 100,
    }
}
