//! What the source says of itself: positions, binlogs, columns, sizes.
//!
//! The positions decide whether complete may go on, so nothing else may cost them: each thing is asked for with a bound of
//! its own, and what one shard does not tell is missing of that shard only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join, join_all, join5, try_join3};
use vtmigrated_proto::tabletmanagerdata::PrimaryPositionRequest;
use vtmigrated_proto::topodata::{ExternalVitessCluster, Shard, Tablet, TabletAlias};
use vtmigrated_proto::vschema::SrvVSchema;

use super::found::ExistingWorkflow;
use super::replicas::{self, SourceTopology, Suspect};
use super::{clusters, columns as column_reads, sizes_now};
use crate::context::Context;
use crate::deadline;
use crate::gtid::{GtidSet, Position};
use crate::sql::rows;
use crate::tablet;
use crate::topo::{self, Cells, Record, Topo, paths};
use crate::workflow::checks::complete::source::{Source, SourceShard};
use crate::workflow::record::{self, Facts};
use crate::workflow::streams::{Keyspace, Origin};

/// Bound of each thing that is asked of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked of a source.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub mount: String,
    pub keyspace: String,
    /// Shards that are asked besides those that serve.
    pub shards: Vec<String>,
    /// Tables whose columns are asked for; none: columns are not.
    pub tables: Vec<String>,
    /// Whether the sizes of all tables are asked for.
    pub sizes: bool,
    /// Whether it is asked which tables there are.
    pub inventory: bool,
    /// Streams that may get nothing: the tablets that they read from are looked at.
    pub streams: Vec<Suspect>,
    /// The keyspace of these streams.
    pub target: String,
    /// Bound of the topology, and of each thing that the tablets are asked.
    pub within: Duration,
}

impl Ask {
    fn names(&self, shard: &str) -> bool {
        self.shards.iter().any(|named| named == shard)
    }
}

/// Without views.
const INVENTORY: &str = "select /*+ MAX_EXECUTION_TIME(4000) */ table_name from information_schema.tables \
     where table_schema = database() and table_type = 'BASE TABLE'";
const MAX_TABLES: u64 = 1_000_000;

/// Works on MySQL 5.7 too, which has no `binlog_expire_logs_seconds`.
const BINLOGS: &str = "select variable_name, variable_value from performance_schema.global_variables \
     where variable_name in ('gtid_purged', 'binlog_expire_logs_seconds', 'expire_logs_days', 'server_uuid')";

impl Source {
    /// Takes the position for unknown where a tablet of the shard became primary after the one that was asked, as in the middle
    /// of an EmergencyReparentShard.
    fn forget_replaced(&mut self, asked: &Keyspace, tablets: &BTreeMap<String, Vec<Tablet>>) {
        for shard in &mut self.shards {
            let tablets = tablets.get(&shard.name).map(Vec::as_slice).unwrap_or_default();
            let asked = asked.shards.iter().find(|asked| asked.name == shard.name);
            if let Some(why) = asked.and_then(|asked| asked.later_primary(tablets)) {
                shard.position = Err(why.to_string());
            }
        }
    }
}

/// Asks the primaries of a source: three waves, or four when the mount's record is to be read too; three more when streams
/// seem to get nothing.
///
/// # Errors
/// A text for people when its topology cannot be read. What is not told of the rest is missing.
pub async fn read(context: &Context, ask: &Ask, record: Option<&ExternalVitessCluster>) -> Result<Source, String> {
    let topology = async {
        let record = match record {
            Some(record) => record.clone(),
            None => clusters::mount(context, &ask.mount).await.map_err(|e| e.to_string())?.value,
        };
        let topo = clusters::open(context, &ask.mount, &record).await.map_err(|e| e.to_string())?;
        let (records, cells, created) = shards(&topo, ask).await?;
        Ok((topo, records, cells, created))
    };
    let (topo, records, cells, created) = bounded(ask.within, topology).await?;
    let names: Vec<&str> = records.iter().map(topo::shard::name).collect();
    let tablets = tablets(&ask.keyspace, &names, &cells, ask.within);
    let answers = async {
        let primaries = Keyspace::with_primaries(&ask.keyspace, records.clone(), cells.clone());
        // a cell that says nothing is left out before that, and keeps no other from telling
        let primaries = deadline::within(Some(deadline::now() + ask.within), primaries);
        let asked = bounded(ask.within * 5 / 4, async { primaries.await.map_err(|e| e.to_string()) }).await?;
        let asked = in_use(asked, ask);
        Ok::<_, String>((answers(context, ask, &topo, &asked).await, asked))
    };
    let (tablets, answers) = join(tablets, answers).await;
    let (mut source, asked) = answers?;
    source.forget_replaced(&asked, &tablets);
    Ok(Source { created, ..source })
}

