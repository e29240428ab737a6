//! Create: check everything, write the record, then tables, streams, start. What a failed create made is taken back.

mod apply;
mod checks;

pub(in crate::workflow) use checks::with_rows;

use std::collections::BTreeMap;

use futures::future::{join_all, try_join, try_join3, try_join4};
use vtmigrated_proto::binlogdata::BinlogSource;
use vtmigrated_proto::tabletmanagerdata::{SchemaDefinition, TableDefinition};
use vtmigrated_proto::vschema::Keyspace as VSchema;
use vtmigrated_proto::vtctldata::WorkflowStatusResponse;

use super::super::record::{self, Facts, Phase, Stored};
use super::super::streams::{OnShard, WithReplicas};
use super::super::{Error, Result};
use super::arguments::Arguments;
use super::gather::{self, Source};
use super::{CREATE_ACTION, picking, plan, status};
use crate::context::Context;
use crate::tablet::GetSchema;
use crate::topo::{self, Lock, Record, Topo, paths};

/// Makes and, when asked, starts a workflow; answers its status.
///
/// A create that was interrupted goes on when it is repeated with the same arguments.
///
/// # Errors
/// Everything that would lose, double or misplace rows is refused before anything is written.
pub async fn create(context: &Context, arguments: &Arguments) -> Result<WorkflowStatusResponse> {
    let mount = precheck(context, arguments).await?;
    let lock = locks(context, &arguments.target_keyspace, &arguments.workflow, CREATE_ACTION).await?;
    let result = create_locked(context, arguments, &mount, &lock).await;
    if let Err(error) = lock.release().await {
        tracing::warn!("the locks of create were not given back: {error}");
    }
    result
}

/// Takes the lock of the workflow, then that of its keyspace.
pub(in crate::workflow) async fn locks(
    context: &Context,
    keyspace: &str,
    workflow: &str,
    action: &str,
) -> Result<Lock> {
    let request = context.lock_request(action);
    let request = request.named(paths::workflow_lock(keyspace, workflow)).of(paths::keyspace_dir(keyspace));
    context.topo.global().lock(request).await.map_err(|error| {
        let missing_keyspace = error.is_no_node();
        let error = Error::Topo(error);
        if missing_keyspace {
            let missing = topo::Error::NoNode(context.topo.global().full(&paths::shards_dir(keyspace)));
            return missing.wrap("List").wrap(format!("FindAllShardsInKeyspace({keyspace})")).into();
        }
        error.doing(format!("failed to lock the {keyspace}/{workflow} workflow"))
    })
}

/// What can be refused without a lock: one wave.
async fn precheck(context: &Context, arguments: &Arguments) -> Result<std::sync::Arc<Topo>> {
    let vschema = async { Ok(topo::vschema::get(context.topo.global(), &arguments.target_keyspace).await?) };
    let (mount, _) = try_join(gather::mount(context, &arguments.mount), vschema).await?;
    gather::open(context, &arguments.mount, &mount.value).await
}

/// The clusters as create found them.
pub(super) struct Situation {
    pub target: WithReplicas,
    pub target_vschema: Record<VSchema>,
    pub source: Source,
    pub record: Option<Stored>,
    /// Streams of this workflow's name.
    pub rows: Vec<OnShard>,
    /// Tables of the first source shard, by name.
    pub source_tables: BTreeMap<String, TableDefinition>,
    /// Tables of each target shard, in the order of the shards.
    pub target_tables: Vec<BTreeMap<String, TableDefinition>>,
}

