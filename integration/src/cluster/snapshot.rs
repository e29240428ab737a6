//! Everything that a cluster keeps at one moment, so that a test can say that nothing, or what, has changed.

use std::{collections::BTreeMap, fmt::Write};

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::{Cluster, Error};

/// What a cluster keeps, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// `etcd <key>`, `<database>.<table>` with its definition, `<database>.<table> rows`; each with what it held.
    pub pieces: BTreeMap<String, String>,
}

impl Snapshot {
    /// The pieces that differ, each with both sides; empty when nothing does.
    #[must_use]
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let keys = self.pieces.keys().chain(later.pieces.keys()).collect::<std::collections::BTreeSet<_>>();
        let differing = keys.into_iter().filter(|key| self.pieces.get(*key) != later.pieces.get(*key));
        let shown =
            |piece: Option<&String>| piece.map_or_else(|| "nothing".to_owned(), |p| p.chars().take(2000).collect());
        differing
            .map(|key| format!("{key}:\n- {}\n+ {}", shown(self.pieces.get(key)), shown(later.pieces.get(key))))
            .collect()
    }
}

/// Tables of a tablet's own database that only ever grow: the log of streams that are gone stays, as with stock.
const LOGS: [&str; 1] = ["vreplication_log"];

pub(super) async fn take(cluster: &Cluster) -> Result<Snapshot, Error> {
    let mut pieces = BTreeMap::new();
    for (key, value) in cluster.etcd().dump("").await? {
        pieces.insert(format!("etcd {key}"), value.escape_ascii().to_string());
    }
    for shard in cluster.shards.values().filter(|shard| shard.opts.is_some()) {
        let mut conn = shard.connect().await?;
        let mut databases = vec![shard.db_name.clone()];
        databases.extend(shard.tablets.iter().map(|tablet| tablet.options().sidecar_db.clone()));
        for database in databases {
            take_database(&mut conn, &database, &mut pieces).await?;
        }
        conn.disconnect().await?;
    }
    Ok(Snapshot { pieces })
}

async fn take_database(conn: &mut Conn, database: &str, pieces: &mut BTreeMap<String, String>) -> Result<(), Error> {
    let tables: Vec<String> = conn.query(format!("SHOW TABLES FROM `{database}`")).await?;
    for table in tables.iter().filter(|table| !LOGS.contains(&table.as_str())) {
        // of a view there are more columns
        let create: Option<Row> = conn.query_first(format!("SHOW CREATE TABLE `{database}`.`{table}`")).await?;
        let create: Option<String> = create.and_then(|row| row.get(1));
        let create = create.map(|text| without_counter(&text)).unwrap_or_default();
        pieces.insert(format!("{database}.{table}"), create);
        let rows: Vec<Row> = conn.query(format!("SELECT * FROM `{database}`.`{table}`")).await?;
        let mut lines: Vec<String> = rows.into_iter().map(|row| line(row.unwrap())).collect();
        lines.sort();
        pieces.insert(format!("{database}.{table} rows"), lines.join("\n"));
    }
    Ok(())
}

/// The next number of an AUTO_INCREMENT column is no part of a definition.
fn without_counter(create: &str) -> String {
    let Some((before, after)) = create.split_once(" AUTO_INCREMENT=") else { return create.to_owned() };
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn line(row: Vec<Value>) -> String {
    let mut text = String::new();
    for value in row {
        match value {
            Value::Bytes(bytes) => drop(write!(text, "{}|", bytes.escape_ascii())),
            other => drop(write!(text, "{}|", other.as_sql(true))),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let of = |pieces: &[(&str, &str)]| Snapshot {
            pieces: pieces.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let before = of(&[("a", "1"), ("b", "1"), ("c", "1")]);
        assert!(before.changes(&before).is_empty());
        assert_eq!(
            before.changes(&of(&[("a", "1"), ("b", "2"), ("d", "1")])),
            ["b:\n- 1\n+ 2", "c:\n- 1\n+ nothing", "d:\n- nothing\n+ 1"]
        );
    }

    #[test]
    fn the_counter_is_left_out() {
        assert_eq!(without_counter(") ENGINE=InnoDB AUTO_INCREMENT=17 CHARSET=x"), ") ENGINE=InnoDB CHARSET=x");
    }
}
