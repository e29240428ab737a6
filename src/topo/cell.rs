//! Cell records and cell aliases.

use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::topodata::{CellInfo, CellsAlias};

use super::{Conn, Expect, Lock, Record, Result, Write, paths};

/// Names of all cells, ascending; empty when there are none.
pub async fn names(global: &Arc<dyn Conn>) -> Result<Vec<String>> {
    global.list_dir(paths::CELLS).await
}

/// One cell's record.
pub async fn get(global: &Arc<dyn Conn>, cell: &str) -> Result<Record<CellInfo>> {
    Record::get(global, &paths::cell_info(cell)).await
}

/// Registers a cell.
pub async fn create(global: &Arc<dyn Conn>, cell: &str, info: &CellInfo) -> Result<()> {
    global.create(&paths::cell_info(cell), info.encode_to_vec()).await.map(|_| ())
}

/// Changes a cell's record by compare-and-swap, or makes it. `change` answers false when nothing is to be written.
///
/// # Errors
/// Read and write errors; lost races are tried again.
pub async fn update(
    global: &Arc<dyn Conn>,
    cell: &str,
    change: impl Fn(&mut CellInfo) -> bool + Send + Sync,
) -> Result<CellInfo> {
    let path = paths::cell_info(cell);
    loop {
        let old = Record::<CellInfo>::find(global, &path).await?;
        let mut info = old.as_ref().map(|record| record.value.clone()).unwrap_or_default();
        if !change(&mut info) {
            return Ok(info);
        }
        let write = match old {
            Some(record) => {
                let raw = record.over(global, "topodata.CellInfo", &info)?;
                Write::put(path.clone(), raw, Expect::Version(record.version))
            }
            None => Write::put(path.clone(), info.encode_to_vec(), Expect::Absent),
        };
        match global.write_one(write, None).await {
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(info),
        }
    }
}

/// Removes a cell's record.
///
/// # Errors
/// [`super::Error::NoNode`] when there is none.
pub async fn delete(global: &Arc<dyn Conn>, cell: &str) -> Result<()> {
    global.remove(&paths::cell_info(cell)).await
}

/// Removes an alias.
///
/// # Errors
/// [`super::Error::NoNode`] when there is none.
pub async fn delete_alias(global: &Arc<dyn Conn>, alias: &str) -> Result<()> {
    global.remove(&paths::cells_alias(alias)).await
}

/// All aliases with their cells.
pub async fn aliases(global: &Arc<dyn Conn>) -> Result<Vec<(String, CellsAlias)>> {
    let mut found = Vec::new();
    for node in global.list(paths::CELLS_ALIASES).await? {
        if let Some((name, "CellsAlias")) = node.path.strip_prefix("cells_aliases/").and_then(|p| p.split_once('/')) {
            let name = name.to_owned();
            found.push((name, Record::<CellsAlias>::decode(node, global)?.value));
        }
    }
    Ok(found)
}

/// Writes an alias.
pub async fn put_alias(
    global: &Arc<dyn Conn>,
    name: &str,
    alias: &CellsAlias,
    expect: Expect,
    guard: Option<&Lock>,
) -> Result<()> {
    let write = Write::put(paths::cells_alias(name), alias.encode_to_vec(), expect);
    global.write_one(write, guard).await.map(|_| ())
}

/// Changes an alias by compare-and-swap, or makes it; fields that are not known here stay.
///
/// # Errors
/// [`super::Error::BadVersion`] or [`super::Error::NodeExists`] when somebody else was faster.
pub async fn change_alias(global: &Arc<dyn Conn>, name: &str, alias: &CellsAlias) -> Result<()> {
    let path = paths::cells_alias(name);
    let write = match Record::<CellsAlias>::find(global, &path).await? {
        Some(old) => Write::put(path, old.over(global, "topodata.CellsAlias", alias)?, Expect::Version(old.version)),
        None => Write::put(path, alias.encode_to_vec(), Expect::Absent),
    };
    global.write_one(write, None).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::{Dialer, EtcdOptions, wire};
    use super::*;

    #[tokio::test]
    async fn a_changed_alias_keeps_what_is_not_known_here() {
        let global = Dialer::new(EtcdOptions::default()).open("memory", "alias", "/global").await.unwrap();
        let alias = |cell: &str| CellsAlias { cells: vec![cell.to_owned()] };
        change_alias(&global, "all", &alias("a")).await.unwrap();
        let mut raw = alias("a").encode_to_vec();
        wire::push(&mut raw, 77, b"newer");
        global.write_one(Write::put(paths::cells_alias("all"), raw, Expect::Any), None).await.unwrap();
        change_alias(&global, "all", &alias("b")).await.unwrap();
        let stored = global.get(&paths::cells_alias("all")).await.unwrap().value;
        assert!(wire::fields(&stored).unwrap().iter().any(|field| field.number == 77));
        assert_eq!(CellsAlias::decode(stored).unwrap(), alias("b"));
    }
}