/// What the primaries and the cells say.
async fn answers(context: &Context, ask: &Ask, topo: &Topo, asked: &Keyspace) -> Source {
    let positions = join_all(asked.shards.iter().map(|shard| async {
        let primary = shard.primary().map_err(|e| e.to_string());
        let (position, binlogs) = match primary {
            Ok(on) => join(position(context, asked, on, ask.within), binlogs(context, on, ask.within)).await,
            Err(why) => (Err(why), Vec::new()),
        };
        let told = SourceShard {
            name: shard.name.clone(),
            range: shard.range().cloned(),
            serves: shard.record.value.is_primary_serving,
            position,
            purged: None,
            keeps: None,
            server: None,
        };
        told.with(binlogs)
    }));
    let primaries: Vec<Tablet> = asked.shards.iter().filter_map(|shard| shard.primary.clone()).collect();
    let columns = async {
        let first = primaries.first().filter(|_| !ask.tables.is_empty())?;
        let columns = column_reads::columns(context, first, &ask.tables);
        bounded(ask.within, async { columns.await.map_err(|e| e.to_string()) }).await.ok()
    };
    let sizes = async {
        if !ask.sizes {
            return None;
        }
        let total = sizes_now::total(context, &primaries);
        bounded(ask.within, async { total.await.map_err(|e| e.to_string()) }).await.ok()
    };
    let inventory = async {
        let first = primaries.first().filter(|_| ask.inventory)?;
        bounded(ask.within, async { inventory(context, first).await.map_err(|e| e.to_string()) }).await.ok()
    };
    let serving = serving(&asked.cells, ask.within);
    let replicating = async {
        let shards = positions.await;
        let around = SourceTopology { topo, keyspace: asked, target: &ask.target };
        let stalled = replicas::look(context, &around, &ask.streams, &shards, ask.within).boxed().await;
        (shards, stalled)
    };
    let ((mut shards, stalled), columns, sizes, inventory, (serving, unread)) =
        join5(replicating, columns, sizes, inventory, serving).await;
    let missing = ask.shards.iter().filter(|name| !asked.shards.iter().any(|shard| shard.name == **name));
    shards.extend(missing.map(|name| SourceShard {
        name: name.clone(),
        range: topo::shard::parse_name(name).ok().flatten(),
        serves: false,
        position: Err(format!("shard {}/{name} is not in the source's topology", ask.keyspace)),
        purged: None,
        keeps: None,
        server: None,
    }));
    Source { shards, columns, sizes, inventory, stalled, serving, unread, created: None }
}

/// The tablets of some shards in the cells that tell in time, by shard: two waves. The graph of a cell names its own tablets, so
/// one that says nothing keeps no other from telling.
async fn tablets(keyspace: &str, shards: &[&str], cells: &Cells, within: Duration) -> BTreeMap<String, Vec<Tablet>> {
    let reads = cells.names().map(|name| {
        bounded(within, async move {
            let cell = cells.only(&[name.to_owned()]).map_err(|e| e.to_string())?;
            let graphs = topo::tablet::replication(&cell, keyspace, shards).await;
            let aliases: Vec<TabletAlias> = graphs.into_values().flatten().collect();
            Ok(topo::tablet::reachable(&cell, &aliases).await.tablets)
        })
    });
    let mut found: BTreeMap<String, Vec<Tablet>> = BTreeMap::new();
    for tablet in join_all(reads).await.into_iter().flatten().flat_map(BTreeMap::into_values) {
        found.entry(tablet.shard.clone()).or_default().push(tablet);
    }
    found
}

/// The serving vschema of each cell that tells it in time, and why the others do not. One that has none is neither.
async fn serving(cells: &Cells, within: Duration) -> (Vec<SrvVSchema>, Vec<(String, String)>) {
    let reads = cells.iter().map(|(name, cell)| async move {
        let read = async {
            match topo::srv_vschema::get(cell).await {
                Err(error) if error.is_no_node() => Ok(None),
                read => read.map(Some).map_err(|e| e.to_string()),
            }
        };
        (name.to_owned(), bounded(within, read).await)
    });
    let (mut told, mut unread) = (Vec::new(), Vec::new());
    for (cell, read) in join_all(reads).await {
        match read {
            Ok(found) => told.extend(found.map(|record| record.value)),
            Err(why) => unread.push((cell, why)),
        }
    }
    (told, unread)
}

/// An answer within a bound, or a text that names the bound.
async fn bounded<T>(within: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(within, work).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", within.as_secs())),
    }
}

/// The shards that serve and those that are named: those that serve come first. Then the cells, and which making of the
/// keyspace's record it is.
async fn shards(topo: &Topo, ask: &Ask) -> Result<(Vec<Record<Shard>>, Cells, Option<i64>), String> {
    let path = paths::keyspace(&ask.keyspace);
    let keyspace = topo.global().find(&path);
    let read = try_join3(topo::shard::all(topo.global(), &ask.keyspace), topo.cells(), keyspace).await;
    let (mut records, cells, keyspace) = read.map_err(|e| e.to_string())?;
    let serving = topo::shard::serving(records.clone());
    let wanted: BTreeSet<&str> =
        serving.iter().map(topo::shard::name).chain(ask.shards.iter().map(String::as_str)).collect();
    records.retain(|record| wanted.contains(topo::shard::name(record)));
    records.sort_by_key(|record| !record.value.is_primary_serving);
    Ok((records, cells, keyspace.map(|node| node.created)))
}

