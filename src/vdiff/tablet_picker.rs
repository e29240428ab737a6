//! Whether every shard has tablets to read from on both sides (S8), by the rule of the tablets' own picker.
//!
//! A target primary looks for one source tablet for each source shard and for one tablet of its own shard: of the wanted
//! types, in the cells given and in its own cell with those that share an alias with it, healthy and serving. With primary
//! as the only type cells do not matter (Vitess 22.0.3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{join_all, try_join};
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::options::Arguments;
use crate::context::Context;
use crate::error::{Code, Explain, Reason};
use crate::failure::{Error, Result};
use crate::tablet::{self, alias};
use crate::topo::cell::Aliases;
use crate::topo::{self, Record, Topo, paths};
use crate::workflow::findings::Report;
use crate::workflow::plan::picking::{Candidates, NoTablet};
use crate::workflow::streams::{KeyspaceTablets, Origin};
use crate::workflow::tablet_types::{cell, is_one_of, name};

/// Bound of a health check.
const HEALTH: Duration = Duration::from_secs(5);

/// One side of the comparison.
pub struct Side {
    /// `source` or `target`.
    pub which: &'static str,
    /// The flag that names its cells.
    pub flag: &'static str,
    pub keyspace: String,
    /// Every tablet of each shard.
    pub tablets: BTreeMap<String, Vec<Tablet>>,
    pub cells: BTreeSet<String>,
    pub aliases: Aliases,
}

/// Reads the source shards with their tablets: three waves.
pub async fn source(topo: &Topo, origin: &Origin) -> Result<Side> {
    let keyspace = &origin.keyspace;
    let wanted = origin.shards.iter().map(|shard| paths::shard(keyspace, shard)).collect();
    let aliases = Aliases::read(topo.global());
    let (nodes, (cells, aliases)) = try_join(topo.global().get_many(wanted), try_join(topo.cells(), aliases)).await?;
    let mut records = Vec::new();
    for (node, shard) in nodes.into_iter().zip(&origin.shards) {
        let missing = || topo::Error::NoNode(topo.global().full(&paths::shard(keyspace, shard)));
        records.push(Record::decode(node.ok_or_else(missing)?, topo.global())?);
    }
    let names = cells.names().map(str::to_owned).collect();
    let loaded = KeyspaceTablets::from_records(keyspace, records, cells).await?;
    Ok(Side {
        which: "source",
        flag: "--source-cells",
        keyspace: keyspace.clone(),
        tablets: loaded.tablets,
        cells: names,
        aliases,
    })
}

/// The cells to give for the source: those of the request; for a mounted source, where the tablets' own default is the
/// cells of the target, all cells of the source that have tablets of the wanted types.
pub fn source_cells(arguments: &Arguments, origin: &Origin, source: &Side) -> Vec<String> {
    if !arguments.source_cells.is_empty() || origin.mount.is_empty() {
        return arguments.source_cells.clone();
    }
    source.candidates().cells_with(&arguments.tablet_types).into_iter().map(str::to_owned).collect()
}

/// A shard and the tablets that could be picked there.
struct Choice<'a> {
    side: &'a Side,
    shard: &'a str,
    tablets: Vec<&'a Tablet>,
}

/// Proves that something can be picked everywhere; asks the tablets for their health: one wave. `own` are the cells of the
/// target's primaries by shard.
///
/// # Errors
/// All shards where nothing can be picked, with the tablets that they have; else all whose tablets are not healthy.
pub async fn prove(
    context: &Context,
    arguments: &Arguments,
    (source, source_cells): (&Side, &[String]),
    target: &Side,
    own: &BTreeMap<String, String>,
) -> Result<()> {
    let types = arguments.tablet_types.as_slice();
    let all_own: BTreeSet<&str> = own.values().map(String::as_str).collect();
    let mut choices = Vec::new();
    let mut report = Report::default();
    for shard in source.tablets.keys() {
        let choice = source.choice(shard, types, source_cells, &all_own);
        choices.extend(report.absorb(choice, source.subject(shard))?);
    }
    for (shard, cell) in own {
        let choice = target.choice(shard, types, &arguments.target_cells, &BTreeSet::from([cell.as_str()]));
        choices.extend(report.absorb(choice, target.subject(shard))?);
    }
    report.refuse()?;
    let asked = join_all(choices.iter().map(|choice| {
        join_all(choice.tablets.iter().map(|tablet| async move { (*tablet, unhealthy_reason(context, tablet).await) }))
    }));
    for (choice, answers) in choices.iter().zip(asked.await) {
        let mut unhealthy = Vec::new();
        for (tablet, answer) in answers {
            match answer {
                None => {
                    unhealthy.clear();
                    break;
                }
                Some(why) => unhealthy.push(format!("{} ({}): {why}", alias(tablet), name(tablet.r#type()))),
            }
        }
        if !unhealthy.is_empty() {
            report.absorb::<()>(Err(choice.no_healthy_tablet(&unhealthy)), choice.side.subject(choice.shard))?;
        }
    }
    report.refuse()
}

/// Why a tablet would not be streamed from; `None` for a healthy one, and for one without a query service.
async fn unhealthy_reason(context: &Context, tablet: &Tablet) -> Option<String> {
    match context.tablets.health(tablet, HEALTH).await {
        Err(error) if error.code() == Code::Unimplemented => None,
        Err(error) => Some(error.to_string()),
        Ok(health) if tablet::is_serving(&health) => None,
        Ok(health) => match health.realtime_stats.unwrap_or_default().health_error {
            error if !error.is_empty() => Some(error),
            _ => Some("it does not serve".to_owned()),
        },
    }
}

impl Side {
    fn candidates(&self) -> Candidates<'_> {
        Candidates {
            keyspace: &self.keyspace,
            tablets: &self.tablets,
            cells: self.cells.iter().map(String::as_str).collect(),
            aliases: &self.aliases,
        }
    }

    /// What primaries in the cells `own` could pick in a shard when they are given these cells.
    fn choice<'a>(
        &'a self,
        shard: &'a str,
        types: &[TabletType],
        given: &[String],
        own: &BTreeSet<&str>,
    ) -> Result<Choice<'a>> {
        self.aliases.check(given)?;
        let candidates = self.candidates();
        let there = self.tablets.get(shard).map(Vec::as_slice).unwrap_or_default();
        let of_types = || there.iter().filter(|tablet| is_one_of(tablet, types));
        let mut found: BTreeMap<String, &Tablet> = BTreeMap::new();
        for own in own {
            let looked = candidates.looked_at(given, own);
            let everywhere = types == [TabletType::Primary] || given.is_empty();
            let here: Vec<&Tablet> = of_types().filter(|t| everywhere || looked.contains(cell(t))).collect();
            if here.is_empty() {
                let cells = if given.is_empty() { "all".to_owned() } else { given.join(",") };
                let lack = NoTablet {
                    reason: Reason::NO_TABLET_TO_COMPARE,
                    purpose: "compare rows from",
                    side: self.which,
                    types,
                    cells: &cells,
                    flag: self.flag,
                };
                return Err(candidates.nothing_to_pick(shard, &lack));
            }
            found.extend(here.into_iter().map(|tablet| (alias(tablet), tablet)));
        }
        Ok(Choice { side: self, shard, tablets: found.into_values().collect() })
    }

    fn subject(&self, shard: &str) -> String {
        format!("{} shard {}/{shard}", self.which, self.keyspace)
    }
}

