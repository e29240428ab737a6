//! Two clusters in memory: a source to be read, a target to migrate into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::{BoxFuture, Shared};
use prost::Message;
use tokio::time::Instant;
use vtmigrated::topo::{Conn, Dialer, EtcdOptions, Expect, Topo, Write, paths, srv_vschema};
use vtmigrated_proto::topodata::shard_replication::Node;
use vtmigrated_proto::topodata::{
    CellInfo, ExternalVitessCluster, Keyspace, Shard as Record, ShardReplication, Tablet, TabletAlias, TabletType,
    TopoConfig,
};
use vtmigrated_proto::vschema::{self, ColumnVindex, Vindex, keyspace};
use vtmigrated_proto::vttime::Time;

use crate::data::{Name, Shard, Table, covers, place};
use crate::kept_out::KeptOut;
use crate::operations::Outcome;
use crate::step::Op;
use crate::upset::Faulty;
use crate::way_back::Back;

pub const SOURCE: &str = "commerce";
pub const TARGET: &str = "customer";
pub const MOUNT: &str = "ext1";
pub const TABLES: [&str; 2] = ["t1", "t2"];
pub const CELL: &str = "zone1";
const ROOT: &str = "/vitess/global";
/// When walks begin, in seconds since the epoch.
const BEGINNING: i64 = 1_700_000_000;
/// Tablets that there may be in a walk.
pub const UIDS: std::ops::Range<u32> = 100..164;

/// How a walk begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    pub source_sharded: bool,
    pub target_sharded: bool,
    /// The tables are on the target already, empty.
    pub tables_there: bool,
    /// Somebody denied a table before.
    pub denied_before: bool,
    pub stop_after_copy: bool,
    /// Streams may read from replicas, too.
    pub from_replicas: bool,
    /// Which way out is tried first in the end.
    pub first_way_out: usize,
    /// Ways back are prepared.
    pub way_back: bool,
}

impl Setup {
    /// Types of tablets that streams may read from.
    pub fn tablet_types(self) -> Vec<i32> {
        let mut types = vec![TabletType::Primary.into()];
        if self.from_replicas {
            types.push(TabletType::Replica.into());
        }
        types
    }
}

/// A tablet's place and the denied tables that it acts on.
#[derive(Clone, Debug)]
pub struct Seat {
    pub shard: Name,
    pub denied: BTreeSet<String>,
}

