//! Cell records and cell aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use vtmigrated_proto::topodata::{CellInfo, CellsAlias};

use super::{Conn, Error, Expect, Lock, Record, Result, Write, paths, wire};

/// Names of all cells, ascending; empty when there are none.
pub async fn names(global: &Arc<dyn Conn>) -> Result<Vec<String>> {
    global.list_dir(paths::CELLS).await
}

/// One cell's record.
pub async fn get(global: &Arc<dyn Conn>, cell: &str) -> Result<Record<CellInfo>> {
    Record::get(global, &paths::cell_info(cell)).await
}

/// Registers a cell. What is not known of its record is stored as it was sent.
pub async fn create(global: &Arc<dyn Conn>, cell: &str, info: &CellInfo, sent: Option<&Bytes>) -> Result<()> {
    global.create(&paths::cell_info(cell), wire::with_sent(sent, "topodata.CellInfo", info)).await.map(|_| ())
}

/// Changes a cell's record by compare-and-swap, or makes it. `change` answers false when nothing is to be written. What is
/// not known of the record is stored as it was sent.
///
/// # Errors
/// Read and write errors; lost races are tried again.
pub async fn update(
    global: &Arc<dyn Conn>,
    cell: &str,
    sent: Option<&Bytes>,
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
            Some(record) => record.over_sent(global, "topodata.CellInfo", &info, sent)?,
            None => Write::put(path.clone(), wire::with_sent(sent, "topodata.CellInfo", &info), Expect::Absent),
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
/// [`Error::NoNode`] when there is none.
pub async fn delete(global: &Arc<dyn Conn>, cell: &str) -> Result<()> {
    global.remove(&paths::cell_info(cell)).await
}

/// Removes an alias.
///
/// # Errors
/// [`Error::NoNode`] when there is none.
pub async fn delete_alias(global: &Arc<dyn Conn>, alias: &str) -> Result<()> {
    global.remove(&paths::cells_alias(alias)).await
}

/// The cell aliases of a cluster. One that cannot be decoded costs nobody else anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// Cells by alias.
    pub known: BTreeMap<String, Vec<String>>,
    /// Aliases that cannot be decoded, and why.
    pub unread: Vec<(String, Error)>,
}

impl Aliases {
    /// Reads them: one round trip.
    pub async fn read(global: &Arc<dyn Conn>) -> Result<Self> {
        let mut found = Self::default();
        for node in global.list(paths::CELLS_ALIASES).await? {
            let Some((name, "CellsAlias")) = node.path.strip_prefix("cells_aliases/").and_then(|p| p.split_once('/'))
            else {
                continue;
            };
            let name = name.to_owned();
            match Record::<CellsAlias>::decode(node, global) {
                Ok(record) => drop(found.known.insert(name, record.value.cells)),
                Err(error) => {
                    tracing::warn!("skipping the cells alias {name}: {error}");
                    found.unread.push((name, error));
                }
            }
        }
        Ok(found)
    }

    /// The cells of an alias.
    pub fn cells(&self, alias: &str) -> Option<&[String]> {
        self.known.get(alias).map(Vec::as_slice)
    }

    /// The cells that share an alias with a cell. Tablets take them for none when one alias of the cluster cannot be decoded
    /// (Vitess 22.0.3).
    pub fn beside(&self, cell: &str) -> impl Iterator<Item = &str> {
        let known = self.known.values().filter(move |cells| self.unread.is_empty() && cells.iter().any(|c| c == cell));
        known.flatten().map(String::as_str)
    }

    /// Refuses names of aliases that cannot be decoded.
    ///
    /// # Errors
    /// That of the first such alias.
    pub fn check(&self, names: &[String]) -> Result<()> {
        let unread = self.unread.iter().find(|(alias, _)| names.contains(alias));
        unread
            .map_or(Ok(()), |(alias, error)| Err(error.clone().wrap(format!("the cells alias {alias} cannot be read"))))
    }
}

/// All aliases with their cells.
///
/// # Errors
/// Also when one cannot be decoded.
pub async fn aliases(global: &Arc<dyn Conn>) -> Result<Vec<(String, CellsAlias)>> {
    let Aliases { known, unread } = Aliases::read(global).await?;
    match unread.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(known.into_iter().map(|(name, cells)| (name, CellsAlias { cells })).collect()),
    }
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

/// Changes an alias by compare-and-swap, or makes it; fields that are not known here stay, and are stored as they were sent.
///
/// # Errors
/// [`Error::BadVersion`] or [`Error::NodeExists`] when somebody else was faster.
pub async fn change_alias(global: &Arc<dyn Conn>, name: &str, alias: &CellsAlias, sent: Option<&Bytes>) -> Result<()> {
    const NAME: &str = "topodata.CellsAlias";
    let path = paths::cells_alias(name);
    let write = match Record::<CellsAlias>::find(global, &path).await? {
        Some(old) => old.over_sent(global, NAME, alias, sent)?,
        None => Write::put(path, wire::with_sent(sent, NAME, alias), Expect::Absent),
    };
    global.write_one(write, None).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::{Dialer, EtcdOptions};
    use super::*;

    #[tokio::test]
    async fn a_changed_alias_keeps_what_is_not_known_here() {
        let global = Dialer::new(EtcdOptions::default()).open("memory", "alias", "/global").await.unwrap();
        let alias = |cell: &str| CellsAlias { cells: vec![cell.to_owned()] };
        change_alias(&global, "all", &alias("a"), None).await.unwrap();
        let mut raw = alias("a").encode_to_vec();
        wire::push(&mut raw, 77, b"newer");
        global.write_one(Write::put(paths::cells_alias("all"), raw, Expect::Any), None).await.unwrap();
        change_alias(&global, "all", &alias("b"), None).await.unwrap();
        let stored = global.get(&paths::cells_alias("all")).await.unwrap().value;
        assert!(wire::fields(&stored).unwrap().iter().any(|field| field.number == 77));
        assert_eq!(CellsAlias::decode(stored).unwrap(), alias("b"));
    }
}
