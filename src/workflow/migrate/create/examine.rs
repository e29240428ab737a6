//! All checks of create, in the order in which stock would meet what they find.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join4;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vschema::ColumnVindex;

use super::{checks, rival};
use crate::context::Context;
use crate::error::check;
use crate::topo::Topo;
use crate::workflow::checks::cells::{self, left_out};
use crate::workflow::checks::tables::{self as table_checks, Definitions, Shapes};
use crate::workflow::checks::{
    batching, definitions, foreign_keys, keyspaces, mount as mount_checks, names as name_checks, replicas, sequences,
    streaming, unstreamed, vschema as vschema_checks, workflows,
};
use crate::workflow::findings::{Finding, Report};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::servers::auto_increments;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::reads::{clusters, sequences as sequence_reads};
use crate::workflow::record::Facts;
use crate::workflow::{Result, plan};

/// What create found out before it changes anything.
pub struct Examined {
    pub situation: ClusterState,
    /// What it is going to make.
    pub facts: Facts,
    /// The planned streams; empty when the plan is refused.
    pub sources: plan::Sources,
    /// Cells in which the streams look for a source tablet; empty for the target tablets' own.
    pub cells: Vec<String>,
    pub report: Report,
}

/// Reads both clusters and runs all checks: five waves.
///
/// # Errors
/// What keeps the clusters from being read, and a name that is taken; everything else is in the report.
pub async fn examine(context: &Context, arguments: &Arguments, mount: &Topo) -> Result<Examined> {
    let situation = ClusterState::read(context, arguments, mount).await?;
    let mut report = Report::default();
    report.extend(keyspaces::same_keyspace(&situation.source.keyspace, &situation.target.keyspace));
    let resumed = situation.resumed(arguments)?;
    let fresh = resumed.is_none();
    let keyspace = format!("keyspace {}", arguments.source_keyspace);
    let chosen = match &resumed {
        Some(facts) => {
            let chosen = report.absorb(situation.choose(arguments), keyspace.clone())?;
            report.extend(chosen.and_then(|chosen| rival::other_tables(&arguments.workflow, facts, &chosen.tables)));
            report.extend(workflows::mount_changed(facts, Some(situation.source.created)));
            Some(plan::Chosen { tables: facts.tables.clone(), internal: Vec::new() })
        }
        None => report.absorb(situation.choose(arguments), keyspace.clone())?,
    };
    // without tables there is no plan, but the rest can be looked at all the same
    let plan::Chosen { tables, internal } = chosen.unwrap_or_default();
    report.extend(name_checks::left_out(&arguments.source_keyspace, &internal));
    let (source_shards, target_shards) =
        (clusters::ranges(&situation.source.keyspace), clusters::ranges(&situation.target.keyspace));
    let input = situation.input(arguments, &tables, (&source_shards, &target_shards));
    let mut sources = plan::Sources::new();
    if !tables.is_empty() {
        let problems = plan::problems(&input);
        if problems.is_empty() {
            sources = plan::streams(&input)?;
        }
        report.extend(problems.iter().map(|(subject, error)| Finding::of(error, subject)));
    }
    report.extend(left_out(&situation.target.keyspace.cells, "target"));
    report.extend(left_out(&situation.source.keyspace.cells, "source"));
    report.extend(cells::aliases_left_out(&situation.source.aliases));
    let cells = report.absorb(situation.cells(arguments), keyspace)?;
    let facts = resumed.unwrap_or_else(|| situation.facts(arguments, &tables));
    let filtering = plan::filtering(&input);
    let looks = CreateChecks { situation: &situation, arguments, tables: &tables, facts: &facts, filtering, fresh };
    if !fresh && !sources.is_empty() {
        report.extend(rival::changed(&situation, &arguments.workflow, &sources, &tables));
    }
    if let Some(cells) = &cells {
        report.extend(looks.serving(cells));
    }
    looks.ask_tables(context, &mut report).await?;
    looks.at_tables(&mut report);
    looks.at_servers(&mut report);
    let entries = plan::vschema_entries(&situation.source.vschema, &facts.vschema_tables);
    let kept = entries.into_iter().filter(|(_, entry)| !entry.r#type.is_empty());
    let kept: Vec<String> = kept.map(|(name, entry)| format!("{name} ({})", entry.r#type)).collect();
    report.extend(vschema_checks::types_kept(&arguments.target_keyspace, &kept));
    let keep = context.options.keep_vplayer_batching;
    report.extend(batching::findings(situation.sides(), &arguments.tablet_types, keep));
    Ok(Examined { facts, sources, cells: cells.unwrap_or_default(), report, situation })
}

struct CreateChecks<'a> {
    situation: &'a ClusterState,
    arguments: &'a Arguments,
    tables: &'a [String],
    /// What this create makes, or has begun to make.
    facts: &'a Facts,
    /// The vindexes by which filters tell rows to shards, by table.
    filtering: BTreeMap<String, ColumnVindex>,
    /// False for a create that goes on: what it made itself is no finding.
    fresh: bool,
}

impl CreateChecks<'_> {
    /// Whether the tablets that streams may pick serve now.
    fn serving(&self, cells: &[String]) -> Vec<Finding> {
        let candidates = self.situation.candidates();
        let types: &[TabletType] = &self.arguments.tablet_types;
        let mut found: BTreeMap<String, Finding> = BTreeMap::new();
        for own in self.situation.own_cells() {
            let looked = candidates.looked_at(cells, own);
            let health = &self.situation.asked.health;
            for finding in streaming::serving(candidates.keyspace, candidates.tablets, health, types, &looked) {
                found.entry(finding.subject.clone()).or_insert(finding);
            }
            let replication = &self.situation.asked.replication;
            for finding in replicas::at_create(candidates.tablets, health, replication, types, &looked) {
                found.entry(finding.subject.clone()).or_insert(finding);
            }
        }
        found.into_values().collect()
    }

    /// What is asked of tables once they are known: one wave, none when there is nothing to ask.
    async fn ask_tables(&self, context: &Context, report: &mut Report) -> Result<()> {
        let Self { situation, arguments, tables, .. } = self;
        let target = &situation.target_vschema.value;
        let shapes = table_checks::shapes(tables, situation.first_source());
        let several = situation.target.keyspace.shards.len() > 1;
        let counted = if several { table_checks::auto_increment_columns(tables, &shapes) } else { Vec::new() };
        let sequenced = vschema_checks::sequenced(target);
        let counted: Vec<_> = counted.into_iter().filter(|(table, _)| !sequenced.contains(table.as_str())).collect();
        // where the streams of a create that goes on were started, the tables may hold rows that they copied
        let untouched = |at: usize| !situation.has_started(at);
        let empty = checks::tables_are_empty(context, situation, tables, &untouched);
        let named = sequences::of(target, tables);
        let asked: Vec<_> = counted.iter().cloned().chain(sequences::columns(&named)).collect();
        let greatest = auto_increments(context, &situation.source.keyspace, &asked);
        let states = sequence_reads::look(context, &named);
        let zone = checks::time_zone(context, situation, arguments);
        let (empty, zone, greatest, states) = join4(empty, zone, greatest, states).await;
        let subject = format!("keyspace {}", arguments.target_keyspace);
        report.absorb(empty, subject.clone())?;
        report.absorb(zone, subject)?;
        report.extend(table_checks::auto_increment(&arguments.target_keyspace, &counted, &greatest));
        let checks = (&check::SEQUENCE_UNKNOWN, &check::SEQUENCE_BEHIND);
        report.extend(sequences::judge(&states, &greatest, checks));
        Ok(())
    }

    fn at_tables(&self, report: &mut Report) {
        let Self { situation, arguments, tables, facts, fresh, .. } = self;
        let (source, target) = (&situation.source.keyspace, &situation.target.keyspace);
        let named = |keyspace: &str, shard: &str| format!("{keyspace}/{shard}");
        let mut on_source: Vec<(String, &Definitions)> = Vec::new();
        for (shard, tables) in source.shards.iter().zip(&situation.source_tables) {
            match tables {
                Ok(tables) => on_source.push((named(&source.name, &shard.name), tables)),
                Err(why) => report.extend([Finding::new(
                    &check::SOURCE_NOT_ASKED,
                    format!("shard {}/{}", source.name, shard.name),
                    format!("the tables of source shard {}/{} were not compared: {why}", source.name, shard.name),
                    "compare them yourself: ValidateSchemaKeyspace of the source",
                )]),
            }
        }
        report.extend(name_checks::unfit(tables));
        report.extend(name_checks::unreadable(&target.name, &situation.target_tables));
        let servers = &situation.asked.servers.target;
        let on_target: BTreeSet<&str> =
            situation.target_tables.iter().flat_map(|tables| tables.keys().map(String::as_str)).collect();
        report.extend(name_checks::letter_case(tables, servers, &on_target, arguments.defer_secondary_keys));
        let made = |table: &String| situation.target_tables.iter().any(|there| !there.contains_key(table));
        report.extend(definitions::between_shards(tables, &on_source, &made));
        let shapes = table_checks::shapes(tables, situation.first_source());
        let newer = mount_checks::any_newer(situation.asked.source_versions.iter());
        report.extend(unstreamed::names(tables, &shapes, &situation.asked.servers, newer));
        report.extend(unstreamed::keys(tables, &on_source));
        let vschema = &situation.target_vschema.value;
        let (own, others) = self.on_target();
        report.extend(vschema_checks::columns((&target.name, vschema), tables, (&shapes, &own), &self.filtering));
        report.extend(vschema_checks::lookups(&target.name, tables, vschema, &on_target));
        // tablets take secondary keys from tables that they copy into
        let there = target.shards.iter().zip(&situation.target_tables).enumerate();
        let there = there.filter(|(at, _)| !situation.has_started(*at));
        let there: Vec<_> = there.map(|(_, (shard, tables))| (named(&target.name, &shard.name), tables)).collect();
        let without = arguments.drop_foreign_keys;
        report.extend(definitions::on_target(tables, &on_source, &there, without));
        let workflow = &arguments.workflow;
        report.extend(workflows::others_on_tables(target, &situation.others, workflow, tables));
        if *fresh {
            report.extend(name_checks::views_in_the_way(tables, servers));
            let (record, rows) = (situation.record.as_ref(), situation.rows.len());
            report.extend(workflows::leftover_record(&target.name, workflow, record, rows));
        }
        report.extend(workflows::denied_already(target, tables, facts));
        report.extend(foreign_keys::cascading(tables, &shapes, &situation.source.vschema, arguments.drop_foreign_keys));
        if !arguments.drop_foreign_keys {
            report.extend(foreign_keys::parents(tables, &shapes, &on_target));
        }
        if arguments.defer_secondary_keys {
            let mut shapes = shapes.clone();
            if arguments.drop_foreign_keys {
                shapes.values_mut().for_each(|shape| shape.foreign_keys.clear());
            }
            shapes.extend(own);
            report.extend(foreign_keys::deferred(tables, &shapes, &others));
        }
        report.extend(table_checks::without_key(tables, &shapes));
    }

    /// The shapes of the tables that the target has already, and of others there that have foreign keys.
    fn on_target(&self) -> (Shapes, Shapes) {
        let mut shapes = Shapes::new();
        let mut others = Shapes::new();
        let moved: BTreeSet<&String> = self.tables.iter().collect();
        for (name, definition) in self.situation.target_tables.iter().flatten() {
            let is_moved = moved.contains(name);
            let into = if is_moved { &mut shapes } else { &mut others };
            let matters = is_moved || definition.schema.contains("FOREIGN KEY");
            if matters && let Ok(shape) = crate::sql::ddl::shape(&definition.schema) {
                into.insert(name.clone(), shape);
            }
        }
        (shapes, others)
    }

    fn at_servers(&self, report: &mut Report) {
        let Self { situation, arguments, tables, .. } = self;
        let asked = &situation.asked;
        let sequences = vschema_checks::sequences_left(&arguments.source_keyspace, tables, &situation.source.vschema);
        report.extend(table_checks::staying(&arguments.source_keyspace, &asked.servers.source, &sequences));
        report.extend(streaming::binlogs(&asked.servers.source));
        report.extend(streaming::row_images(&asked.servers.target));
        report.extend(workflows::leftover_copy_states(&asked.servers.target));
        let of_tables = situation.source_tables.iter().flatten().flat_map(|definitions| {
            tables.iter().filter_map(|table| definitions.get(table)).map(|definition| definition.data_length)
        });
        let bytes = of_tables.fold(0u64, u64::saturating_add);
        report.extend(streaming::retention(&asked.servers.source, bytes));
        report.extend(streaming::answers(asked));
        report.extend(mount_checks::versions("the source", asked.source_versions.iter().cloned()));
        report.extend(mount_checks::versions("the target", asked.target_versions.iter().cloned()));
        report.extend(mount_checks::too_old(asked.target_versions.iter()));
        let shards = situation.target.keyspace.shards.len();
        report.extend([streaming::disk(&arguments.target_keyspace, shards, bytes)]);
    }
}