pub struct State {
    pub setup: Setup,
    pub shards: BTreeMap<Name, Shard>,
    pub seats: BTreeMap<u32, Seat>,
    /// Tablets that do not answer.
    pub down: BTreeSet<u32>,
    /// Tablets that take calls and never answer.
    pub hung: BTreeSet<u32>,
    pub source_topology_down: bool,
    /// Streams hear of their source, but get nothing.
    pub stalled: bool,
    /// Tables that others denied, which stay denied.
    pub denied_by_others: BTreeSet<String>,
    /// Tables of shards that a stock program denied for a workflow that is there.
    pub denied_by_stock: BTreeSet<(Name, String)>,
    /// The same of workflows that are gone, and what was denied before: nothing tells whose these denials are.
    pub denied_by_nobody: BTreeSet<(Name, String)>,
    /// A stock program has ended a workflow.
    pub stock_deleted: bool,
    /// Tables of shards that users dropped while a workflow was there that no cancel of has begun.
    pub dropped_by_users: BTreeSet<(Name, String)>,
    /// Old primaries of the source that go on answering, with the number of events that they have.
    pub replaced: BTreeMap<u32, usize>,
    /// Nothing but our commands and writes of the source so far, and none of them was upset.
    pub pristine: bool,
    /// Last change of each row of the source.
    pub changes: BTreeMap<(String, i64), u64>,
    pub version: u64,
    pub violations: Vec<String>,
    pub next_row: i64,
    pub back: Back,
    pub kept_out: KeptOut,
    /// What another server began beside an operation.
    pub beside: Option<(Op, Shared<BoxFuture<'static, Outcome>>)>,
    next_uid: u32,
    begun: Instant,
}

pub struct World {
    state: Mutex<State>,
    pub dialer: Arc<Dialer>,
    /// The target's topology, which never fails.
    pub global: Arc<dyn Conn>,
    pub source: Arc<dyn Conn>,
}

impl World {
    pub async fn new(setup: Setup) -> Arc<Self> {
        let dialer = Dialer::new(EtcdOptions::default()).wrapping(Arc::new(|conn| Arc::new(Faulty(conn))));
        let state = State {
            setup,
            shards: BTreeMap::new(),
            seats: BTreeMap::new(),
            down: BTreeSet::new(),
            hung: BTreeSet::new(),
            source_topology_down: false,
            stalled: false,
            denied_by_others: BTreeSet::new(),
            denied_by_stock: BTreeSet::new(),
            denied_by_nobody: BTreeSet::new(),
            stock_deleted: false,
            dropped_by_users: BTreeSet::new(),
            replaced: BTreeMap::new(),
            pristine: true,
            changes: BTreeMap::new(),
            version: 0,
            violations: Vec::new(),
            next_row: 1,
            back: Back::default(),
            kept_out: KeptOut::default(),
            beside: None,
            next_uid: UIDS.start,
            begun: Instant::now(),
        };
        let global = dialer.open("memory", "target", ROOT).await.unwrap();
        let source = dialer.open("memory", "source", ROOT).await.unwrap();
        let world = Self { state: Mutex::new(state), dialer: Arc::new(dialer), global, source };
        world.make_keyspace(SOURCE, setup.source_sharded).await;
        world.make_keyspace(TARGET, setup.target_sharded).await;
        world.fill(setup);
        world.mount().await;
        if setup.denied_before {
            world.deny_before().await;
        }
        Arc::new(world)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn conn(&self, keyspace: &str) -> &Arc<dyn Conn> {
        if keyspace == SOURCE { &self.source } else { &self.global }
    }

    pub async fn cell(&self, keyspace: &str) -> Arc<dyn Conn> {
        let server = if keyspace == SOURCE { "source" } else { "target" };
        self.dialer.open("memory", server, "/vitess/zone1").await.unwrap()
    }

    /// A keyspace with its cell, shards, tablets and vschema.
    pub async fn make_keyspace(&self, name: &str, sharded: bool) {
        let server = self.conn(name).endpoint().1.to_owned();
        let info = CellInfo { server_address: server, root: "/vitess/zone1".into() };
        self.put(name, &paths::cell_info(CELL), &info).await;
        self.put(name, &paths::keyspace(name), &Keyspace::default()).await;
        self.put(name, &paths::vschema(name), &vschema(sharded)).await;
        let shards: &[&str] = if sharded { &["-80", "80-"] } else { &["0"] };
        for shard in shards {
            let primary = self.state().make_shard(name, shard);
            self.make_records(name, shard, primary).await;
        }
        let topo = Topo::open(Arc::clone(&self.dialer), "memory", self.conn(name).endpoint().1, ROOT).await.unwrap();
        srv_vschema::rebuild(self.conn(name), &topo.cells().await.unwrap()).await.unwrap();
    }

    /// The records of a shard, of its primary and of the replica that comes next.
    pub async fn make_records(&self, keyspace: &str, shard: &str, primary: u32) {
        let record = Record {
            primary_alias: Some(alias(primary)),
            key_range: vtmigrated::topo::shard::parse_name(shard).unwrap(),
            is_primary_serving: true,
            ..Record::default()
        };
        self.put(keyspace, &paths::shard(keyspace, shard), &record).await;
        let cell = self.cell(keyspace).await;
        let both = [primary, primary + 1];
        for uid in both {
            let kind = if uid == primary { TabletType::Primary } else { TabletType::Replica };
            put(&cell, &paths::tablet(&alias(uid)), &tablet(uid, keyspace, shard, kind, None)).await;
        }
        let nodes = both.map(|uid| Node { tablet_alias: Some(alias(uid)) }).to_vec();
        put(&cell, &paths::shard_replication(keyspace, shard), &ShardReplication { nodes }).await;
    }

    pub async fn mount(&self) {
        let config = TopoConfig { topo_type: "memory".into(), server: "source".into(), root: ROOT.into() };
        let record = ExternalVitessCluster { topo_config: Some(config) };
        self.put(TARGET, &paths::external_cluster(MOUNT), &record).await;
    }

    pub async fn put(&self, keyspace: &str, path: &str, record: &impl Message) {
        put(self.conn(keyspace), path, record).await;
    }

    /// The record of a shard; none while the keyspace is being deleted.
    pub async fn record(&self, keyspace: &str, shard: &str) -> Option<Record> {
        let node = self.conn(keyspace).get(&paths::shard(keyspace, shard)).await.ok()?;
        Some(Record::decode(node.value).unwrap())
    }

    fn fill(&self, setup: Setup) {
        let mut state = self.state();
        for name in state.of(SOURCE) {
            state
                .shards
                .get_mut(&name)
                .unwrap()
                .tables
                .extend(TABLES.map(|table| (table.to_owned(), Table { made: BEGINNING - 1, ..Table::default() })));
        }
        for table in TABLES {
            (0..5).for_each(|_| state.source_insert(table));
        }
        for name in state.of(TARGET).into_iter().filter(|_| setup.tables_there) {
            let of_user = || Table { of_user: true, made: BEGINNING - 1, ..Table::default() };
            state.shards.get_mut(&name).unwrap().tables.extend(TABLES.map(|table| (table.to_owned(), of_user())));
        }
    }
}

impl State {
    pub fn is_down(&self, uid: u32) -> bool {
        self.down.contains(&uid)
    }

