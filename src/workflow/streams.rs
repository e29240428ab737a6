//! The streams of a keyspace's workflows, as its primaries report them.

mod frozen;
mod heard;
mod in_use;
mod rules;
mod tablets;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all, try_join};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::tabletmanagerdata::{
    ReadVReplicationWorkflowResponse as Found, ReadVReplicationWorkflowsRequest,
};
use vtmigrated_proto::topodata::{KeyRange, Shard, Tablet, TabletAlias, TabletType};

use crate::context::Context;
use crate::error::Reason;
use crate::tablet;
use crate::topo::tablet::{Reached, began};
use crate::topo::{self, Cells, Record, Topo, paths};
use crate::workflow::{Error, Result};

pub use frozen::{FROZEN, all_frozen, any_frozen, ids, is_frozen};
pub use heard::{lag, now};
pub use rules::{EXCLUDE, brought, excluded, included, tables};

/// A keyspace's shards with their primaries, as read at one moment.
pub struct Keyspace {
    pub name: String,
    pub cells: Cells,
    pub shards: Vec<TargetShard>,
    /// Shards that are none of `shards` for they were [left out](Self::answering), and why.
    pub(super) silent: Vec<(String, tablet::Error)>,
}

/// One shard. `primary` is absent when the record names none or the tablet's record is not there.
pub struct TargetShard {
    pub name: String,
    pub record: Record<Shard>,
    pub primary: Option<Tablet>,
    /// Full key of the primary's tablet record.
    pub missing: String,
    /// Why that record could not be read: its cell did not answer, or it cannot be decoded.
    pub unread: Option<topo::Error>,
}

/// A workflow on one shard.
pub struct ShardWorkflow {
    /// Index into [`Keyspace::shards`].
    pub shard: usize,
    pub found: Found,
}

impl TargetShard {
    /// The shard's key range.
    pub fn range(&self) -> Option<&KeyRange> {
        self.record.value.key_range.as_ref()
    }

    /// Tables that the shard's record denies.
    pub fn denied(&self) -> BTreeSet<String> {
        topo::shard::denied(&self.record.value).into_iter().collect()
    }

    /// The first of some tables that it does not deny: clients may have written to it.
    pub fn first_not_denied<'t>(&self, tables: impl IntoIterator<Item = &'t String>) -> Option<&'t String> {
        let denied = self.denied();
        tables.into_iter().find(|table| !denied.contains(*table))
    }

    /// Why the tablet that the shard's record names may not be its primary any more: one of these says that it became primary
    /// later. So it is in the middle of a reparent: a tablet that takes over writes its own record first, and then that of its
    /// shard (Vitess 22.0.4 and 24.0.4, `shard_sync.go`).
    pub fn later_primary(&self, tablets: &[Tablet]) -> Option<Error> {
        let term = |tablet: &Tablet| began(tablet.primary_term_start_time.as_ref());
        let named = self.record.value.primary_alias.as_ref()?;
        let since = self.primary.as_ref().and_then(term).max(began(self.record.value.primary_term_start_time.as_ref()));
        // a graph may name a tablet that has moved on to another shard
        let is_here = |tablet: &Tablet| {
            let same = self.primary.as_ref().is_none_or(|primary| primary.keyspace == tablet.keyspace);
            same && tablet.shard == self.name && tablet.r#type() == TabletType::Primary
        };
        let is_later =
            |tablet: &&Tablet| is_here(tablet) && tablet.alias.as_ref() != Some(named) && term(tablet) > since;
        let later = tablets.iter().filter(is_later).max_by_key(|tablet| term(tablet))?;
        let (named, later) = (paths::alias_text(named), tablet::alias(later));
        let text = format!(
            "shard {} is being reparented: its record names {named} as the primary, and {later} says that it became primary later",
            self.name
        );
        let help = format!(
            "run the command again when that has ended; if {later} is gone for good: DeleteTablets --allow-primary {later}"
        );
        Some(Error::precondition(Reason::PRIMARY_CHANGES, text, help))
    }

    /// The primary.
    ///
    /// # Errors
    /// `shard has no primary: <shard>`, the missing tablet record, that its cell cannot be reached, or that it was shut down.
    pub fn primary(&self) -> Result<&Tablet> {
        if let Some(tablet) = self.primary.as_ref().filter(|tablet| tablet::is_shut_down(tablet)) {
            let (alias, shard) = (tablet::alias(tablet), &tablet.shard);
            return Err(Error::precondition(
                Reason::PRIMARY_SHUT_DOWN,
                format!("tablet is shutdown: {alias}, the primary of shard {}/{shard}", tablet.keyspace),
                format!("start it again, or elect another primary: EmergencyReparentShard {}/{shard}", tablet.keyspace),
            ));
        }
        self.primary.as_ref().ok_or_else(|| match (&self.record.value.primary_alias, &self.unread) {
            (Some(_), Some(why)) => {
                let what = match why {
                    topo::Error::BadData { .. } => "has a record that cannot be decoded",
                    _ => "is in a cell that is out of reach",
                };
                Error::Topo(why.clone().wrap(format!("the primary of shard {} {what}", self.name)))
            }
            (Some(alias), None) => Error::precondition(
                Reason::PRIMARY_WITHOUT_RECORD,
                format!(
                    "{}: the record of the primary of shard {}",
                    topo::Error::NoNode(self.missing.clone()),
                    self.name
                ),
                format!("start the tablet {}, or elect another primary", paths::alias_text(alias)),
            ),
            (None, _) => Error::precondition(
                Reason::SHARD_WITHOUT_PRIMARY,
                format!("shard has no primary: {}", self.name),
                "elect one with PlannedReparentShard, then run the command again",
            ),
        })
    }
}

