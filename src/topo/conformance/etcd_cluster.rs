//! etcd of three members that are stopped, paused and restarted under a stream of every kind of operation; and what one
//! server may ask of its clients.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::topo::access::{Access, Secret};

/// A member of a cluster; it keeps its data over a restart.
struct Member {
    child: Child,
    arguments: Vec<String>,
    address: String,
}

/// Three members. They end when dropped.
struct Three {
    members: Vec<Member>,
    _ports: Vec<ports::Port>,
    _dir: tempfile::TempDir,
}

fn etcd(arguments: &[String]) -> Child {
    let mut etcd = Command::new("etcd");
    etcd.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    etcd.spawn().expect("etcd must be installed: run integration/setup")
}

impl Member {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = etcd(&self.arguments);
    }

    async fn until_serving(&self) {
        until_probed(&Dialer::new(EtcdOptions::default()).open("etcd2", &self.address, "/").await.unwrap()).await;
    }
}

async fn until_probed(conn: &Arc<dyn Conn>) {
    for _ in 0..1200 {
        if conn.probe().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer: {:?}", conn.probe().await);
}

impl Three {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<ports::Port> = (0..6).map(|_| ports::Port::free().unwrap()).collect();
        let (clients, peers) = ports.split_at(3);
        let all = peers.iter().enumerate().map(|(at, port)| format!("m{at}=http://{}", port.address()));
        let all = all.collect::<Vec<_>>().join(",");
        let members = clients.iter().zip(peers).enumerate().map(|(at, (client, peer))| {
            let address = client.address().to_string();
            let arguments = vec![
                format!("--name=m{at}"),
                format!("--data-dir={}", dir.path().join(at.to_string()).display()),
                format!("--listen-client-urls=http://{address}"),
                format!("--advertise-client-urls=http://{address}"),
                format!("--listen-peer-urls=http://{}", peer.address()),
                format!("--initial-advertise-peer-urls=http://{}", peer.address()),
                format!("--initial-cluster={all}"),
            ];
            Member { child: etcd(&arguments), arguments, address }
        });
        let three = Self { members: members.collect(), _ports: ports, _dir: dir };
        for member in &three.members {
            member.until_serving().await;
        }
        three
    }

    fn addresses(&self) -> String {
        self.members.iter().map(|member| member.address.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.child.kill().ok();
            member.child.wait().ok();
        }
    }
}

/// What failed, and how much did not.
#[derive(Default)]
struct Tally {
    failures: Mutex<Vec<String>>,
    done: AtomicU32,
    /// How many hold the lock that all want.
    inside: AtomicU32,
    enough: AtomicBool,
}

impl Tally {
    fn count<T>(&self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Some(value)
            }
            Err(error) => {
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what}: {error}"));
                None
            }
        }
    }
}

