//! Which source tablets the target's tablets will find, by the rule of vreplication's picker (Vitess 22.0.3): the cells of
//! the stream and the target tablet's own cell name, looked up in the source's topology; with PRIMARY alone, any cell.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::super::{Error, Result};
use crate::tablet::alias;

/// What is known of the source's cells and tablets.
pub struct Tablets<'a> {
    pub keyspace: &'a str,
    /// Cells of the source cluster, ascending.
    pub cells: Vec<String>,
    /// Aliases with their cells.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Tablets of each source shard.
    pub of_shard: &'a BTreeMap<String, Vec<Tablet>>,
    /// Cells of the target cluster, ascending.
    pub target_cells: Vec<String>,
    /// Cells of the target's primaries: each looks in its own beside those of the stream.
    pub own_cells: Vec<String>,
}

impl Tablets<'_> {
    /// The cells to store in the streams, so that every source shard has a tablet of the wanted types in them.
    ///
    /// Stock stores what it was given, or the target's own cell name, which the source may not have; then its stream waits
    /// for ever. Here no cells, and all cells of the target (`--all-cells`), mean all cells of the source where the
    /// target's names do not do.
    ///
    /// # Errors
    /// Unknown cells, and shards without such a tablet, with those that there are.
    pub fn cells_for(&self, wanted: &[String], types: &[TabletType]) -> Result<Vec<String>> {
        if types == [TabletType::Primary] {
            return Ok(wanted.to_vec());
        }
        let given: BTreeSet<&String> = wanted.iter().collect();
        let unspecific = wanted.is_empty() || given == self.target_cells.iter().collect();
        let missing_with_own = || {
            let each = self.own_cells.iter().map(|own| [wanted, std::slice::from_ref(own)].concat());
            each.map(|searched| self.without(&searched, types)).find(Option::is_some).flatten()
        };
        if unspecific && missing_with_own().is_none() {
            return Ok(wanted.to_vec());
        }
        if unspecific {
            return match self.without(&self.cells, types) {
                None => Ok(self.cells.clone()),
                Some(shard) => Err(self.none_found(shard, &self.cells, types)),
            };
        }
        if let Some(unknown) = wanted.iter().find(|c| !self.cells.contains(c) && !self.aliases.contains_key(*c)) {
            let text = format!("cell {unknown} is neither a cell nor a cell alias of the source cluster");
            return Err(Error::invalid("CELL_UNKNOWN", text, format!("its cells are: {}", self.cells.join(", "))));
        }
        match missing_with_own() {
            None => Ok(wanted.to_vec()),
            Some(shard) => Err(self.none_found(shard, wanted, types)),
        }
    }

    /// The first shard that has no tablet of the wanted types in the cells.
    fn without(&self, cells: &[String], types: &[TabletType]) -> Option<&str> {
        let mut expanded: BTreeSet<&str> = BTreeSet::new();
        for cell in cells {
            expanded.insert(cell);
            expanded.extend(self.aliases.get(cell).into_iter().flatten().map(String::as_str));
        }
        let fits = |tablet: &Tablet| {
            let here = tablet.alias.as_ref().is_some_and(|a| expanded.contains(a.cell.as_str()));
            here && (types.is_empty() || types.contains(&tablet.r#type()))
        };
        self.of_shard.iter().find(|(_, tablets)| !tablets.iter().any(fits)).map(|(shard, _)| shard.as_str())
    }

    fn none_found(&self, shard: &str, cells: &[String], types: &[TabletType]) -> Error {
        let names =
            |list: &[TabletType]| list.iter().map(|t| t.as_str_name().to_lowercase()).collect::<Vec<_>>().join(",");
        let there = self.of_shard.get(shard).map(Vec::as_slice).unwrap_or_default();
        let listed: Vec<String> = there.iter().map(|t| format!("{} ({})", alias(t), names(&[t.r#type()]))).collect();
        let text = format!(
            "no tablet found for streaming: source shard {}/{shard} has no tablet of types {} in cells {}",
            self.keyspace,
            names(types),
            cells.join(",")
        );
        let mut kinds: Vec<TabletType> = there.iter().map(Tablet::r#type).collect();
        kinds.sort();
        kinds.dedup();
        let help = format!("there are: {}; use --tablet-types {}", listed.join(", "), names(&kinds));
        Error::precondition("NO_TABLET_FOR_STREAMING", text, help)
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::TabletAlias;

    use super::*;
    use crate::error::Explain;

    fn tablet(cell: &str, uid: u32, kind: TabletType) -> Tablet {
        Tablet { alias: Some(TabletAlias { cell: cell.into(), uid }), r#type: kind.into(), ..Tablet::default() }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn check(target_cells: &[&str], wanted: &[&str], types: &[TabletType]) -> Result<Vec<String>> {
        let of_shard = BTreeMap::from([(
            "0".to_owned(),
            vec![tablet("src1", 100, TabletType::Primary), tablet("src2", 101, TabletType::Replica)],
        )]);
        let tablets = Tablets {
            keyspace: "commerce",
            cells: strings(&["src1", "src2"]),
            aliases: BTreeMap::from([("east".to_owned(), strings(&["src1"]))]),
            of_shard: &of_shard,
            target_cells: strings(target_cells),
            own_cells: strings(target_cells),
        };
        tablets.cells_for(&strings(wanted), types)
    }

    #[test]
    fn cells_that_do_are_left_as_they_are() {
        assert_eq!(check(&["src2"], &[], &[TabletType::Replica]).unwrap(), strings(&[]));
        assert_eq!(check(&["tgt"], &["src2"], &[TabletType::Replica]).unwrap(), strings(&["src2"]));
        assert_eq!(
            check(&["tgt"], &["east"], &[TabletType::Primary, TabletType::Replica]).unwrap(),
            strings(&["east"])
        );
        assert_eq!(check(&["tgt"], &["anything"], &[TabletType::Primary]).unwrap(), strings(&["anything"]));
    }

    #[test]
    fn a_target_with_other_cell_names_streams_from_all_source_cells() {
        assert_eq!(check(&["tgt"], &[], &[TabletType::Replica]).unwrap(), strings(&["src1", "src2"]));
        assert_eq!(check(&["tgt"], &["tgt"], &[TabletType::Replica]).unwrap(), strings(&["src1", "src2"]));
    }

    #[test]
    fn what_nobody_serves_is_refused_with_what_there_is() {
        let error = check(&["tgt"], &[], &[TabletType::Rdonly]).unwrap_err();
        assert!(error.to_string().starts_with("no tablet found for streaming: source shard commerce/0"), "{error}");
        assert!(error.help().contains("src1-0000000100 (primary), src2-0000000101 (replica)"), "{}", error.help());
        assert!(error.help().ends_with("--tablet-types primary,replica"), "{}", error.help());
        assert_eq!(check(&["tgt"], &["src1"], &[TabletType::Replica]).unwrap_err().reason(), "NO_TABLET_FOR_STREAMING");
        assert_eq!(check(&["tgt"], &["nowhere"], &[TabletType::Replica]).unwrap_err().reason(), "CELL_UNKNOWN");
    }
}
