//! What every topology backend must do, run against memory, a real etcd, a real ZooKeeper and a real Consul, and against a
//! stand-in for Consul whose sessions end sooner than a real one's may.
//!
//! A missing server fails these tests: `integration/setup` installs them all.

#[cfg(feature = "topo-consul")]
mod consul;
mod etcd_cluster;
mod etcd_tls;
#[cfg(any(feature = "topo-consul", feature = "topo-zk2"))]
mod others;
#[cfg(feature = "topo-consul")]
mod real_consul;
#[cfg(feature = "topo-zk2")]
mod zookeeper;

#[path = "../../integration/src/ports.rs"]
mod ports;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::*;

async fn suite(conn: Arc<dyn Conn>) {
    records(&conn).await;
    odd_names(&conn).await;
    batches(&conn).await;
    listings(&conn).await;
    locks(&conn).await;
    guards(&conn).await;
    queues(&conn).await;
    sizes(&conn).await;
}

/// Where the locks of a directory are.
fn locks_of(conn: &Arc<dyn Conn>, dir: &str) -> String {
    if conn.endpoint().0 == "consul" { dir.to_owned() } else { format!("{dir}/locks") }
}

/// Keys of the locks that are held in a directory.
async fn held(conn: &Arc<dyn Conn>, dir: &str) -> Vec<Node> {
    let is_lock = |node: &Node| node.path.contains("/locks/") || node.path.ends_with("/Lock");
    conn.list(&locks_of(conn, dir)).await.unwrap().into_iter().filter(is_lock).collect()
}

