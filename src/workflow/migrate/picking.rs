//! Whether the target's tablets will find a source tablet to stream from, and in which cells (S8).
//!
//! A target tablet looks in the source's topology: in the cells of its stream, which are its own cell when create gave
//! none, and in any case in its own cell and those that share an alias with it. Names that are no cell there are ignored.
//! With primary as the only type the cells do not matter (Vitess 22.0.3).

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::super::preflight::streaming::{cell, is_one_of, name};
use super::super::{Error, Result};
use super::arguments::Arguments;
use crate::tablet;

/// What there is to stream from.
pub struct Candidates<'a> {
    pub keyspace: &'a str,
    /// Tablets of each source shard.
    pub tablets: &'a BTreeMap<String, Vec<Tablet>>,
    /// The source's cells.
    pub cells: BTreeSet<&'a str>,
    /// The source's cell aliases with their cells.
    pub aliases: &'a [(String, Vec<String>)],
}

/// The cells to give to the streams: those of the request, or, when it names none and the target's own would not do, all
/// cells of the source that have tablets of the wanted types.
///
/// `own` are the cells of the target's primaries, `target_cells` all cells of the target.
///
/// # Errors
/// A cell that neither cluster knows; a source shard without a tablet that could be picked, with those that there are.
pub fn cells(
    candidates: &Candidates<'_>,
    arguments: &Arguments,
    own: &BTreeSet<&str>,
    target_cells: &BTreeSet<&str>,
) -> Result<Vec<String>> {
    for cell in &arguments.cells {
        let known = candidates.cells.contains(cell.as_str()) || target_cells.contains(cell.as_str());
        if !known && !candidates.aliases.iter().any(|(alias, _)| alias == cell) {
            let there: Vec<&str> = candidates.cells.iter().copied().collect();
            let text = format!("cell {cell} is unknown: the cells of the source are {}", there.join(", "));
            let fitting: Vec<&str> = candidates.cells_with(&arguments.tablet_types).into_iter().collect();
            let help = match fitting.as_slice() {
                [] => "use --tablet-types primary: no cell has a tablet of the types asked for".to_owned(),
                cells => format!("use --cells {}", cells.join(",")),
            };
            return Err(Error::not_found("CELL_UNKNOWN", text, help));
        }
    }
    if arguments.tablet_types == [TabletType::Primary] {
        return Ok(arguments.cells.clone());
    }
    let without = |looked: &BTreeSet<&str>| candidates.shard_without(&arguments.tablet_types, looked);
    let lacking = own.iter().find_map(|own| {
        let looked = candidates.looked_at(&arguments.cells, own);
        without(&looked).map(|shard| (shard, looked))
    });
    let Some((shard, looked)) = lacking else { return Ok(arguments.cells.clone()) };
    // --all-cells of the stock client names all cells of the target
    let given: BTreeSet<&str> = arguments.cells.iter().map(String::as_str).collect();
    let unspecific = given.is_empty() || given == *target_cells;
    if unspecific && without(&candidates.cells).is_none() {
        return Ok(candidates.cells_with(&arguments.tablet_types).into_iter().map(str::to_owned).collect());
    }
    Err(candidates.nothing_to_pick(shard, &looked, arguments))
}

impl<'a> Candidates<'a> {
    /// The source's cells that a target tablet of the cell `own` looks in.
    pub(crate) fn looked_at(&self, given: &[String], own: &str) -> BTreeSet<&'a str> {
        let with_own = self.aliases.iter().filter(|(_, cells)| cells.iter().any(|cell| cell == own));
        let mut wanted: BTreeSet<&str> = with_own.flat_map(|(_, cells)| cells.iter().map(String::as_str)).collect();
        for name in given.iter().map(String::as_str).chain([own]) {
            match self.aliases.iter().find(|(alias, _)| alias == name) {
                Some((_, cells)) if !self.cells.contains(name) => wanted.extend(cells.iter().map(String::as_str)),
                _ => {
                    wanted.insert(name);
                }
            }
        }
        self.cells.iter().copied().filter(|cell| wanted.contains(cell)).collect()
    }

    /// A source shard that has no tablet of these types in these cells.
    pub(crate) fn shard_without(&self, types: &[TabletType], cells: &BTreeSet<&str>) -> Option<&'a str> {
        let fits = |tablet: &Tablet| is_one_of(tablet, types) && cells.contains(cell(tablet));
        self.tablets.iter().find(|(_, tablets)| !tablets.iter().any(fits)).map(|(shard, _)| shard.as_str())
    }

    /// Cells that have a tablet of these types, ascending.
    pub(crate) fn cells_with(&self, types: &[TabletType]) -> BTreeSet<&'a str> {
        self.tablets.values().flatten().filter(|tablet| is_one_of(tablet, types)).map(cell).collect()
    }

    fn nothing_to_pick(&self, shard: &str, looked: &BTreeSet<&str>, arguments: &Arguments) -> Error {
        let there = self.tablets.get(shard).map(Vec::as_slice).unwrap_or_default();
        let shown = |t: &Tablet| format!("{} ({})", tablet::alias(t), name(t.r#type()));
        let list: Vec<String> = there.iter().map(shown).collect();
        let types: Vec<String> = arguments.tablet_types.iter().map(|kind| name(*kind)).collect();
        let cells: Vec<&str> = looked.iter().copied().collect();
        let text = format!(
            "no tablet found to stream from in source shard {}/{shard}: tablet types {}, cells {} of the source; \
             its tablets are {}",
            self.keyspace,
            if types.is_empty() { "any".to_owned() } else { types.join(",") },
            if cells.is_empty() { "none".to_owned() } else { cells.join(",") },
            list.join(", ")
        );
        let elsewhere: Vec<&str> = self.cells_with(&arguments.tablet_types).into_iter().collect();
        let help = if self.shard_without(&arguments.tablet_types, &self.cells).is_none() {
            format!("use --cells {}", elsewhere.join(","))
        } else {
            "use --tablet-types primary".to_owned()
        };
        Error::precondition("NO_SOURCE_TABLET", text, help)
    }
}

#[cfg(test)]
mod tests;