async fn create_locked(
    context: &Context,
    arguments: &Arguments,
    mount: &Topo,
    lock: &Lock,
) -> Result<WorkflowStatusResponse> {
    let situation = situation(context, arguments, mount).await?;
    let resumed = situation.resumed(arguments)?;
    let tables = match &resumed {
        Some(facts) => facts.tables.clone(),
        None => situation.choose(arguments)?,
    };
    let sources = plan::streams(&plan::Input {
        source_keyspace: &arguments.source_keyspace,
        target_keyspace: &arguments.target_keyspace,
        mount: &arguments.mount,
        source_shards: &gather::ranges(&situation.source.keyspace),
        target_shards: &gather::ranges(&situation.target.keyspace),
        tables: &tables,
        source_vschema: &situation.source.vschema,
        source_serving: &situation.source.serving,
        target_vschema: &situation.target_vschema.value,
        on_ddl: arguments.on_ddl,
        stop_after_copy: arguments.stop_after_copy,
        source_time_zone: &arguments.source_time_zone,
    })?;
    let cells = situation.cells(arguments)?;
    let fresh = resumed.is_none();
    let empty = async {
        // the tables of a create that goes on may hold rows that its own streams copied
        if fresh { checks::tables_are_empty(context, &situation, &tables).await } else { Ok(()) }
    };
    try_join(empty, checks::time_zone(context, &situation, arguments)).await?;
    let facts = resumed.unwrap_or_else(|| situation.facts(arguments, &tables));
    let creation =
        apply::Creation { context, arguments, lock, situation: &situation, sources: &sources, cells: &cells };
    let version = creation.write_record(&facts).await?;
    match creation.run(&facts, version).await {
        Ok(()) => status::of_created(context, arguments, &situation.target.keyspace).await,
        Err(error) => Err(creation.take_back(&facts, error).await),
    }
}

/// Reads both clusters: four waves of round trips.
async fn situation(context: &Context, arguments: &Arguments, mount: &Topo) -> Result<Situation> {
    let keyspace = &arguments.target_keyspace;
    let target = async {
        let shards = topo::shard::all(context.topo.global(), keyspace);
        let (shards, cells) = try_join(shards, context.topo.cells()).await?;
        let serving = topo::shard::serving(shards.clone());
        if serving.is_empty() {
            let text = format!("{keyspace} has no serving shards");
            return Err(Error::precondition("NO_SERVING_SHARDS", text, "its shards need a primary that serves"));
        }
        WithReplicas::from_records(keyspace, serving, cells).await
    };
    let vschema = async { Ok(topo::vschema::get(context.topo.global(), keyspace).await?) };
    let record = record::find(context.topo.global(), keyspace, &arguments.workflow);
    let source = gather::source(mount, &arguments.source_keyspace);
    let (target, target_vschema, record, source) = try_join4(target, vschema, record, source).await?;
    let workflows = [arguments.workflow.clone()];
    let rows = target.keyspace.workflows(context, &workflows);
    let first = source.keyspace.primaries()?.first().map(|(_, tablet)| *tablet).cloned();
    let source_schema = async {
        let Some(tablet) = &first else { return Ok(SchemaDefinition::default()) };
        Ok(context.tablets.get_schema(tablet, all_tables()).await?)
    };
    let target_schemas = async {
        let primaries = target.keyspace.primaries()?;
        let reads = primaries.iter().map(|(_, tablet)| context.tablets.get_schema(tablet, all_tables()));
        let mut schemas = Vec::new();
        let mut errors = Vec::new();
        for read in join_all(reads).await {
            match read {
                Ok(schema) => schemas.push(by_name(schema)),
                Err(error) => errors.push(Error::from(error)),
            }
        }
        Error::several(errors).map_or(Ok(schemas), Err)
    };
    let (rows, source_schema, target_tables) = try_join3(rows, source_schema, target_schemas).await?;
    Ok(Situation { target, target_vschema, source, record, rows, source_tables: by_name(source_schema), target_tables })
}

fn all_tables() -> GetSchema {
    GetSchema { tables: vec!["/.*/".into()], ..GetSchema::default() }
}

fn by_name(schema: SchemaDefinition) -> BTreeMap<String, TableDefinition> {
    schema.table_definitions.into_iter().map(|table| (table.name.clone(), table)).collect()
}