    /// True when no stream can read from a shard.
    pub fn is_silent(&self, shard: &Shard) -> bool {
        let silent = |uid: u32| self.is_down(uid) || self.hung.contains(&uid);
        silent(shard.primary) && (!self.setup.from_replicas || silent(other(shard.primary)))
    }

    /// The shards of a keyspace.
    pub fn of(&self, keyspace: &str) -> Vec<Name> {
        self.shards.keys().filter(|name| name.0 == keyspace).cloned().collect()
    }

    /// The primaries of a keyspace's shards.
    pub fn primaries(&self, keyspace: &str) -> Vec<u32> {
        self.of(keyspace).iter().map(|name| self.shards[name].primary).collect()
    }

    pub fn serving(&self, keyspace: &str) -> Vec<Name> {
        self.of(keyspace).into_iter().filter(|name| self.shards[name].serving).collect()
    }

    /// Two tablets and their MySQL; answers the primary.
    pub fn make_shard(&mut self, keyspace: &str, shard: &str) -> u32 {
        let (name, primary) = ((keyspace.to_owned(), shard.to_owned()), self.next_uid);
        self.next_uid += 2;
        assert!(UIDS.contains(&(primary + 1)));
        self.shards.insert(name.clone(), Shard::new(primary, primary));
        for uid in [primary, primary + 1] {
            self.seats.insert(uid, Seat { shard: name.clone(), denied: BTreeSet::new() });
        }
        primary
    }

    /// When a tablet becomes primary.
    pub fn term(&mut self) -> Option<Time> {
        Some(Time { seconds: i64::try_from(self.next_version()).unwrap(), nanoseconds: 0 })
    }

    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// What the clocks of all MySQL servers say: seconds since the epoch, and microseconds past them.
    pub fn clock(&self) -> (i64, u32) {
        let since = self.begun.elapsed();
        (BEGINNING + i64::try_from(since.as_secs()).unwrap(), since.subsec_micros())
    }

    pub fn violate(&mut self, text: String) {
        self.violations.push(text);
    }

    /// Whether a shard can still be made.
    pub fn has_room(&self) -> bool {
        self.next_uid + 8 < UIDS.end
    }

    /// The serving shard that a row belongs to.
    pub fn home(&self, keyspace: &str, id: i64) -> Option<Name> {
        self.serving(keyspace).into_iter().find(|name| covers(&name.1, place(id)))
    }
}

fn vschema(sharded: bool) -> vschema::Keyspace {
    if !sharded {
        return vschema::Keyspace::default();
    }
    let hash = Vindex { r#type: "hash".into(), ..Vindex::default() };
    let by_id = ColumnVindex { column: "id".into(), name: "hash".into(), ..ColumnVindex::default() };
    let table = vschema::Table { column_vindexes: vec![by_id], ..vschema::Table::default() };
    vschema::Keyspace {
        sharded,
        vindexes: vec![keyspace::VindexesEntry { key: "hash".into(), value: Some(hash) }],
        tables: TABLES.map(|key| keyspace::TablesEntry { key: key.into(), value: Some(table.clone()) }).to_vec(),
        ..vschema::Keyspace::default()
    }
}

/// Those of the tables whose bits are set.
pub fn chosen(which: usize) -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().enumerate().filter(move |(at, _)| (which >> at) & 1 == 1).map(|(_, table)| table)
}

pub fn alias(uid: u32) -> TabletAlias {
    TabletAlias { cell: CELL.into(), uid }
}

/// The other tablet of a shard.
pub fn other(uid: u32) -> u32 {
    if uid.is_multiple_of(2) { uid + 1 } else { uid - 1 }
}

/// A tablet's record; `term` is when it became primary.
pub fn tablet(uid: u32, keyspace: &str, shard: &str, kind: TabletType, term: Option<Time>) -> Tablet {
    Tablet {
        alias: Some(alias(uid)),
        hostname: "light".into(),
        port_map: [("grpc".to_owned(), i32::try_from(uid).unwrap())].into(),
        keyspace: keyspace.into(),
        shard: shard.into(),
        key_range: vtmigrated::topo::shard::parse_name(shard).unwrap(),
        r#type: kind.into(),
        primary_term_start_time: term,
        ..Tablet::default()
    }
}

pub async fn put(conn: &Arc<dyn Conn>, path: &str, record: &impl Message) {
    conn.write_one(Write::put(path, record.encode_to_vec(), Expect::Any), None).await.unwrap();
}