impl Choice<'_> {
    fn no_healthy_tablet(&self, why: &[String]) -> Error {
        let text = format!(
            "no healthy tablet found to compare rows from in {} shard {}/{}: {}",
            self.side.which,
            self.side.keyspace,
            self.shard,
            why.join("; ")
        );
        Error::precondition(Reason::NO_HEALTHY_TABLET, text, "fix these tablets, or choose others with --tablet-types")
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::TabletAlias;

    use super::*;

    fn side(which: &'static str, tablets: &[(&str, &str, u32, TabletType)]) -> Side {
        let mut by_shard: BTreeMap<String, Vec<Tablet>> = BTreeMap::new();
        for (shard, cell, uid, kind) in tablets {
            let alias = Some(TabletAlias { cell: (*cell).into(), uid: *uid });
            by_shard.entry((*shard).into()).or_default().push(Tablet {
                hostname: "host".into(),
                alias,
                r#type: (*kind).into(),
                ..Tablet::default()
            });
        }
        let cells = tablets.iter().map(|t| t.1.to_owned()).collect();
        let known = BTreeMap::from([("all".to_owned(), vec!["b".to_owned()])]);
        let aliases = Aliases { known, unread: Vec::new() };
        Side { which, flag: "--target-cells", keyspace: "ks".into(), tablets: by_shard, cells, aliases }
    }

    fn picked(side: &Side, types: &[TabletType], given: &[&str], own: &str) -> std::result::Result<Vec<u32>, String> {
        let given: Vec<String> = given.iter().map(|g| (*g).to_owned()).collect();
        let choice = side.choice("0", types, &given, &BTreeSet::from([own]));
        let uid = |t: &&Tablet| t.alias.as_ref().map_or(0, |a| a.uid);
        choice
            .map(|choice| choice.tablets.iter().map(uid).collect())
            .map_err(|e| format!("{e}\n{}", crate::error::Explain::help(&e)))
    }

    #[test]
    fn cells_and_types_decide_what_is_there() {
        use TabletType::{Primary, Rdonly, Replica, Spare};
        let side = side(
            "target",
            &[("0", "a", 1, Primary), ("0", "b", 2, Replica), ("0", "c", 3, Rdonly), ("0", "a", 4, Spare)],
        );
        assert_eq!(picked(&side, &[], &[], "a"), Ok(vec![1, 2, 3]));
        assert_eq!(picked(&side, &[Replica], &[], "x"), Ok(vec![2]));
        assert_eq!(picked(&side, &[Replica], &["all"], "a"), Ok(vec![2]));
        assert_eq!(picked(&side, &[Replica], &["a"], "b"), Ok(vec![2]));
        assert_eq!(picked(&side, &[Primary], &["c"], "c"), Ok(vec![1]));
        let refused = picked(&side, &[Replica], &["a"], "a").unwrap_err();
        assert_eq!(
            refused,
            "no tablet found to compare rows from in target shard ks/0: tablet types replica, cells a; its tablets are \
             a-0000000001 (primary), b-0000000002 (replica), c-0000000003 (rdonly), a-0000000004 (spare)\n\
             use --target-cells b"
        );
        let source = super::tests::side("source", &[("0", "a", 1, Primary)]);
        let refused = picked(&source, &[Replica, Rdonly], &[], "z").unwrap_err();
        assert!(refused.contains("in source shard ks/0: tablet types replica,rdonly, cells all"), "{refused}");
        assert!(refused.ends_with("use --tablet-types primary"), "{refused}");
    }
}