impl Situation {
    /// The facts of an interrupted create that this one goes on with; `None` for a fresh one.
    fn resumed(&self, arguments: &Arguments) -> Result<Option<Facts>> {
        let interrupted = self.record.as_ref().filter(|stored| stored.facts.phase == Phase::Creating);
        let (keyspace, workflow) = (&arguments.target_keyspace, &arguments.workflow);
        let cancel = format!("Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
        match interrupted {
            Some(stored) if stored.facts.arguments == arguments.fingerprint() => {
                if stored.facts.taken_back {
                    let text = format!(
                        "an earlier create of workflow {workflow} in keyspace {keyspace} failed and was not wholly taken back"
                    );
                    return Err(Error::precondition(
                        "CREATE_HALF_TAKEN_BACK",
                        text,
                        format!("finish that with: {cancel}"),
                    ));
                }
                Ok(Some(stored.facts.clone()))
            }
            Some(_) => {
                let text = format!(
                    "workflow {workflow} already exists in keyspace {keyspace}: a create with other arguments was interrupted"
                );
                Err(Error::exists(
                    "WORKFLOW_EXISTS",
                    text,
                    format!("repeat it with the same arguments, or take it back with: {cancel}"),
                ))
            }
            None if self.rows.is_empty() => Ok(None),
            None => {
                let alias = |row: &OnShard| {
                    let shard = self.target.keyspace.shards.get(row.shard);
                    shard.and_then(|s| s.primary.as_ref()).map(crate::tablet::alias).unwrap_or_default()
                };
                let line =
                    |row| format!("workflow {workflow} already exists in keyspace {keyspace} on tablet {}", alias(row));
                let mut lines: Vec<String> = self.rows.iter().map(line).collect();
                lines.sort();
                Err(Error::exists(
                    "WORKFLOW_EXISTS",
                    lines.join("\n"),
                    format!("choose another name, or end it with: {cancel}"),
                ))
            }
        }
    }

    fn choose(&self, arguments: &Arguments) -> Result<Vec<String>> {
        let there: Vec<String> = self.source_tables.keys().cloned().collect();
        let (all, include, exclude) = (arguments.all_tables, &arguments.include_tables, &arguments.exclude_tables);
        plan::choose_tables(&arguments.source_keyspace, &there, all, include, exclude)
    }

    /// The cells in which the streams are to look for a source tablet; empty for the target tablets' own.
    fn cells(&self, arguments: &Arguments) -> Result<Vec<String>> {
        let candidates = picking::Candidates {
            keyspace: &arguments.source_keyspace,
            tablets: &self.source.tablets,
            cells: self.source.keyspace.cells.names().collect(),
            aliases: &self.source.aliases,
        };
        let primaries = self.target.keyspace.primaries()?;
        let own = primaries.iter().filter_map(|(_, tablet)| Some(tablet.alias.as_ref()?.cell.as_str())).collect();
        picking::cells(&candidates, arguments, &own, &self.target.keyspace.cells.names().collect())
    }

    /// What this create is going to make, as the record tells it.
    fn facts(&self, arguments: &Arguments, tables: &[String]) -> Facts {
        let shards = self.target.keyspace.shards.iter();
        let per_shard = |missing: &dyn Fn(usize, &String) -> bool| {
            let of = |(at, shard): (usize, &super::super::streams::TargetShard)| {
                (shard.name.clone(), tables.iter().filter(|t| missing(at, t)).cloned().collect::<Vec<_>>())
            };
            shards.clone().enumerate().map(of).collect::<Vec<_>>()
        };
        let in_vschema = |t: &String| self.target_vschema.value.tables.iter().any(|entry| entry.key == *t);
        let denied: Vec<Vec<String>> = shards.clone().map(|s| topo::shard::denied(&s.record.value)).collect();
        Facts {
            phase: Phase::Creating,
            mount: arguments.mount.clone(),
            source: (
                arguments.source_keyspace.clone(),
                self.source.keyspace.shards.iter().map(|shard| shard.name.clone()).collect(),
            ),
            arguments: arguments.fingerprint(),
            tables: tables.to_vec(),
            created_tables: per_shard(&|at, t| !self.target_tables.get(at).is_some_and(|there| there.contains_key(t))),
            vschema_tables: if self.target_vschema.value.sharded {
                Vec::new()
            } else {
                tables.iter().filter(|t| !in_vschema(t)).cloned().collect()
            },
            denied_tables: per_shard(&|at, t| !denied.get(at).is_some_and(|there| there.contains(t))),
            taken_back: false,
            completing: false,
            sizes: Vec::new(),
        }
    }

    /// The planned sources of a target shard.
    fn planned<'p>(&self, sources: &'p plan::Sources, shard: &str) -> &'p [BinlogSource] {
        sources.iter().find(|(name, _)| name == shard).map(|(_, sources)| sources.as_slice()).unwrap_or_default()
    }
}