/// Records of 100 kB, many records, and more than one transaction holds.
async fn sizes(conn: &Arc<dyn Conn>) {
    let large = |i: u8| vec![i; 100_000];
    let writes = (0..24).map(|i| Write::put(format!("s/large/{i:02}"), large(i), Expect::Absent)).collect();
    let versions = conn.write(writes, None).await.unwrap();
    assert_eq!(versions.len(), 24);
    let found = conn.list("s/large").await.unwrap();
    assert_eq!(found.len(), 24);
    assert!(found.iter().zip(0..).all(|(node, i)| node.value.as_ref() == large(i)), "{}", found.len());
    let lock = conn.lock(request().named("s").named("s2")).await.unwrap();
    let paths: Vec<String> = (0..1000).map(|i| format!("s/many/{:02}/{i:04}", i % 20)).collect();
    let writes = paths.iter().map(|path| Write::put(path.clone(), vec![], Expect::Absent)).collect();
    conn.write(writes, Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
    let found = conn.list("s/many").await.unwrap();
    assert_eq!(found.len(), 1000);
    assert!(found.is_sorted_by(|a, b| a.path < b.path));
    assert!(found.iter().all(|node| node.value.is_empty()));
    assert_eq!(conn.list_dir("s/many").await.unwrap().len(), 20);
    let known = found.iter().map(|n| Write::delete(n.path.clone(), Expect::Version(n.version))).collect();
    conn.write(known, None).await.unwrap();
    assert!(conn.list_dir("s/many").await.unwrap().is_empty());
    assert!(conn.list("s/many").await.unwrap().is_empty());
}

async fn records(conn: &Arc<dyn Conn>) {
    let missing = conn.get("a/Record").await.unwrap_err();
    assert_eq!(missing.to_string(), "node doesn't exist: /test/root/a/Record");
    let created = conn.create("a/Record", b"one".to_vec()).await.unwrap();
    let again = conn.create("a/Record", b"two".to_vec()).await.unwrap_err();
    assert_eq!(again.to_string(), "node already exists: /test/root/a/Record");
    let node = conn.get("a/Record").await.unwrap();
    assert_eq!((node.value.as_ref(), node.version, node.path.as_str()), (b"one".as_slice(), created, "a/Record"));
    let updated = conn.write_one(Write::put("a/Record", "two", Expect::Version(created)), None).await.unwrap();
    assert!(updated > created);
    let kept = conn.get("a/Record").await.unwrap();
    assert_eq!(kept.created, node.created, "a key that is written again is the same");
    let stale = conn.write_one(Write::put("a/Record", "x", Expect::Version(created)), None).await.unwrap_err();
    assert_eq!(stale.to_string(), "bad node version: /test/root/a/Record");
    let stale = conn.write_one(Write::delete("a/Record", Expect::Version(created)), None).await.unwrap_err();
    assert_eq!(stale, Error::BadVersion("/test/root/a/Record".into()));
    conn.write_one(Write::delete("a/Record", Expect::Version(updated)), None).await.unwrap();
    conn.write_one(Write::delete("a/Record", Expect::Any), None).await.unwrap();
    let gone = conn.write_one(Write::delete("a/Record", Expect::Version(updated)), None).await.unwrap_err();
    assert_eq!(gone, Error::NoNode("/test/root/a/Record".into()));
    conn.create("a/Record", b"one".to_vec()).await.unwrap();
    let anew = conn.get("a/Record").await.unwrap();
    assert_ne!(anew.created, node.created, "a key that was deleted and made anew is another");
    assert_eq!(conn.list("a").await.unwrap()[0].created, anew.created);
    conn.write_one(Write::delete("a/Record", Expect::Any), None).await.unwrap();
    conn.probe().await.unwrap();
}

/// Letters that mean something in addresses, or to other systems, mean nothing in a name.
async fn odd_names(conn: &Arc<dyn Conn>) {
    conn.create("o/x/Record", b"one".to_vec()).await.unwrap();
    let odd = ["o/%2e%2e/o", "o/x y+\u{e9}", "o/x#y", "o/x%2fRecord", "o/x;y=&z", "o/x?recurse", "o/x\\..\\y"];
    for path in odd {
        assert!(conn.get(path).await.unwrap_err().is_no_node(), "{path}");
        conn.create(path, path.as_bytes().to_vec()).await.unwrap();
    }
    for path in odd {
        assert_eq!(conn.get(path).await.unwrap().value.as_ref(), path.as_bytes(), "{path}");
    }
    let paths = async || {
        let mut paths: Vec<String> = conn.list("o").await.unwrap().into_iter().map(|node| node.path).collect();
        paths.sort();
        paths
    };
    let mut all: Vec<&str> = odd.into_iter().chain(["o/x/Record"]).collect();
    all.sort_unstable();
    assert_eq!(paths().await, all);
    conn.write(odd.map(|path| Write::delete(path, Expect::Any)).to_vec(), None).await.unwrap();
    assert_eq!(paths().await, ["o/x/Record"]);
}

async fn batches(conn: &Arc<dyn Conn>) {
    conn.create("b/there", b"1".to_vec()).await.unwrap();
    let writes = vec![Write::put("b/new", "n", Expect::Absent), Write::put("b/there", "2", Expect::Absent)];
    assert_eq!(conn.write(writes, None).await.unwrap_err(), Error::NodeExists("/test/root/b/there".into()));
    assert!(conn.get("b/new").await.is_err(), "nothing of a refused batch may be written");
    let many: Vec<String> = (0..250).map(|i| format!("b/many/{i:03}")).collect();
    conn.write(many.iter().map(|p| Write::put(p.clone(), p.clone(), Expect::Absent)).collect(), None).await.unwrap();
    let mut asked = many.clone();
    asked.insert(1, "b/not/there".into());
    let found = conn.get_many(asked.clone()).await.unwrap();
    assert_eq!(found.len(), asked.len());
    assert!(found[1].is_none());
    assert_eq!(found[250].as_ref().unwrap().value.as_ref(), b"b/many/249");
}

async fn listings(conn: &Arc<dyn Conn>) {
    for path in ["c/x/Shard", "c/x/y/Deep", "c/z", "cc/other"] {
        conn.create(path, path.as_bytes().to_vec()).await.unwrap();
    }
    assert_eq!(conn.list_dir("c").await.unwrap(), ["x", "z"]);
    let paths: Vec<String> = conn.list("c").await.unwrap().into_iter().map(|n| n.path).collect();
    assert_eq!(paths, ["c/x/Shard", "c/x/y/Deep", "c/z"]);
    assert!(conn.list_dir("nothing").await.unwrap().is_empty());
    assert!(conn.list("nothing").await.unwrap().is_empty());
}

/// For a lock that is free, or soon will be: on a busy machine that takes long too.
fn request() -> LockRequest {
    LockRequest { wait: Duration::from_secs(20), ..LockRequest::new("Test", Duration::from_secs(5)) }
}

async fn locks(conn: &Arc<dyn Conn>) {
    let refused = conn.lock(request().of("keyspaces/none")).await.err().unwrap();
    assert_eq!(refused, Error::NoNode("/test/root/keyspaces/none/".into()));
    conn.create("keyspaces/ks/Keyspace", vec![]).await.unwrap();
    let lock = conn.lock(request().named("internal/named_locks/ks/wf").of("keyspaces/ks")).await.unwrap();
    lock.check().await.unwrap();
    let found = held(conn, "keyspaces/ks").await;
    assert_eq!(found.len(), 1);
    let text = String::from_utf8(found[0].value.to_vec()).unwrap();
    let host = crate::host::name().unwrap();
    assert!(text.starts_with(&format!("{{\n  \"Action\": \"Test\",\n  \"HostName\": \"{host}\",\n")), "{text}");
    assert!(text.ends_with("\"Options\": {},\n  \"Status\": \"Running\"\n}"), "{text}");
    let hurried = LockRequest { wait: Duration::from_millis(300), ..request() };
    let waited = conn.lock(hurried.of("keyspaces/ks")).await.err().unwrap();
    let text = waited.to_string();
    assert!(text.starts_with("deadline exceeded: /test/root/keyspaces/ks/"), "{text}");
    assert!(crate::error::Explain::help(&waited).starts_with("another operation holds this lock"), "{text}");
    lock.release().await.unwrap();
    assert!(held(conn, "keyspaces/ks").await.is_empty());
    assert_eq!(conn.list_dir("keyspaces/ks").await.unwrap(), ["Keyspace"]);
    conn.lock(request().of("keyspaces/ks")).await.unwrap().release().await.unwrap();
}

async fn guards(conn: &Arc<dyn Conn>) {
    let lock = conn.lock(request().named("g")).await.unwrap();
    conn.write_one(Write::put("d/guarded", "1", Expect::Any), Some(&lock)).await.unwrap();
    for node in held(conn, "g").await {
        conn.write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
    }
    let refused = conn.write_one(Write::put("d/guarded", "2", Expect::Any), Some(&lock)).await.unwrap_err();
    assert!(matches!(refused, Error::LockLost(_)), "{refused}");
    assert_eq!(conn.get("d/guarded").await.unwrap().value.as_ref(), b"1");
    // the next holder's key may have the very name of the lost one
    let next = conn.lock(request().named("g")).await.unwrap();
    let refused = conn.write_one(Write::put("d/guarded", "3", Expect::Any), Some(&lock)).await.unwrap_err();
    assert!(matches!(refused, Error::LockLost(_)), "{refused}");
    lock.release().await.ok();
    conn.write_one(Write::put("d/guarded", "4", Expect::Any), Some(&next)).await.unwrap();
    next.release().await.unwrap();
}

async fn queues(conn: &Arc<dyn Conn>) {
    let mut tasks = Vec::new();
    let counter = Arc::new(std::sync::atomic::AtomicU32::new(0));
    for _ in 0..8 {
        let (conn, both, counter) = (Arc::clone(conn), request().named("q1").named("q2"), Arc::clone(&counter));
        tasks.push(tokio::spawn(async move {
            let lock = conn.lock(both).await.unwrap();
            let before = counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(before, 0, "two hold the same lock");
            tokio::time::sleep(Duration::from_millis(5)).await;
            counter.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            lock.release().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn memory() {
    let dialer = Dialer::new(EtcdOptions::default());
    suite(dialer.open("memory", "conformance", "/test/root").await.unwrap()).await;
    let one_by_one = dialer.with_reads(1);
    suite(one_by_one.open_for(&access::Holder::Own, None, "memory", "measured", "/test/root").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd() {
    let server = RealEtcd::start().await;
    let dialer = Dialer::new(EtcdOptions::default());
    suite(dialer.open("etcd2", &server.address, "/test/root").await.unwrap()).await;
    // through the measured connection, which the server uses
    let own = dialer.open_for(&access::Holder::Own, None, "etcd2", &server.address, "/test/root").await.unwrap();
    let lock = own.lock(request().named("leased")).await.unwrap();
    for node in held(&own, "leased").await {
        assert!(own.has_lease(&node.path).await.unwrap(), "{node:?}");
    }
    lock.release().await.unwrap();
    own.create("leased/locks/1", b"left".to_vec()).await.unwrap();
    assert!(!own.has_lease("leased/locks/1").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_locks_end_with_their_lease_and_dead_servers_are_named() {
    let mut server = RealEtcd::start().await;
    let dialer = Dialer::new(EtcdOptions::default());
    let conn = dialer.open("etcd2", &server.address, "/test/root").await.unwrap();
    let short = LockRequest { ttl: Duration::from_secs(3), ..request() };
    // forgotten without a release: the keeper ends with it, the lease soon after
    std::mem::drop(conn.lock(short.named("forgotten")).await.unwrap());
    let patient = LockRequest { wait: Duration::from_secs(60), ttl: Duration::from_secs(30), ..request() };
    conn.lock(patient.named("forgotten")).await.unwrap().release().await.unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let error = conn.get("x").await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains(&server.address), "{error}");
}

#[tokio::test]
async fn calls_whose_connection_breaks_are_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let mut head = [0; 24];
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.ok();
        }
    });
    let conn = Dialer::new(EtcdOptions::default()).open("etcd2", &address, "/test/root").await.unwrap();
    for _ in 0..10 {
        for found in futures::future::join_all((0..20).map(|_| conn.get("x"))).await {
            let error = found.unwrap_err();
            assert!(error.is_unreachable(), "{error:?}");
        }
    }
    server.abort();
}

#[tokio::test]
async fn unknown_kinds_are_refused_by_name() {
    let dialer = Dialer::new(EtcdOptions::default());
    let unknown = dialer.open("zk3", "x", "/").await.err().unwrap();
    assert_eq!(unknown.to_string(), "no such topology implementation zk3");
    for kind in KINDS.iter().filter(|kind| **kind != "etcd2") {
        let bad = dialer.open(kind, "a://b", "/").await.err().unwrap();
        assert!(bad.to_string().contains("bad address a://b"), "{bad}");
    }
}

struct RealEtcd {
    child: Child,
    address: String,
    _ports: [ports::Port; 2],
    _dir: tempfile::TempDir,
}

impl RealEtcd {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
        let address = ports[0].address().to_string();
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.path())
            .args(["--listen-client-urls", &format!("http://{address}")])
            .args(["--advertise-client-urls", &format!("http://{address}")])
            .args(["--listen-peer-urls", &format!("http://{}", ports[1].address())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd must be installed: run integration/setup");
        let mut server = Self { child, address, _ports: ports, _dir: dir };
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("etcd2", &server.address, "/").await.unwrap();
        for _ in 0..1200 {
            if conn.probe().await.is_ok() {
                return server;
            }
            assert_eq!(server.child.try_wait().unwrap(), None, "etcd ended by itself");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd did not answer at {}", server.address);
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