/// Without shards that are not [in use](Keyspace::in_use) and that nobody named, as create reads the source.
fn in_use(mut asked: Keyspace, ask: &Ask) -> Keyspace {
    let ranges = asked.served();
    asked.shards.retain(|shard| {
        let may_serve = shard.is_alive() || shard.unread.is_some() || !shard.overlaps(&ranges);
        may_serve || ask.names(&shard.name)
    });
    asked
}

/// What a primary has executed.
async fn position(context: &Context, source: &Keyspace, on: &Tablet, within: Duration) -> Result<Position, String> {
    let answer = async {
        let answer = context.tablets.primary_position(on, PrimaryPositionRequest {});
        answer.await.map_err(|e| e.to_string())
    };
    let position = Position::parse(&bounded(within, answer).await?.position);
    match &position {
        position if position.is_empty() => {
            Err("its primary tells no position: it keeps no record of its changes".into())
        }
        Position::File { .. } => {
            // the stream may read from another tablet, whose binlogs have other names and offsets
            let alone = async {
                let shards = [on.shard.as_str()];
                let graph = topo::tablet::replication(&source.cells, &on.keyspace, &shards).await;
                let only = graph.into_values().flatten().all(|alias| Some(&alias) == on.alias.as_ref());
                match source.cells.left_out().first() {
                    Some((cell, why)) => Err(format!("which tablets the shard has in cell {cell} is not known: {why}")),
                    None => Ok(only),
                }
            };
            let text = || format!("{position} is a place in one server's binlogs, and the shard has several tablets");
            if bounded(within, alone).await? { Ok(position) } else { Err(text()) }
        }
        _ => Ok(position),
    }
}

/// Variables of the binlogs, with their values; none when the tablet does not tell.
async fn binlogs(context: &Context, on: &Tablet, within: Duration) -> Vec<(String, String)> {
    let read = async { context.tablets.read(on, BINLOGS.into(), 10).await.map_err(|e| e.to_string()) };
    let answer = bounded(within, read).await.map(|answer| rows::texts(&answer)).unwrap_or_else(|why| {
        tracing::debug!("the source did not tell of its binlogs: {why}");
        Vec::new()
    });
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?, row.next()?))
    };
    answer.into_iter().filter_map(pair).collect()
}

/// Names of all tables of a tablet's database.
async fn inventory(context: &Context, on: &Tablet) -> tablet::Result<BTreeSet<String>> {
    let answer = context.tablets.read(on, INVENTORY.into(), MAX_TABLES).await?;
    Ok(rows::texts(&answer).into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

impl SourceShard {
    fn with(mut self, binlogs: Vec<(String, String)>) -> Self {
        for (variable, value) in binlogs {
            match variable.as_str() {
                "gtid_purged" => self.purged = GtidSet::parse(&value).ok(),
                "server_uuid" => self.server = Some(value),
                "binlog_expire_logs_seconds" => self.keeps = value.parse().ok(),
                // of no effect while the one in seconds is set
                "expire_logs_days" if self.keeps.is_none_or(|seconds| seconds == 0) => {
                    self.keeps = value.parse::<i64>().ok().map(|days| days.saturating_mul(86_400));
                }
                _ => {}
            }
        }
        self
    }
}

/// A source that was asked by what a record tells, with where it was looked for.
pub struct AskedSource {
    pub(in crate::workflow) ask: Ask,
    pub(in crate::workflow) answer: std::result::Result<Source, String>,
}

/// Asks the source that a workflow's record tells of; `None` when no record tells.
pub async fn source_by_record(context: &Context, keyspace: &str, workflow: &str) -> Option<AskedSource> {
    let stored = record::find(context.topo.global(), keyspace, workflow).await.ok().flatten()?;
    let Facts { mount, source: (keyspace, shards), tables, .. } = stored.facts;
    if shards.is_empty() {
        return None;
    }
    let ask = Ask { mount, keyspace, shards, tables, within: SOURCE_TIMEOUT, ..Ask::default() };
    let answer = read(context, &ask, None).await;
    Some(AskedSource { ask, answer })
}

/// Source shards that are asked besides those that serve: those of the streams, which follow a source that is resharded,
/// and those of the record.
pub fn shards_to_ask(origin: &Origin, facts: Option<&Facts>) -> Vec<String> {
    let of_record = facts.iter().flat_map(|facts| &facts.source.1);
    let all: BTreeSet<&String> = origin.shards.iter().chain(of_record).collect();
    all.into_iter().cloned().collect()
}

/// What the source of a workflow is asked.
pub fn asked(found: &ExistingWorkflow) -> Ask {
    let origin = &found.origin;
    Ask {
        mount: origin.mount.clone(),
        keyspace: origin.keyspace.clone(),
        shards: shards_to_ask(origin, found.record.as_ref().map(|stored| &stored.facts)),
        tables: origin.tables.clone(),
        target: found.target.keyspace.name.clone(),
        within: SOURCE_TIMEOUT,
        ..Ask::default()
    }
}
