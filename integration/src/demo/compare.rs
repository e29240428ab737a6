//! Both sides row by row.

use super::{
    Error, Lab, SOURCE, TARGET,
    data::{SHARDING_COLUMN, TABLES, Table},
    writer::in_range,
};
use crate::{
    cluster::{self, Rows, Shard},
    tablet::vindex::KeyRange,
};

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
pub async fn all(lab: &Lab) -> Result<Vec<Compared>, Error> {
    let mut compared = Vec::new();
    for table in TABLES {
        compared.push(one(lab, table).await?);
    }
    Ok(compared)
}

async fn one(lab: &Lab, table: Table) -> Result<Compared, Error> {
    let source = lab.source.table(SOURCE, table.name).await?;
    let (mut shards, mut differences) = (Vec::new(), Vec::new());
    for shard in lab.target.shards(TARGET) {
        let rows = shard.table(table.name).await?;
        shards.push((shard.name.clone(), rows.rows.len()));
        if table.reference {
            differences.extend(difference(&source, &rows)?.map(|text| format!("shard {}: {text}", shard.name)));
        } else {
            differences.extend(strangers(shard, &rows)?);
        }
    }
    if !table.reference {
        let target = lab.target.table(TARGET, table.name).await?;
        differences.extend(difference(&source, &target)?);
    }
    Ok(Compared { table: table.name, rows: source.rows.len(), shards, differences })
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