impl Keyspace {
    /// Reads all shards in use and their primaries' records: two waves of round trips.
    pub async fn load(topo: &Topo, keyspace: &str) -> Result<Self> {
        let (records, cells) = try_join(topo::shard::all(topo.global(), keyspace), topo.cells()).await?;
        Ok(Self::with_primaries(keyspace, records, cells).await?.in_use())
    }

    /// Reads the primaries of shards that were read already: one wave.
    pub async fn with_primaries(keyspace: &str, records: Vec<Record<Shard>>, cells: Cells) -> Result<Self> {
        let aliases: Vec<TabletAlias> = records.iter().filter_map(|r| r.value.primary_alias.clone()).collect();
        let Reached { tablets, undecodable } = topo::tablet::reachable(&cells, &aliases).await;
        let left_out = cells.left_out();
        let shards = records.into_iter().map(|record| {
            let alias = record.value.primary_alias.as_ref().map(paths::alias_text);
            let primary = alias.as_ref().and_then(|alias| tablets.get(alias).cloned());
            let path = record.value.primary_alias.as_ref().map(|alias| (paths::tablet(alias), cells.conn(&alias.cell)));
            let missing = path.map(|(path, cell)| cell.map_or_else(|_| path.clone(), |cell| cell.full(&path)));
            let name = topo::shard::name(&record).to_owned();
            let cell = record.value.primary_alias.as_ref().map(|alias| alias.cell.as_str());
            let silent = || left_out.iter().find(|(name, _)| cell == Some(name)).map(|(_, why)| why.clone());
            let unread = alias.and_then(|alias| undecodable.get(&alias).cloned()).or_else(silent);
            TargetShard { name, record, primary, missing: missing.unwrap_or_default(), unread }
        });
        let shards = shards.collect();
        Ok(Self { name: keyspace.to_owned(), cells, shards, silent: Vec::new() })
    }

    /// Those of some tables that nobody denies on each shard yet.
    pub fn not_denied(&self, tables: &[String]) -> Vec<(String, Vec<String>)> {
        let on = |shard: &TargetShard| {
            let denied = shard.denied();
            (shard.name.clone(), tables.iter().filter(|table| !denied.contains(*table)).cloned().collect())
        };
        self.shards.iter().map(on).collect()
    }

    /// Shards and primaries.
    ///
    /// # Errors
    /// The first shard without a primary.
    pub fn primaries(&self) -> Result<Vec<(&TargetShard, &Tablet)>> {
        self.shards.iter().map(|shard| Ok((shard, shard.primary()?))).collect()
    }

    /// Reads workflows of all shards in parallel: one wave. An empty `names` reads all.
    ///
    /// # Errors
    /// Those of all shards together.
    pub async fn workflows(&self, context: &Context, names: &[String]) -> Result<Vec<ShardWorkflow>> {
        self.primaries()?;
        let (found, silent) = self.workflows_told(context, names).await;
        let errors = silent.into_iter().map(|(_, error)| error).collect();
        Error::several(errors).map_or(Ok(found), Err)
    }

