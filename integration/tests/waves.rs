//! How many round trips of an operation depend on each other, whatever the number of shards and tables: counted on the
//! spans of a real server whose topology operations and tablet calls all take the same time.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use integration::{
    client::{self, Vtctld},
    cluster::topology::GLOBAL_ROOT,
    farm::{Farm, Settings, Shape, Side},
    life::{MOUNT, WORKFLOW, migrate},
};
use tokio::net::TcpListener;
use tracing::{
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};
use vtmigrated::{app, config::Config};
use vtmigrated_proto::vtctldata::*;

/// One topology operation or tablet call.
#[derive(Clone, Debug)]
struct Trip {
    text: String,
    start: Instant,
    end: Option<Instant>,
}

/// All trips, and the places of those under way by the ids of their spans.
type Kept = (Vec<Trip>, HashMap<u64, usize>);

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Kept>>);

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let name = attributes.metadata().name();
        if !attributes.metadata().target().starts_with("vtmigrated") || !["topo", "tablet"].contains(&name) {
            return;
        }
        let mut text = Text(name.to_owned());
        attributes.record(&mut text);
        let mut kept = self.0.lock().unwrap();
        let number = kept.0.len();
        kept.0.push(Trip { text: text.0, start: Instant::now(), end: None });
        kept.1.insert(id.into_u64(), number);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut kept = self.0.lock().unwrap();
        if let Some(number) = kept.1.remove(&id.into_u64()) {
            kept.0[number].end = Some(Instant::now());
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() != "server.address" {
            let _ = write!(self.0, " {value:?}");
        }
    }
}

static RECORDER: LazyLock<Recorder> = LazyLock::new(|| {
    let recorder = Recorder::default();
    tracing_subscriber::registry().with(recorder.clone()).init();
    recorder
});

/// The longest chain of trips of which each began when the one before had ended: its length, and how many trips of which
/// kind are at each place of it.
fn waves(trips: &[Trip]) -> Vec<Vec<String>> {
    let mut trips: Vec<&Trip> = trips.iter().collect();
    trips.sort_by_key(|trip| trip.start);
    let mut depths: Vec<usize> = Vec::new();
    for (number, trip) in trips.iter().enumerate() {
        let before = trips[..number].iter().zip(&depths).filter(|(other, _)| other.end.unwrap() <= trip.start);
        depths.push(1 + before.map(|(_, depth)| *depth).max().unwrap_or(0));
    }
    let mut waves = vec![Vec::new(); depths.iter().copied().max().unwrap_or(0)];
    for (trip, depth) in trips.iter().zip(depths) {
        waves[depth - 1].push(trip.text.clone());
    }
    waves
}

struct Rig {
    farm: Farm,
    client: Vtctld,
    stop: tokio::sync::oneshot::Sender<()>,
    server: tokio::task::JoinHandle<Result<(), app::Error>>,
}

impl Rig {
    async fn start(shards: usize, tables: usize, delay: Duration) -> Self {
        LazyLock::force(&RECORDER);
        let shape = Shape { shards, source_shards: Some(1), tables, ..Shape::default() };
        let farm = Farm::start(Settings { shape, slow_topology: true, ..Settings::default() }).await.unwrap();
        let flags = ["vtmigrated".to_owned(), "--watch-interval=0".to_owned()]
            .into_iter()
            .chain(farm.cluster(Side::Target).flags())
            .map(Into::into);
        let config = Config::load(flags, |_| None).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(app::serve(config, listener, None, async { drop(stopped.await) }));
        let client = client::vtctld(&address).await.unwrap();
        let mut rig = Self { farm, client, stop, server };
        // every connection is warm from here on
        rig.register().await;
        rig.create().await;
        rig.status().await;
        rig.show().await;
        rig.vdiff_create().await;
        rig.cancel().await;
        rig.create().await;
        rig.complete().await;
        rig.unregister_after_completion().await;
        rig.farm.cluster(Side::Target).drop_tables();
        rig.farm.delay(delay);
        rig
    }

    async fn register(&mut self) {
        let request = MountRegisterRequest {
            topo_type: "etcd2".to_owned(),
            topo_server: self.farm.cluster(Side::Source).topology(),
            topo_root: GLOBAL_ROOT.to_owned(),
            name: MOUNT.to_owned(),
        };
        self.client.mount_register(request).await.unwrap();
    }

    async fn unregister_after_completion(&mut self) {
        // the mount stays known to the server's connections; only its record goes, so that register writes it again
        self.client.mount_unregister(MountUnregisterRequest { name: MOUNT.to_owned() }).await.unwrap();
    }

    async fn create(&mut self) {
        let request = MigrateCreateRequest { cells: vec!["zone1".to_owned()], ..migrate("commerce", "customer") };
        self.client.migrate_create(request).await.unwrap();
    }

    async fn status(&mut self) {
        let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = WorkflowStatusRequest { keyspace, workflow, ..WorkflowStatusRequest::default() };
        let answer = self.client.workflow_status(request).await.unwrap().into_inner();
        assert!(!answer.shard_streams.is_empty());
    }

