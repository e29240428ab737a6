//! The clusters as create finds them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all, try_join, try_join3, try_join4};
use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::{SchemaDefinition, TableDefinition};
use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::clusters::{self, Source};
use super::journal;
use super::tablets::ask;
use crate::context::Context;
use crate::error::Reason;
use crate::tablet::GetSchema;
use crate::topo::{self, Record, Topo};
use crate::vschema;
use crate::workflow::checks::answers::ProbeAnswers;
use crate::workflow::checks::batching::Sides;
use crate::workflow::checks::keyspaces::without_primary;
use crate::workflow::checks::tables::Definitions;
use crate::workflow::findings::Report;
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::plan::{self, picking};
use crate::workflow::record::{self, Facts, Phase, Stored};
use crate::workflow::streams::{self, Keyspace, KeyspaceTablets, ShardWorkflow, TargetShard, has_copied};
use crate::workflow::{Error, Result};

/// Both clusters.
pub struct ClusterState {
    pub target: KeyspaceTablets,
    pub target_vschema: Record<VSchema>,
    pub source: Source,
    pub record: Option<Stored>,
    /// Streams of this workflow's name.
    pub rows: Vec<ShardWorkflow>,
    /// Streams of other workflows of the target.
    pub others: Vec<ShardWorkflow>,
    /// Tables of each source shard, in the order of the shards; the text when a shard other than the first did not tell.
    pub source_tables: Vec<std::result::Result<Definitions, String>>,
    /// Tables of each target shard, in the order of the shards.
    pub target_tables: Vec<Definitions>,
    /// What tablets said for the checks.
    pub asked: ProbeAnswers,
    /// Target shards of which a primary since an interrupted create may not have known that it denied tables.
    pub unaware: Vec<String>,
}

impl ClusterState {
    /// Reads both clusters: four waves of round trips, and one more where that of an interrupted create's primaries has to be asked for.
    pub async fn read(context: &Context, arguments: &Arguments, mount: &Topo) -> Result<Self> {
        let keyspace = &arguments.target_keyspace;
        let target = async {
            let shards = topo::shard::all(context.topo.global(), keyspace);
            let (shards, cells) = try_join(shards, context.topo.cells()).await?;
            let serving = topo::shard::serving(shards.clone());
            if serving.is_empty() {
                let text = format!("{keyspace} has no serving shards");
                return Err(Error::precondition(
                    Reason::NO_SERVING_SHARDS,
                    text,
                    "its shards need a primary that serves",
                ));
            }
            Ok(KeyspaceTablets::from_records(keyspace, serving, cells).await?.in_use())
        };
        let vschema = async { Ok(topo::vschema::get(context.topo.global(), keyspace).await?) };
        let record = record::find(context.topo.global(), keyspace, &arguments.workflow);
        let source = clusters::source(mount, &arguments.source_keyspace);
        let (target, target_vschema, record, source) = try_join4(target, vschema, record, source).await?;
        let mut report = Report::default();
        report.extend(without_primary(&source.keyspace));
        report.extend(without_primary(&target.keyspace));
        report.refuse()?;
        target.refuse_reparents()?;
        let tablets = async {
            let rows = target.keyspace.workflows(context, &[]);
            let source_tables = source_schemas(context, &source.keyspace);
            try_join3(rows, source_tables, target_schemas(context, &target.keyspace)).await
        };
        let asked = ask(context, &source.keyspace, &source.tablets, &arguments.tablet_types, &target.keyspace);
        let (tablets, asked) = join(tablets, asked).await;
        let (rows, source_tables, target_tables) = tablets?;
        let (rows, others) = rows.into_iter().partition(|row| row.found.workflow == arguments.workflow);
        let facts = record.as_ref().map(|stored| &stored.facts).filter(|facts| facts.phase == Phase::Creating);
        let unaware = journal::unaware_shards(context, facts, &target.keyspace).await;
        Ok(Self { target, target_vschema, source, record, rows, others, source_tables, target_tables, asked, unaware })
    }