    /// The same of the shards whose primaries tell; and the places of the others, each with the reason.
    pub async fn workflows_told(
        &self,
        context: &Context,
        names: &[String],
    ) -> (Vec<ShardWorkflow>, Vec<(usize, Error)>) {
        let request = ReadVReplicationWorkflowsRequest { include_workflows: names.to_vec(), ..Default::default() };
        let reads = self.shards.iter().map(|shard| {
            let request = request.clone();
            async move { Ok::<_, Error>(context.tablets.read_v_replication_workflows(shard.primary()?, request).await?) }
        });
        let reads: Vec<_> = reads.collect();
        let (mut told, mut silent) = (Vec::new(), Vec::new());
        for (shard, answer) in join_all(reads).await.into_iter().enumerate() {
            match answer {
                Ok(answer) => {
                    let here = answer.workflows.into_iter().filter(|w| !w.streams.is_empty());
                    told.extend(here.map(|found| ShardWorkflow { shard, found }));
                }
                Err(error) => silent.push((shard, error)),
            }
        }
        (told, silent)
    }
}

/// A keyspace together with the replicas of its shards, for refreshing them.
pub struct KeyspaceTablets {
    pub keyspace: Keyspace,
    /// Every tablet of each shard that has a hostname, primaries included; the key is the shard.
    pub tablets: BTreeMap<String, Vec<Tablet>>,
}

impl KeyspaceTablets {
    /// Reads the primaries, replication graphs and all tablets of shards that were read already: two waves.
    pub async fn from_records(keyspace: &str, records: Vec<Record<Shard>>, cells: Cells) -> Result<Self> {
        let graphed = ShardAliases::read(keyspace, records, cells).await?;
        let tablets = graphed.tablets().await?;
        Ok(Self { keyspace: graphed.keyspace, tablets })
    }

    /// Refuses to change a keyspace of which a shard is being reparented: what is done on the primary that its record names
    /// is not done on the one that takes over, whose streams go on.
    ///
    /// # Errors
    /// `PRIMARY_CHANGES`.
    pub fn refuse_reparents(&self) -> Result<()> {
        let later = |shard: &TargetShard| {
            let tablets = self.tablets.get(&shard.name).map(Vec::as_slice).unwrap_or_default();
            shard.later_primary(tablets)
        };
        self.keyspace.shards.iter().find_map(later).map_or(Ok(()), Err)
    }
}

/// A keyspace with the aliases of its replicas.
pub struct ShardAliases {
    pub keyspace: Keyspace,
    graphs: BTreeMap<String, Vec<TabletAlias>>,
}

impl ShardAliases {
    /// Reads primaries and replication graphs of shards that were read already: one wave.
    pub async fn read(keyspace: &str, records: Vec<Record<Shard>>, cells: Cells) -> Result<Self> {
        let names: Vec<String> = records.iter().map(|r| topo::shard::name(r).to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let graphs = topo::tablet::replication(&cells, keyspace, &names);
        let loading = Keyspace::with_primaries(keyspace, records, cells.clone());
        let (keyspace, graphs) = join(loading, graphs).await;
        Ok(Self { keyspace: keyspace?, graphs })
    }

    /// Every tablet of each shard that has a hostname, primaries included: one wave.
    pub async fn tablets(&self) -> Result<BTreeMap<String, Vec<Tablet>>> {
        Ok(tablets::of(&self.keyspace, &self.graphs).await)
    }
}

/// The streams of a shard, given by index.
pub fn on(rows: &[ShardWorkflow], shard: usize) -> impl Iterator<Item = &Stream> {
    rows.iter().filter(move |row| row.shard == shard).flat_map(|row| &row.found.streams)
}

/// Ids of streams, by the name of their shard.
pub type Listed = Vec<(String, Vec<i32>)>;

/// The ids of some streams.
pub fn list(target: &Keyspace, rows: &[ShardWorkflow]) -> Listed {
    let on = |row: &ShardWorkflow| {
        let shard = target.shards.get(row.shard)?;
        Some((shard.name.clone(), row.found.streams.iter().map(|stream| stream.id).collect()))
    };
    rows.iter().filter_map(on).collect()
}

/// Where the streams of a workflow come from, and what they carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub keyspace: String,
    /// Name of the mount; empty for a workflow inside the cluster.
    pub mount: String,
    /// Source shards, ascending.
    pub shards: Vec<String>,
    /// Tables, ascending.
    pub tables: Vec<String>,
}