    async fn show(&mut self) {
        let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = GetWorkflowsRequest { keyspace, workflow, include_logs: true, ..GetWorkflowsRequest::default() };
        assert_eq!(self.client.get_workflows(request).await.unwrap().into_inner().workflows.len(), 1);
    }

    async fn vdiff_create(&mut self) {
        let (target_keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = VDiffCreateRequest { workflow, target_keyspace, ..VDiffCreateRequest::default() };
        assert_eq!(self.client.v_diff_create(request).await.unwrap().into_inner().uuid.len(), 36);
    }

    async fn vdiff_show(&mut self) {
        let (target_keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = VDiffShowRequest { workflow, target_keyspace, arg: "last".to_owned() };
        assert!(!self.client.v_diff_show(request).await.unwrap().into_inner().tablet_responses.is_empty());
    }

    async fn cancel(&mut self) {
        let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = WorkflowDeleteRequest { keyspace, workflow, ..WorkflowDeleteRequest::default() };
        self.client.workflow_delete(request).await.unwrap();
    }

    async fn complete(&mut self) {
        let (target_keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
        let request = MoveTablesCompleteRequest { workflow, target_keyspace, ..MoveTablesCompleteRequest::default() };
        self.client.move_tables_complete(request).await.unwrap();
    }

    async fn finish(self) {
        drop(self.stop);
        drop(self.client);
        self.server.await.unwrap().unwrap();
        self.farm.finish().await.unwrap();
    }
}

/// What was recorded since the last call.
async fn taken() -> Vec<Trip> {
    // the span of a last operation ends a moment after its answer
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut kept = RECORDER.0.lock().unwrap();
    let trips = std::mem::take(&mut kept.0);
    kept.1.clear();
    trips.into_iter().filter(|trip| trip.end.is_some()).collect()
}

macro_rules! count {
    ($rig:ident . $operation:ident, $counts:ident) => {{
        taken().await;
        $rig.$operation().await;
        let trips = taken().await;
        let seen = |kind: &str| trips.iter().any(|trip| trip.text.starts_with(kind));
        assert!(seen("topo "), "no operation of a topology is seen in {}", stringify!($operation));
        let waves = waves(&trips);
        println!("{}: {} waves", stringify!($operation), waves.len());
        for (number, wave) in waves.iter().enumerate() {
            let mut kinds: HashMap<String, usize> = HashMap::new();
            for text in wave {
                let words: Vec<&str> = text.split(' ').take(2).collect();
                *kinds.entry(words.join(" ")).or_default() += 1;
            }
            println!("  {}: {} e.g. {}", number + 1, format!("{kinds:?}").replace('\\', ""), wave[0]);
        }
        $counts.push((stringify!($operation), waves.len()));
    }};
}

async fn count(shards: usize, tables: usize, delay: Duration) -> Vec<(&'static str, usize)> {
    let mut rig = Rig::start(shards, tables, delay).await;
    let mut counts = Vec::new();
    count!(rig.register, counts);
    count!(rig.create, counts);
    count!(rig.status, counts);
    count!(rig.show, counts);
    count!(rig.vdiff_create, counts);
    count!(rig.vdiff_show, counts);
    count!(rig.cancel, counts);
    rig.create().await;
    count!(rig.complete, counts);
    // the tables stay: this time create has to see that they are empty
    rig.farm.cluster(Side::Target).empty_tables();
    count!(rig.create, counts);
    rig.cancel().await;
    rig.finish().await;
    counts
}

/// A size that somebody asks for, as `WAVES=256x10000`, and the time of a trip then, which must be longer than what the server
/// computes between two of them: `WAVES_DELAY`, in milliseconds.
fn asked() -> Option<(usize, usize, Duration)> {
    let size = std::env::var("WAVES").ok()?;
    let (shards, tables) = size.split_once('x').unwrap();
    let delay = std::env::var("WAVES_DELAY").map_or(1000, |delay| delay.parse().unwrap());
    Some((shards.parse().unwrap(), tables.parse().unwrap(), Duration::from_millis(delay)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_depth_is_within_the_bars_and_does_not_grow() {
    let few = count(2, 3, Duration::from_millis(40)).await;
    let many = count(16, 100, Duration::from_millis(400)).await;
    for ((operation, few), (_, many)) in few.iter().zip(&many) {
        println!("{operation}: {few} with 2 shards and 3 tables, {many} with 16 shards and 100 tables");
    }
    let bars = [
        ("register", 3),
        ("create", 19),
        ("status", 6),
        ("show", 3),
        ("vdiff create", 9),
        ("vdiff show", 3),
        ("cancel", 15),
        ("complete", 16),
        ("create over tables", 19),
    ];
    for counts in [&few, &many] {
        for ((operation, count), (_, bar)) in counts.iter().zip(bars) {
            assert!((1..=bar).contains(count), "{operation} has {count} waves, the bar is {bar}");
        }
    }
    assert_eq!(few, many);
    if let Some((shards, tables, delay)) = asked() {
        assert_eq!(few, count(shards, tables, delay).await);
    }
}
