//! A cluster to call: server, client, topology; and, in the folder, the tablets and clusters of other kinds that tests stand on.

pub mod faulty_source;
pub mod manager;
pub mod meddled;
pub mod migrate_rig;
pub mod migrate_tablet;
pub mod pki;
pub mod raw_call;
pub mod stock;
pub mod vdiff_rig;
pub mod vdiff_tablet;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tower::util::MapRequestLayer;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use vtmigrated::context::{Context, Options};
use vtmigrated::server::layers::call::CallLayer;
use vtmigrated::server::layers::compression::CompressionLayer;
use vtmigrated::server::router::Router;
use vtmigrated::server::sent_message::SentMessage;
use vtmigrated::server::{Advisor, Calls, Vtctl, Vtctld, WayBack};
use vtmigrated::tablet::{self, Client};
use vtmigrated::topo::access::Holder;
use vtmigrated::topo::{Conn, Dialer, EtcdOptions, Expect, Node, Topo, Write, paths};
use vtmigrated_proto::logutil::Level;
use vtmigrated_proto::topodata::shard_replication::Node as GraphNode;
use vtmigrated_proto::topodata::{CellInfo, ShardReplication, Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctl_client::VtctlClient;
use vtmigrated_proto::vtctlservice::vtctl_server::VtctlServer;
use vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient;
use vtmigrated_proto::vtctlservice::vtctld_server::VtctldServer;
use vtmigrated_proto::vtmigrated::advisor_client::AdvisorClient;
use vtmigrated_proto::vtmigrated::advisor_server::AdvisorServer;
use vtmigrated_proto::vtmigrated::way_back_client::WayBackClient;
use vtmigrated_proto::vtmigrated::way_back_server::WayBackServer;
use vtmigrated_proto::vttime::Time;

/// Names that nothing may be stored under.
pub const HOSTILE: &[&str] = &["", "a/b", "../x", "a'b", "a\"b", "a`b", "a\nb", "a b", "ä", "\u{0}"];

/// Bound of a message, in bytes.
const MESSAGE: usize = 64 << 20;

/// A server and what it serves. Ends when dropped.
pub struct Lab {
    pub topo: Arc<Topo>,
    pub client: VtctldClient<Channel>,
    pub legacy: VtctlClient<Channel>,
    pub channel: Channel,
    pub advisor: AdvisorClient<Channel>,
    pub way_back: WayBackClient<Channel>,
    _stop: DropGuard,
}

impl Lab {
    /// An empty cluster: not even a cell.
    pub async fn empty() -> Self {
        Self::routed(Router::default()).await
    }

    /// The same behind a router of the test's own.
    pub async fn routed(router: Router) -> Self {
        Self::built(router, Options::default()).await
    }

    /// The same with options of the test's own.
    pub async fn built(router: Router, options: Options) -> Self {
        Self::wired(router, options, Dialer::new(EtcdOptions::default()), tablet::Options::default()).await
    }

    /// The same with ways to topologies and tablets of the test's own.
    pub async fn wired(router: Router, options: Options, dialer: Dialer, tablets: tablet::Options) -> Self {
        let dialer = Arc::new(dialer);
        let topo = Topo::open_for(Holder::Own, Arc::clone(&dialer), "memory", "test", "/vitess/global").await.unwrap();
        let topo = Arc::new(topo);
        let (short, trusted) = (Duration::from_secs(5), dialer.trusted_tablets());
        let options = Options { lock_timeout: Duration::from_millis(300), ..options };
        let tablets = Client::new(tablet::Options { short, trusted, ..tablets });
        let context = Context::new(Arc::clone(&topo), tablets, options);
        let stop = CancellationToken::new();
        let calls = Calls::new(Arc::new(context), TaskTracker::new());
        let service = VtctldServer::new(Vtctld::new(calls.clone()))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        let advisor = AdvisorServer::new(Advisor::new(calls.clone()));
        let way_back = WayBackServer::new(WayBack::new(calls.clone()));
        let legacy = VtctlServer::new(Vtctl::new(calls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let compression = CompressionLayer::new(MESSAGE);
        let mut server = Server::builder()
            .layer(CallLayer)
            .layer(router)
            .layer(compression)
            .layer(MapRequestLayer::new(SentMessage::keep));
        let server = server.add_service(service).add_service(advisor).add_service(way_back).add_service(legacy);
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped));
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let client = VtctldClient::new(channel.clone());
        let advisor = AdvisorClient::new(channel.clone());
        let way_back = WayBackClient::new(channel.clone());
        let legacy = VtctlClient::new(channel.clone());
        Self { topo, client, legacy, channel, advisor, way_back, _stop: stop.drop_guard() }
    }

    /// Runs a legacy command, its arguments separated by blanks: what it printed, and how it failed.
    pub async fn run(&mut self, line: &str) -> (String, Result<(), Status>) {
        self.run_args(line.split(' ').map(str::to_owned).collect()).await
    }

    /// The same with arguments that may hold blanks. Log lines begin with their level.
    pub async fn run_args(&mut self, args: Vec<String>) -> (String, Result<(), Status>) {
        let mut printed = String::new();
        let request = ExecuteVtctlCommandRequest { args, action_timeout: 60_000_000_000 };
        let mut events = match self.legacy.execute_vtctl_command(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return (printed, Err(status)),
        };
        loop {
            match events.message().await {
                Ok(Some(answer)) => {
                    let event = answer.event.unwrap();
                    match event.level() {
                        Level::Console => printed.push_str(&event.value),
                        level => printed.push_str(&format!("{}: {}\n", level.as_str_name(), event.value)),
                    }
                }
                Ok(None) => return (printed, Ok(())),
                Err(status) => return (printed, Err(status)),
            }
        }
    }

    /// What a command prints that succeeds.
    #[track_caller]
    pub fn printed(&mut self, line: &str) -> impl Future<Output = String> {
        let run = self.run(line);
        async move {
            let (printed, result) = run.await;
            result.unwrap();
            printed
        }
    }

    /// A cluster with the cells zone1 and zone2.
    pub async fn start() -> Self {
        Self::empty().await.and_cells().await
    }

    /// With the cells zone1 and zone2.
    pub async fn and_cells(self) -> Self {
        let mut lab = self;
        for cell in ["zone1", "zone2"] {
            let cell_info = Some(CellInfo { server_address: cell.into(), root: format!("/vitess/{cell}") });
            lab.client.add_cell_info(AddCellInfoRequest { name: cell.into(), cell_info }).await.unwrap();
        }
        lab
    }

    /// The same with a keyspace and its shards.
    pub async fn with_keyspace(keyspace: &str, shards: &[&str]) -> Self {
        Self::start().await.and_keyspace(keyspace, shards).await
    }

    /// The same with options of the test's own.
    pub async fn with_keyspace_and(options: Options, keyspace: &str, shards: &[&str]) -> Self {
        Self::built(Router::default(), options).await.and_cells().await.and_keyspace(keyspace, shards).await
    }

    pub async fn and_keyspace(self, keyspace: &str, shards: &[&str]) -> Self {
        let mut lab = self;
        let request = CreateKeyspaceRequest { name: keyspace.into(), ..CreateKeyspaceRequest::default() };
        lab.client.create_keyspace(request).await.unwrap();
        for shard in shards {
            let request = CreateShardRequest {
                keyspace: keyspace.into(),
                shard_name: (*shard).into(),
                ..CreateShardRequest::default()
            };
            lab.client.create_shard(request).await.unwrap();
        }
        lab
    }

    /// A cell's topology.
    pub async fn cell(&self, name: &str) -> Arc<dyn Conn> {
        self.topo.cell(name).await.unwrap()
    }

    /// Everything that is stored in the global topology.
    pub async fn stored(&self) -> Vec<Node> {
        self.topo.global().list("").await.unwrap()
    }

    /// Stores a record in the global topology.
    pub async fn put(&self, path: &str, value: Vec<u8>) {
        self.topo.global().write_one(Write::put(path, value, Expect::Any), None).await.unwrap();
    }

    /// Registers a tablet in its cell and in the replication graph, a primary also in the shard's record.
    pub async fn add_tablet(&mut self, tablet: &Tablet) {
        let alias = tablet.alias.clone().unwrap();
        let conn = self.cell(&alias.cell).await;
        let graph_path = paths::shard_replication(&tablet.keyspace, &tablet.shard);
        let mut graph = match conn.get(&graph_path).await {
            Ok(node) => ShardReplication::decode(node.value).unwrap(),
            Err(_) => ShardReplication::default(),
        };
        graph.nodes.push(GraphNode { tablet_alias: Some(alias.clone()) });
        let writes = vec![
            Write::put(paths::tablet(&alias), tablet.encode_to_vec(), Expect::Any),
            Write::put(graph_path, graph.encode_to_vec(), Expect::Any),
        ];
        conn.write(writes, None).await.unwrap();
        if tablet.r#type() == TabletType::Primary {
            let mut record =
                vtmigrated::topo::shard::get(self.topo.global(), &tablet.keyspace, &tablet.shard).await.unwrap().value;
            record.primary_alias = Some(alias);
            record.primary_term_start_time = tablet.primary_term_start_time;
            self.put(&paths::shard(&tablet.keyspace, &tablet.shard), record.encode_to_vec()).await;
        }
    }
}