    /// What the batching of its streams depends on.
    pub fn sides(&self) -> Sides<'_> {
        Sides { target: &self.target.keyspace, tablets: &self.source.tablets, asked: &self.asked }
    }

    /// The definition of a table in the first source shard.
    pub fn source_table(&self, table: &str) -> Option<&TableDefinition> {
        self.first_source().get(table)
    }

    /// Tables of the first source shard, from which definitions are taken.
    pub fn first_source(&self) -> &Definitions {
        static NONE: Definitions = BTreeMap::new();
        self.source_tables.first().and_then(|tables| tables.as_ref().ok()).unwrap_or(&NONE)
    }

    /// The facts of a create, without the tables that it has still to make: nothing proves before that they are its.
    pub fn without_claims(&self, planned: &Facts) -> Facts {
        let mut facts = planned.clone();
        for (shard, there) in self.target.keyspace.shards.iter().zip(&self.target_tables) {
            facts.forget_made(&shard.name, |table| !there.contains_key(table));
        }
        facts
    }

    /// The tables to move, of those that any source shard has: one that another lacks is refused later, not passed over.
    pub fn choose(&self, arguments: &Arguments) -> Result<plan::Chosen> {
        let there: BTreeSet<&String> = self.source_tables.iter().flatten().flat_map(BTreeMap::keys).collect();
        let there: Vec<String> = there.into_iter().cloned().collect();
        let inventories = self.asked.servers.source.iter().filter_map(|server| server.answers.as_ref().ok());
        let views = inventories.flat_map(|answers| &answers.inventory).filter(|(kind, _)| kind == "view");
        plan::choose_tables(&plan::Choice {
            keyspace: &arguments.source_keyspace,
            there: &there,
            views: &views.map(|(_, name)| name.as_str()).collect(),
            all: arguments.all_tables,
            include: &arguments.include_tables,
            exclude: &arguments.exclude_tables,
        })
    }

    /// What streams that bring these tables are planned from; the ranges are those of the source's shards and of the target's.
    pub fn input<'a>(
        &'a self,
        arguments: &'a Arguments,
        tables: &'a [String],
        (source_shards, target_shards): (&'a [plan::ShardRange], &'a [plan::ShardRange]),
    ) -> plan::Input<'a> {
        plan::Input {
            source_keyspace: &arguments.source_keyspace,
            target_keyspace: &arguments.target_keyspace,
            mount: &arguments.mount,
            source_shards,
            target_shards,
            tables,
            source_vschema: &self.source.vschema,
            source_serving: &self.source.serving,
            target_vschema: &self.target_vschema.value,
            on_ddl: arguments.on_ddl,
            stop_after_copy: arguments.stop_after_copy,
            source_time_zone: &arguments.source_time_zone,
        }
    }

    /// What there is to stream from.
    pub fn candidates(&self) -> picking::Candidates<'_> {
        picking::Candidates {
            keyspace: &self.source.keyspace.name,
            tablets: &self.source.tablets,
            cells: self.source.keyspace.cells.names().collect(),
            aliases: &self.source.aliases,
        }
    }

    /// Cells of the target's primaries.
    pub fn own_cells(&self) -> BTreeSet<&str> {
        let primaries = self.target.keyspace.shards.iter().filter_map(|shard| shard.primary.as_ref());
        primaries.filter_map(|tablet| Some(tablet.alias.as_ref()?.cell.as_str())).collect()
    }

    /// The cells in which the streams are to look for a source tablet; empty for the target tablets' own.
    pub fn cells(&self, arguments: &Arguments) -> Result<Vec<String>> {
        let known = self.target.keyspace.cells.names().collect();
        picking::cells(&self.candidates(), arguments, &self.own_cells(), &known)
    }

    /// True when a stream of the workflow on a shard, given by index, was started or has copied something.
    pub fn has_started(&self, shard: usize) -> bool {
        streams::on(&self.rows, shard).any(|s| s.state() != State::Stopped || has_copied(s))
    }

    /// True when a stream of the workflow on a shard, given by index, has copied something.
    pub fn has_copied(&self, shard: usize) -> bool {
        streams::on(&self.rows, shard).any(has_copied)
    }

    /// What this create is going to make, as the record tells it.
    pub fn facts(&self, arguments: &Arguments, tables: &[String]) -> Facts {
        let shards = &self.target.keyspace.shards;
        let earlier = self.earlier();
        let mut created_tables = Vec::new();
        let mut denied_tables = Vec::new();
        for (at, shard) in shards.iter().enumerate() {
            let left = earlier.map(|facts| Left::of(facts, shard)).unwrap_or_default();
            let there = |table: &String| self.target_tables.get(at).is_some_and(|tables| tables.contains_key(table));
            // what is there is a user's, also where an earlier workflow had made a table of that name: that one has ended
            let made = tables.iter().filter(|table| !there(table));
            created_tables.push((shard.name.clone(), made.cloned().collect()));
            let denied = shard.denied();
            let mut of_shard: Vec<String> = tables.iter().filter(|table| !denied.contains(*table)).cloned().collect();
            of_shard.extend(left.denied.iter().map(|table| (*table).clone()));
            denied_tables.push((shard.name.clone(), of_shard));
        }
        Facts {
            phase: Phase::Creating,
            mount: arguments.mount.clone(),
            source: (
                arguments.source_keyspace.clone(),
                self.source.keyspace.shards.iter().map(|shard| shard.name.clone()).collect(),
            ),
            source_created: Some(self.source.created),
            arguments: arguments.fingerprint(),
            tables: tables.to_vec(),
            left_out: self.left_out(arguments, tables),
            created_tables,
            vschema_tables: self.vschema_tables(tables, earlier),
            denied_tables,
            shards: shards.iter().map(|shard| (shard.name.clone(), shard.record.created)).collect(),
            taken_back: false,
            cancelling: false,
            made_at: Vec::new(),
            completing: false,
            snapshot: false,
            handed_over: false,
            keeping: false,
            streams: None,
            every_pair: plan::primary_vindexes_differ(&self.source.vschema, &self.target_vschema.value, tables),
            seen_to: Vec::new(),
            unaware: Vec::new(),
            aware: Vec::new(),
            starting: Vec::new(),
            reigns: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// Tables of the source that are not among `tables`, where all were asked for.
    fn left_out(&self, arguments: &Arguments, tables: &[String]) -> Option<Vec<String>> {
        let are_all = arguments.all_tables && arguments.include_tables.is_empty();
        let chosen: BTreeSet<&String> = tables.iter().collect();
        let others = || self.first_source().keys().filter(|table| !chosen.contains(table)).cloned().collect();
        are_all.then(others)
    }

    /// The facts of an earlier workflow of this name whose streams somebody else has deleted.
    fn earlier(&self) -> Option<&Facts> {
        self.record.as_ref().map(|stored| &stored.facts).filter(|_| self.rows.is_empty())
    }

    /// Entries that the target's VSchema lacks, or that an earlier workflow of this name has put there.
    fn vschema_tables(&self, tables: &[String], earlier: Option<&Facts>) -> Vec<String> {
        if self.target_vschema.value.sharded {
            return Vec::new();
        }
        let known = vschema::tables(&self.target_vschema.value);
        let about = |facts: &&Facts| {
            self.target.keyspace.shards.iter().any(|shard| facts.is_about(&shard.name, shard.record.created))
        };
        let put: BTreeSet<&String> = earlier.filter(about).iter().flat_map(|facts| &facts.vschema_tables).collect();
        tables.iter().filter(|table| !known.contains_key(table.as_str()) || put.contains(table)).cloned().collect()
    }

    /// The planned sources of a target shard.
    pub fn planned<'p>(&self, sources: &'p plan::Sources, shard: &str) -> &'p [BinlogSource] {
        sources.iter().find(|(name, _)| name == shard).map(|(_, sources)| sources.as_slice()).unwrap_or_default()
    }
}

