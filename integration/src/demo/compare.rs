//! Both sides row by row.

use integration_tablet::vindex::KeyRange;

use super::{
    Error, SOURCE, TARGET,
    data::{SHARDING_COLUMN, TABLES, Table},
    writer::in_range,
};
use crate::cluster::{self, Cluster, Rows, Shard};

/// One table on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub table: &'static str,
    /// Rows of the source.
    pub rows: usize,
    /// Where the rows are on the target: shard and number.
    pub shards: Vec<(String, usize)>,
    /// What differs, for people; empty when nothing does.
    pub differences: Vec<String>,
}

/// Compares all tables: every row of the source once on the target and no other, on the shard that it belongs to. A
/// reference table must be whole on each shard.
///
/// # Errors
/// MySQL's, or the columns differ.
pub async fn all(source: &Cluster, target: &Cluster) -> Result<Vec<Compared>, Error> {
    let mut compared = Vec::new();
    for table in TABLES {
        compared.push(one(source, target, table).await?);
    }
    Ok(compared)
}

async fn one(source: &Cluster, target: &Cluster, table: Table) -> Result<Compared, Error> {
    let expected = source.table(SOURCE, table.name).await?;
    let (mut shards, mut differences) = (Vec::new(), Vec::new());
    for shard in target.shards(TARGET) {
        let rows = shard.table(table.name).await?;
        shards.push((shard.name.clone(), rows.rows.len()));
        if table.reference {
            differences.extend(difference(&expected, &rows)?.map(|text| format!("shard {}: {text}", shard.name)));
        } else {
            differences.extend(strangers(shard, &rows)?);
        }
    }
    if !table.reference {
        let found = target.table(TARGET, table.name).await?;
        differences.extend(difference(&expected, &found)?);
    }
    Ok(Compared { table: table.name, rows: expected.rows.len(), shards, differences })
}

fn difference(source: &Rows, target: &Rows) -> Result<Option<String>, Error> {
    match source.expect_same(target) {
        Ok(()) => Ok(None),
        Err(cluster::Error::Rows(difference)) => Ok(Some(
            difference.to_string().replace("on the left", "on the source").replace("on the right", "on the target"),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Rows that belong to another shard.
fn strangers(shard: &Shard, rows: &Rows) -> Result<Option<String>, Error> {
    let range = KeyRange::parse(&shard.name)?;
    let column = rows.columns.iter().position(|name| name == SHARDING_COLUMN).ok_or(Error::Missing(SHARDING_COLUMN))?;
    let mut wrong = 0;
    for row in &rows.rows {
        let text = row.get(column).and_then(|value| value.as_deref()).unwrap_or_default();
        let customer =
            str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Error::Missing("a number"))?;
        wrong += u64::from(!in_range(&range, customer)?);
    }
    Ok((wrong > 0).then(|| format!("{wrong} rows of shard {} belong to another shard", shard.name)))
}
