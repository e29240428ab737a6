//! Two clusters of light tablets, the target's topology in an etcd of three members, and servers of ours over it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use integration::{
    client::Vtctld,
    farm::{Behind, Farm, Faults, Settings, Shape, Side},
    life::until,
    load::held::Held,
    process::raise_file_limit,
    proxy::Link,
    server::Server,
};
use tempfile::TempDir;
use vtmigrated_proto::vtctldata::MountListRequest;

/// Lives at a time; each has a keyspace of its own on both sides.
pub const LIVES: usize = 20;
/// Servers that are killed, and one more that is not.
pub const MORTAL: usize = 3;
/// The one that is not.
pub const STEADY: usize = MORTAL;
/// Whose log is on a disk of its own.
pub const LOGGING: usize = 2;
/// A table of a user's beside those that move, and its rows.
pub const MINE: (&str, u64) = ("mine", 5);
/// Of a table that has moved, in a user's hand before: empty.
pub const EXISTING: &str = "t00001";

/// How long a lock may outlive the server that had it, and a little more.
const LEASE: Duration = Duration::from_secs(12);
const COPY: Duration = Duration::from_millis(300);
/// Sizes of that disk.
const MOUNT: &str = r#"mount -t tmpfs -o size=128k tmpfs "$0" && exec "$@""#;
/// Where no disk can be mounted: one that is full from the start.
const FULL: &str = r#"exec "$0" "$@" 2>/dev/full"#;

pub struct World {
    pub farm: Farm,
    pub servers: Vec<Server>,
    clients: Vec<Vtctld>,
    /// Tables of each keyspace of the source.
    pub source: BTreeMap<String, BTreeMap<String, Behind>>,
    /// Keys of the source's topology.
    source_keys: BTreeMap<String, Vec<u8>>,
    disk: TempDir,
    mounted: bool,
}

/// What the topologies hold.
pub struct Keys {
    pub target: BTreeMap<String, Vec<u8>>,
    /// What is not as it was in the source's.
    pub source_changed: Vec<String>,
    pub locks: Vec<String>,
}

impl World {
    pub async fn start() -> Self {
        // each tablet and what is before it listens, and each server has a connection to each
        raise_file_limit().unwrap();
        let shape = Shape { keyspaces: LIVES, source_shards: Some(1), ..Shape::default() };
        let settings =
            Settings { shape, copy_time: COPY, slow_topology: true, members: 3, linked: true, ..Settings::default() };
        let farm = Farm::start(settings).await.unwrap();
        farm.mount().await.unwrap();
        let source_keys = farm.cluster(Side::Source).etcd().dump("").await.unwrap();
        let disk = tempfile::tempdir().unwrap();
        let mounted = can_mount(disk.path());
        let mut servers = Vec::new();
        for number in 0..=MORTAL {
            servers.push(server(&farm, number, disk.path(), mounted).await);
        }
        let mut clients = Vec::new();
        for server in &servers {
            clients.push(server.client().await.unwrap());
        }
        let side = farm.cluster(Side::Source);
        let source = (0..LIVES).map(|life| Side::Source.keyspace(life));
        let source = source.map(|keyspace| (keyspace.clone(), side.behind(&keyspace))).collect();
        Self { farm, servers, clients, source, source_keys, disk, mounted }
    }

    /// A client of a server.
    pub fn client(&self, server: usize) -> Vtctld {
        self.clients[server].clone()
    }

    /// Returns when nothing is wrong any more, and everything serves.
    pub async fn calm(&self) {
        self.farm.upset("*", &Faults::default());
        self.farm.link("*", Link::Open);
        self.farm.clocks("*", 0);
        self.farm.delay(Duration::ZERO);
        for side in [Side::Source, Side::Target] {
            self.farm.cluster(side).etcd().until_ready().await.unwrap();
        }
        for server in 0..self.servers.len() {
            until(&format!("server {server} serves"), async || {
                self.client(server).mount_list(MountListRequest {}).await.map(drop)
            })
            .await
            .unwrap();
        }
        // what waited before a link that was closed is on its way now
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// The topologies, once no lock is held any more, or none should be.
    pub async fn keys(&self) -> Keys {
        let begin = Instant::now();
        loop {
            let target = self.farm.cluster(Side::Target).etcd().dump("").await.unwrap();
            let source = self.farm.cluster(Side::Source).etcd().dump("").await.unwrap();
            let locks: Vec<String> = target.keys().filter(|key| key.contains("/locks/")).cloned().collect();
            if locks.is_empty() || begin.elapsed() > LEASE {
                let before = &self.source_keys;
                let both = before.keys().chain(source.keys().filter(|key| !before.contains_key(*key)));
                let changed = both.filter(|key| before.get(*key) != source.get(*key)).cloned().collect();
                return Keys { target, source_changed: changed, locks };
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A life's keyspace of the target is as at first. `existing` is whether a user has made one of the tables already.
    pub fn begin_anew(&self, life: usize, existing: bool) {
        let tables = [MINE, (EXISTING, 0)];
        let tables = if existing { &tables[..] } else { &tables[..1] };
        self.farm.cluster(Side::Target).begin_anew(&Side::Target.keyspace(life), tables);
    }

    /// What the server that nobody kills holds.
    pub fn held(&self) -> Held {
        Held::now(self.servers[STEADY].process().pid().unwrap()).unwrap()
    }

    /// Servers that have ended by themselves.
    pub fn ended(&self) -> Vec<String> {
        let status = |server: &Server| server.process().ended().ok().flatten();
        let of = self.servers.iter().enumerate().filter_map(|(number, server)| Some((number, status(server)?)));
        of.map(|(number, status)| format!("server {number} ended by itself: {status}")).collect()
    }

    /// A file that would fill the disk of a server's log, as the server sees it; none where that is full anyway.
    pub fn filler(&self) -> Option<PathBuf> {
        let pid = self.servers[LOGGING].process().pid()?;
        self.mounted.then(|| PathBuf::from(format!("/proc/{pid}/root{}/filler", self.disk.path().display())))
    }

    pub async fn finish(self) {
        drop((self.clients, self.servers));
        self.farm.finish().await.unwrap();
    }
}

/// Whether this user may mount a disk in a name space of its own.
fn can_mount(at: &Path) -> bool {
    let mut mount = Command::new("unshare");
    mount.args(["--mount", "sh", "-c", MOUNT]).arg(at).arg("true");
    mount.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The server of a number. Bounds are short: what waits for them is to end within a round.
async fn server(farm: &Farm, number: usize, disk: &Path, mounted: bool) -> Server {
    let mut flags = farm.cluster(Side::Target).flags();
    let bounds = ["--topo_etcd_lease_ttl=5", "--remote_operation_timeout=3s", "--lock_timeout=20s"];
    flags.extend(bounds.into_iter().chain(["--tablet_manager_grpc_connpool_size=300"]).map(str::to_owned));
    // one that watches is enough
    if number != STEADY {
        flags.push("--watch-interval=0".to_owned());
    }
    if number != LOGGING {
        return Server::start(&flags).await.unwrap();
    }
    let disk = disk.display().to_string();
    if !mounted {
        return Server::start_through(&["/bin/sh", "-c", FULL], &flags).await.unwrap();
    }
    flags.extend(["--logtostderr=false".to_owned(), format!("--log_dir={disk}")]);
    Server::start_through(&["/usr/bin/unshare", "--mount", "sh", "-c", MOUNT, disk.as_str()], &flags).await.unwrap()
}