/// What a server of a topology works with, which dials as the topology does.
pub fn context(topo: Arc<Topo>) -> Context {
    Context::new(topo, Client::new(tablet::Options::default()), Options::default())
}

/// A tablet record; a primary's term begins `term` seconds after the epoch.
pub fn tablet(cell: &str, uid: u32, keyspace: &str, shard: &str, tablet_type: TabletType, port: u16) -> Tablet {
    Tablet {
        alias: Some(TabletAlias { cell: cell.into(), uid }),
        hostname: "127.0.0.1".into(),
        port_map: [("grpc".to_owned(), i32::from(port))].into(),
        keyspace: keyspace.into(),
        shard: shard.into(),
        r#type: tablet_type.into(),
        primary_term_start_time: (tablet_type == TabletType::Primary).then_some(Time { seconds: 10, nanoseconds: 0 }),
        ..Tablet::default()
    }
}

/// Code and text of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// Asserts that a refusal's text begins so.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, text: &str) {
    let (found, message) = refusal(answer);
    assert!(message.starts_with(text), "{message}");
    assert_eq!(found, code, "{message}");
}

/// A log kept in memory.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what is logged on this thread, on which a test's whole runtime is unless it asks for more, until the guard goes.
    pub fn of_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        // with one subscriber alone, what another thread meets first counts as something that nobody listens to
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(NoSubscriber::new()));
        (log, tracing::subscriber::set_default(format.finish()))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}