/// The origin that all streams of a workflow share.
///
/// # Errors
/// Stock's texts for streams that disagree about source keyspace or tables; a like one for streams of several mounts, of
/// which only one would be asked for its positions.
pub fn origin(target: &str, streams: &[&ShardWorkflow]) -> Result<Origin> {
    let mut origin: Option<Origin> = None;
    let workflow = streams.first().map(|row| row.found.workflow.as_str()).unwrap_or_default();
    let help =
        format!("somebody has changed its streams, see: Workflow --keyspace {target} show --workflow {workflow}");
    let mismatch = |text: String| Error::precondition(Reason::STREAMS_DISAGREE, text, help.as_str());
    for source in streams.iter().flat_map(|s| &s.found.streams).filter_map(|s| s.bls.as_ref()) {
        let tables = rules::named(source);
        if tables.is_empty() {
            return Err(mismatch(format!("missing filters for {target}/{}", source.shard)));
        }
        match &mut origin {
            None => {
                origin = Some(Origin {
                    keyspace: source.keyspace.clone(),
                    mount: source.external_cluster.clone(),
                    shards: vec![source.shard.clone()],
                    tables: tables.into_iter().map(str::to_owned).collect(),
                });
            }
            Some(known) if known.keyspace != source.keyspace => {
                let (a, b) = (&known.keyspace, &source.keyspace);
                return Err(mismatch(format!("source keyspaces are mismatched across streams: {a} vs {b}")));
            }
            Some(known) if known.mount != source.external_cluster => {
                let (a, b) = (&known.mount, &source.external_cluster);
                return Err(mismatch(format!("source clusters are mismatched across streams: {a} vs {b}")));
            }
            Some(known) if known.tables != tables => {
                let (a, b) = (known.tables.join(" "), tables.join(" "));
                return Err(mismatch(format!("table lists are mismatched across streams: [{a}] vs [{b}]")));
            }
            Some(known) => known.shards.push(source.shard.clone()),
        }
    }
    let mut origin = origin.unwrap_or_default();
    origin.shards.sort();
    origin.shards.dedup();
    Ok(origin)
}

/// What the streams of a workflow bring together, whether they agree or not: the first one's keyspace and mount, and the shards
/// and tables of all.
pub fn union(streams: &[&ShardWorkflow]) -> Origin {
    let mut origin = Origin::default();
    for source in streams.iter().flat_map(|s| &s.found.streams).filter_map(|s| s.bls.as_ref()) {
        if origin.keyspace.is_empty() {
            origin.keyspace.clone_from(&source.keyspace);
            origin.mount.clone_from(&source.external_cluster);
        }
        origin.shards.push(source.shard.clone());
        origin.tables.extend(tables(source));
    }
    for list in [&mut origin.shards, &mut origin.tables] {
        list.sort();
        list.dedup();
    }
    origin
}

/// True for a stream that has copied something, or may have.
pub fn has_copied(stream: &Stream) -> bool {
    !stream.pos.is_empty() || stream.rows_copied > 0
}

/// True for a stream that goes on where another one was, or may: it has a position and has copied nothing.
pub fn may_have_taken_over(stream: &Stream) -> bool {
    !stream.pos.is_empty() && stream.rows_copied == 0
}

/// A stream's message; bytes that are not UTF-8 are replaced.
pub fn message(stream: &Stream) -> String {
    String::from_utf8_lossy(&stream.message).into_owned()
}

/// The state that vtctld shows: a message with the word error is one, a stream with copy states is copying (stock's
/// rules, less the one about lag that never fires).
pub fn shown_state(stream: &Stream, copying: bool) -> &'static str {
    if message(stream).to_lowercase().contains("error") {
        return "Error";
    }
    match stream.state() {
        State::Running if copying => "Copying",
        state => state.as_str_name(),
    }
}

#[cfg(test)]
mod tests;