/// The first shard's tables are needed; those of the others are only compared with them.
async fn source_schemas(context: &Context, source: &Keyspace) -> Result<Vec<std::result::Result<Definitions, String>>> {
    let primaries = source.primaries()?;
    let reads = primaries.iter().map(|(_, tablet)| context.tablets.get_schema(tablet, definitions()));
    let mut schemas = Vec::new();
    for read in join_all(reads).await {
        match read {
            Err(error) if schemas.is_empty() => return Err(error.into()),
            read => schemas.push(read.map(by_name).map_err(|error| error.to_string())),
        }
    }
    Ok(schemas)
}

async fn target_schemas(context: &Context, target: &Keyspace) -> Result<Vec<Definitions>> {
    let primaries = target.primaries()?;
    let reads = primaries.iter().map(|(_, tablet)| context.tablets.get_schema(tablet, definitions()));
    let mut schemas = Vec::new();
    let mut errors = Vec::new();
    for read in join_all(reads).await {
        match read {
            Ok(schema) => schemas.push(by_name(schema)),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    Error::several(errors).map_or(Ok(schemas), Err)
}

/// All tables without their columns and keys, for which a tablet asks its MySQL table by table, and which it tells of none
/// where one has a back-quote in its name (Vitess 22.0.4 and 24.0.4, `GetColumnsList`): what each is made by tells enough.
fn definitions() -> GetSchema {
    GetSchema { tables: vec!["/.*/".into()], table_schema_only: true, ..GetSchema::default() }
}

fn by_name(schema: SchemaDefinition) -> Definitions {
    schema.table_definitions.into_iter().map(|table| (table.name.clone(), table)).collect()
}

/// What an earlier workflow of the same name has left on a shard, proven by what is denied there still.
#[derive(Default)]
pub struct Left<'a> {
    /// Tables that it made.
    pub made: BTreeSet<&'a String>,
    /// Tables that it denied: nobody else would ever lift that.
    pub denied: BTreeSet<&'a String>,
}

impl<'a> Left<'a> {
    pub fn of(facts: &'a Facts, shard: &TargetShard) -> Self {
        if !facts.is_about(&shard.name, shard.record.created) {
            return Self::default();
        }
        let now = shard.denied();
        let denied: BTreeSet<&String> = facts.denied_on(&shard.name).iter().filter(|t| now.contains(*t)).collect();
        let made = facts.created_on(&shard.name).iter().filter(|table| denied.contains(table)).collect();
        Self { made, denied }
    }
}
