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