/// Reads and writes of one worker, on keys of its own, until it is enough.
async fn work(conn: Arc<dyn Conn>, tally: Arc<Tally>, name: String) {
    let path = format!("work/{name}/Record");
    let Some(mut version) = tally.count("create", conn.create(&path, b"0".to_vec()).await) else { return };
    let mut round = 0_u32;
    while !tally.enough.load(Ordering::Relaxed) {
        let Some(node) = tally.count("get", conn.get(&path).await) else { continue };
        assert_eq!((node.version, node.value.as_ref()), (version, round.to_string().as_bytes()), "{name}");
        round += 1;
        let put = Write::put(path.clone(), round.to_string(), Expect::Version(version));
        let Some(new) = tally.count("update", conn.write_one(put, None).await) else { return };
        version = new;
        let several = conn.get_many(vec![path.clone(), "work/none".into()]).await;
        if let Some(found) = tally.count("get_many", several) {
            assert_eq!((found[0].as_ref().map(|node| node.version), found[1].is_none()), (Some(version), true));
        }
        tally.count("list", conn.list(&format!("work/{name}")).await);
        tally.count("list_dir", conn.list_dir("work").await);
        tally.count("has_lease", conn.has_lease(&path).await);
        tally.count("probe", conn.probe().await);
        let other = format!("work/{name}/other");
        tally.count("create", conn.create(&other, b"x".to_vec()).await);
        tally.count("delete", conn.remove(&other).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes locks, some of which others want too, and writes under them, until it is enough.
async fn lock(conn: Arc<dyn Conn>, tally: Arc<Tally>, name: String) {
    while !tally.enough.load(Ordering::Relaxed) {
        let ttl = Duration::from_secs(30);
        let wait = Duration::from_secs(120);
        let request = LockRequest { wait, ..LockRequest::new("Test", ttl) };
        let request = request.named(format!("locks-of/{name}")).named("locks-of/all");
        let Some(lock) = tally.count("lock", conn.lock(request).await) else { continue };
        assert_eq!(tally.inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the same lock");
        tally.count("check", lock.check().await);
        let writes = vec![
            Write::put(format!("locked/{name}"), "x", Expect::Any),
            Write::put(format!("locked/{name}-2"), "x", Expect::Any),
        ];
        tally.count("guarded write", conn.write(writes, Some(&lock)).await);
        tally.inside.fetch_sub(1, Ordering::SeqCst);
        tally.count("release", lock.release().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_fails_while_members_stop_pause_and_restart() {
    let mut three = Three::start().await;
    let dialer = Dialer::new(EtcdOptions::default());
    let tally = Arc::new(Tally::default());
    let mut tasks = Vec::new();
    for at in 0..3 {
        // each begins at another member
        let mut addresses: Vec<&str> = three.members.iter().map(|member| member.address.as_str()).collect();
        addresses.rotate_left(at);
        let conn = dialer.open("etcd2", &addresses.join(","), "/test/root").await.unwrap();
        tasks.push(tokio::spawn(work(Arc::clone(&conn), Arc::clone(&tally), format!("w{at}"))));
        tasks.push(tokio::spawn(lock(conn, Arc::clone(&tally), format!("l{at}"))));
    }
    for at in 0..three.members.len() {
        three.members[at].stop();
        tokio::time::sleep(Duration::from_secs(3)).await;
        three.members[at].restart();
        three.members[at].until_serving().await;
        three.members[at].signal("-STOP");
        tokio::time::sleep(Duration::from_secs(6)).await;
        three.members[at].signal("-CONT");
        for member in &three.members {
            member.until_serving().await;
        }
    }
    tally.enough.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let failures = tally.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {:?}:\n{}", failures.len(), tally.done, failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_works_with_two_of_three_addresses_dead() {
    let server = RealEtcd::start().await;
    let dead = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
    let addresses = format!("{},{},{}", dead[0].address(), dead[1].address(), server.address);
    let conn = Dialer::new(EtcdOptions::default()).open("etcd2", &addresses, "/test/root").await.unwrap();
    suite(conn).await;
}

/// A lease outlives its holder's member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_kept_over_a_change_of_the_leader() {
    let mut three = Three::start().await;
    let dialer = Dialer::new(EtcdOptions::default());
    let conn = dialer.open("etcd2", &three.addresses(), "/test/root").await.unwrap();
    let request = LockRequest::new("Test", Duration::from_secs(6));
    let lock = conn.lock(request.named("kept")).await.unwrap();
    for at in 0..three.members.len() {
        three.members[at].stop();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            lock.check().await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        three.members[at].restart();
        three.members[at].until_serving().await;
    }
    conn.write_one(Write::put("guarded", "1", Expect::Any), Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
}

/// An etcd of one member with more arguments.
async fn one(dir: &Path, ports: &[ports::Port; 2], more: &[String]) -> Member {
    let address = ports[0].address().to_string();
    let mut arguments = vec![
        format!("--data-dir={}", dir.join("data").display()),
        format!("--listen-client-urls=http://{address}"),
        format!("--advertise-client-urls=http://{address}"),
        format!("--listen-peer-urls=http://{}", ports[1].address()),
    ];
    arguments.extend_from_slice(more);
    let member = Member { child: etcd(&arguments), arguments, address };
    member.until_serving().await;
    member
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_token_is_renewed_when_users_have_changed() {
    let dir = tempfile::tempdir().unwrap();
    let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
    let key = dir.path().join("key");
    std::fs::write(&key, "a key of some length, which nobody else has").unwrap();
    let token = format!("--auth-token=jwt,sign-method=HS256,priv-key={},ttl=10m", key.display());
    let mut server = one(dir.path(), &ports, &[token]).await;
    let admin = etcd_client::Client::connect([server.address.as_str()], None).await.unwrap();
    let mut users = admin.auth_client();
    users.user_add("root", "planted", None).await.unwrap();
    users.role_add("root").await.unwrap();
    users.user_grant_role("root", "root").await.unwrap();
    users.auth_enable().await.unwrap();
    let user = Some(("root".to_owned(), Secret::new("planted")));
    let access = Access { user, ..Access::default() };
    let conn = super::super::etcd::open(&server.address, "/test/root", access).await.unwrap();
    let path = "a/Record";
    conn.create(path, b"1".to_vec()).await.unwrap();
    let signed = etcd_client::ConnectOptions::new().with_user("root", "planted");
    for round in 0..3 {
        let admin = etcd_client::Client::connect([server.address.as_str()], Some(signed.clone())).await.unwrap();
        admin.auth_client().user_add(format!("somebody-{round}"), "x", None).await.unwrap();
        assert_eq!(conn.get(path).await.unwrap().value.as_ref(), b"1");
        let lock = conn.lock(request().named("l")).await.unwrap();
        conn.write_one(Write::put("b", "1", Expect::Any), Some(&lock)).await.unwrap();
        lock.release().await.unwrap();
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_a_server_finds_too_large_are_parted() {
    let dir = tempfile::tempdir().unwrap();
    let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
    let mut server = one(dir.path(), &ports, &["--max-request-bytes=131072".into()]).await;
    let conn = Dialer::new(EtcdOptions::default()).open("etcd2", &server.address, "/test/root").await.unwrap();
    let lock = conn.lock(request().named("l")).await.unwrap();
    let paths: Vec<String> = (0..10).map(|at| format!("s/{at}")).collect();
    let writes = paths.iter().map(|path| Write::put(path.clone(), vec![7; 50_000], Expect::Absent)).collect();
    let versions = conn.write(writes, Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
    let found: Vec<i64> = conn.list("s").await.unwrap().iter().map(|node| node.version).collect();
    assert_eq!(found, versions);
    server.stop();
}
