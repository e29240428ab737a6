//! Whether the target's tablets will find a source tablet to stream from, and in which cells (S8).
//!
//! A target tablet looks in the source's topology: in the cells of its stream, which are its own cell when create gave
//! none, and in any case in its own cell and those that share an alias with it. Names that are no cell there are ignored.
//! With primary as the only type the cells do not matter (Vitess 22.0.3).

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::arguments::Arguments;
use crate::error::Reason;
use crate::tablet;
use crate::topo::cell::Aliases;
use crate::workflow::tablet_types::{SERVING_TYPES, cell, is_one_of, name, names};
use crate::workflow::{Error, Result};

/// What there is to stream from.
pub struct Candidates<'a> {
    pub keyspace: &'a str,
    /// Tablets of each source shard.
    pub tablets: &'a BTreeMap<String, Vec<Tablet>>,
    /// The source's cells.
    pub cells: BTreeSet<&'a str>,
    /// The source's cell aliases.
    pub aliases: &'a Aliases,
}

/// The cells to give to the streams: those of the request, or, when it names none and the target's own would not do, all
/// cells of the source that have tablets of the wanted types.
///
/// `own` are the cells of the target's primaries, `target_cells` all cells of the target.
///
/// # Errors
/// A cell that neither cluster knows; the source shards without a tablet that could be picked, each with those that there are.
pub fn cells(
    candidates: &Candidates<'_>,
    arguments: &Arguments,
    own: &BTreeSet<&str>,
    target_cells: &BTreeSet<&str>,
) -> Result<Vec<String>> {
    candidates.aliases.check(&arguments.cells)?;
    for cell in &arguments.cells {
        let known = candidates.cells.contains(cell.as_str()) || target_cells.contains(cell.as_str());
        if !known && candidates.aliases.cells(cell).is_none() {
            let there: Vec<&str> = candidates.cells.iter().copied().collect();
            let text = format!("cell {cell} is unknown: the cells of the source are {}", there.join(", "));
            let fitting: Vec<&str> = candidates.cells_with(&arguments.tablet_types).into_iter().collect();
            let help = match fitting.as_slice() {
                [] => format!(
                    "{}: no cell has a tablet of the types asked for",
                    other_types(candidates.tablets.values().flatten())
                ),
                cells => format!("use --cells {}", cells.join(",")),
            };
            return Err(Error::not_found(Reason::CELL_UNKNOWN, text, help));
        }
    }
    if arguments.tablet_types == [TabletType::Primary] {
        return Ok(arguments.cells.clone());
    }
    // --all-cells of the stock client names all cells of the target
    let given: BTreeSet<&str> = arguments.cells.iter().map(String::as_str).collect();
    let unspecific = given.is_empty() || given == *target_cells;
    let anywhere = candidates.shards_without(&arguments.tablet_types, &candidates.cells);
    let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for own in own {
        let looked = candidates.looked_at(&arguments.cells, own);
        for shard in candidates.shards_without(&arguments.tablet_types, &looked) {
            lacking.entry(shard).or_insert_with(|| looked.clone());
        }
    }
    if lacking.is_empty() {
        return Ok(arguments.cells.clone());
    }
    if unspecific && anywhere.is_empty() {
        return Ok(candidates.cells_with(&arguments.tablet_types).into_iter().map(str::to_owned).collect());
    }
    let refusals = lacking.into_iter().filter(|(shard, _)| !unspecific || anywhere.contains(shard));
    let refusals = refusals.map(|(shard, looked)| {
        let looked: Vec<&str> = looked.into_iter().collect();
        let cells = format!("{} of the source", if looked.is_empty() { "none".to_owned() } else { looked.join(",") });
        let lack = NoTablet {
            reason: Reason::NO_SOURCE_TABLET,
            purpose: "stream from",
            side: "source",
            types: &arguments.tablet_types,
            cells: &cells,
            flag: "--cells",
        };
        candidates.nothing_to_pick(shard, &lack)
    });
    Error::several(refusals.collect()).map_or(Ok(Vec::new()), Err)
}

/// What was looked for in a shard that has no such tablet, and how the refusal speaks of it.
pub(crate) struct NoTablet<'a> {
    pub reason: Reason,
    /// What a tablet is looked for to do.
    pub purpose: &'static str,
    /// `source` or `target`.
    pub side: &'static str,
    pub types: &'a [TabletType],
    /// The cells that were looked in.
    pub cells: &'a str,
    /// The flag that names cells.
    pub flag: &'static str,
}

impl<'a> Candidates<'a> {
    /// The source's cells that a target tablet of the cell `own` looks in.
    pub(crate) fn looked_at(&self, given: &[String], own: &str) -> BTreeSet<&'a str> {
        let mut wanted: BTreeSet<&str> = self.aliases.beside(own).collect();
        for name in given.iter().map(String::as_str).chain([own]) {
            match self.aliases.cells(name) {
                Some(cells) if !self.cells.contains(name) => wanted.extend(cells.iter().map(String::as_str)),
                _ => {
                    wanted.insert(name);
                }
            }
        }
        self.cells.iter().copied().filter(|cell| wanted.contains(cell)).collect()
    }

    /// Shards that have no tablet of these types in these cells.
    fn shards_without(&self, types: &[TabletType], cells: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let fits = |tablet: &Tablet| is_one_of(tablet, types) && cells.contains(cell(tablet));
        self.tablets.iter().filter(|(_, tablets)| !tablets.iter().any(fits)).map(|(shard, _)| shard.as_str()).collect()
    }

    /// Cells that have a tablet of these types, ascending.
    pub(crate) fn cells_with(&self, types: &[TabletType]) -> BTreeSet<&'a str> {
        self.tablets.values().flatten().filter(|tablet| is_one_of(tablet, types)).map(cell).collect()
    }

    /// The refusal of a shard where nothing can be picked: what it has, and the flag that would do.
    pub(crate) fn nothing_to_pick(&self, shard: &str, lack: &NoTablet<'_>) -> Error {
        let NoTablet { reason, purpose, side, types, cells, flag } = *lack;
        let there = self.tablets.get(shard).map(Vec::as_slice).unwrap_or_default();
        let shown = |t: &Tablet| format!("{} ({})", tablet::alias(t), name(t.r#type()));
        let list: Vec<String> = there.iter().map(shown).collect();
        let text = format!(
            "no tablet found to {purpose} in {side} shard {}/{shard}: tablet types {}, cells {cells}; its tablets are {}",
            self.keyspace,
            if types.is_empty() { "any".to_owned() } else { names(types) },
            if list.is_empty() { "none".to_owned() } else { list.join(", ") }
        );
        let help = if there.iter().any(|tablet| is_one_of(tablet, types)) {
            let fitting: Vec<&str> = self.cells_with(types).into_iter().collect();
            format!("use {flag} {}", fitting.join(","))
        } else {
            other_types(there)
        };
        Error::precondition(reason, text, help)
    }
}

/// The flag that names all types that serve among these tablets.
fn other_types<'t>(tablets: impl IntoIterator<Item = &'t Tablet>) -> String {
    let there: Vec<TabletType> = tablets.into_iter().map(Tablet::r#type).collect();
    let types: Vec<TabletType> = SERVING_TYPES.into_iter().filter(|kind| there.contains(kind)).collect();
    if types.is_empty() {
        return "start a tablet there: none is a replica, rdonly or primary".to_owned();
    }
    format!("use --tablet-types {}", names(&types))
}

#[cfg(test)]
mod tests;
