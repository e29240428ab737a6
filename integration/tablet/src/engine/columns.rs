//! What the engine must know of the target's tables: columns, keys, character sets.

use std::collections::BTreeMap;

use super::{
    db::{Db, number, text},
    error::Result,
};
use crate::sql;

/// One column of a target table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// Empty for columns that are no text.
    pub charset: String,
    pub collation: String,
    /// `varchar`, lower case.
    pub data_type: String,
    /// `varchar(10)`.
    pub column_type: String,
    pub generated: bool,
    pub nullable: bool,
}

/// One base table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<Column>,
    /// Primary key, else the cheapest unique key without NULL, else all columns.
    pub key: Vec<String>,
    /// False when the key is all columns: then several rows may be equal.
    pub unique: bool,
}

impl Table {
    /// Finds a column, whatever the case of its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// Reads all base tables of `database`; tables that Vitess keeps for itself (`_vt_…`) are left out.
///
/// # Errors
/// Those of the server.
pub async fn read(db: &mut Db, database: &str) -> Result<BTreeMap<String, Table>> {
    let schema = sql::string(database);
    let rows = db
        .rows(format!(
            "select c.table_name, c.column_name, c.character_set_name, c.collation_name, c.data_type, c.column_type, \
             c.extra, c.is_nullable from information_schema.columns as c join information_schema.tables as t \
             on t.table_schema = c.table_schema and t.table_name = c.table_name \
             where c.table_schema = {schema} and t.table_type = 'BASE TABLE' \
             order by c.table_name, c.ordinal_position"
        ))
        .await?;
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in rows {
        let table = text(&row, 0);
        if table.starts_with("_vt_") {
            continue;
        }
        let extra = text(&row, 6).to_lowercase();
        tables.entry(table).or_default().columns.push(Column {
            name: text(&row, 1),
            charset: text(&row, 2),
            collation: text(&row, 3),
            data_type: text(&row, 4).to_lowercase(),
            column_type: text(&row, 5),
            generated: extra.contains("stored generated") || extra.contains("virtual generated"),
            nullable: text(&row, 7) == "YES",
        });
    }
    let rows = db
        .rows(format!(
            "select table_name, index_name, column_name, non_unique, nullable, seq_in_index \
             from information_schema.statistics where table_schema = {schema} \
             order by table_name, index_name, seq_in_index"
        ))
        .await?;
    let mut indexes: BTreeMap<(String, String), Index> = BTreeMap::new();
    for row in rows {
        let index = indexes.entry((text(&row, 0), text(&row, 1))).or_default();
        index.usable &= number::<u8>(&row, 3) == 0 && text(&row, 4) != "YES" && !text(&row, 2).is_empty();
        index.columns.push(text(&row, 2));
    }
    for (name, table) in &mut tables {
        choose_key(name, table, &indexes);
    }
    Ok(tables)
}

struct Index {
    columns: Vec<String>,
    usable: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self { columns: Vec::new(), usable: true }
    }
}

fn choose_key(name: &str, table: &mut Table, indexes: &BTreeMap<(String, String), Index>) {
    if let Some(primary) = indexes.get(&(name.to_owned(), "PRIMARY".to_owned())) {
        table.key = primary.columns.clone();
        table.unique = true;
        return;
    }
    let own = indexes.iter().filter(|((of, _), index)| of == name && index.usable);
    let cost = |index: &Index| -> u32 {
        index
            .columns
            .iter()
            .map(|column| table.column(column).map_or(1000, |column| storage_cost(&column.data_type)))
            .sum()
    };
    let best = own.map(|(_, index)| index).min_by_key(|index| (cost(index), index.columns.len()));
    table.unique = best.is_some();
    table.key = match best {
        Some(index) => index.columns.clone(),
        None => table.columns.iter().map(|column| column.name.clone()).collect(),
    };
}

/// Weight of a column in the choice of a key (22.0.3).
fn storage_cost(data_type: &str) -> u32 {
    match data_type {
        "enum" => 0,
        "tinyint" => 1,
        "year" => 2,
        "smallint" => 3,
        "date" => 4,
        "mediumint" => 5,
        "time" => 6,
        "int" => 7,
        "set" => 8,
        "timestamp" => 9,
        "bigint" => 10,
        "float" => 11,
        "double" => 12,
        "decimal" => 13,
        "datetime" => 14,
        "binary" => 30,
        "char" => 31,
        "varbinary" => 60,
        "varchar" => 61,
        "tinyblob" => 80,
        "tinytext" => 81,
        _ => 1000,
    }
}
