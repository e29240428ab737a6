//! The suite and what is particular to ZooKeeper and to Consul.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::super::access::{Holder, Secret};
use super::super::settings::MountSettings;
use super::*;
use crate::tls::Files;

fn patient() -> LockRequest {
    LockRequest { wait: Duration::from_secs(20), ..request() }
}

/// Everything that is logged on this thread while the guard lives, at every level.
#[derive(Clone, Default)]
struct Logged(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let writer = logged.clone();
        let format = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        (logged, tracing::subscriber::set_default(format.with_writer(move || writer.clone()).finish()))
    }

    fn hides(&self, secret: &str) {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        assert!(text.contains("vitess.topo.op"), "nothing is logged");
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}

/// A server that ends is named; `conn` has talked to it.
async fn dead(conn: &Arc<dyn Conn>) {
    let (_, server, _) = conn.endpoint();
    for error in [conn.get("x").await.unwrap_err(), conn.create("x", vec![]).await.unwrap_err()] {
        assert!(error.is_unreachable() && error.to_string().contains(server), "{error}");
    }
}

/// Somebody who counts in a record, and reads it in every way.
struct Counting {
    enough: Arc<AtomicBool>,
    counted: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Counting {
    fn start(conn: &Arc<dyn Conn>) -> Self {
        let (enough, counted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let task = tokio::spawn(count(Arc::clone(conn), Arc::clone(&enough), Arc::clone(&counted)));
        Self { enough, counted, task }
    }

    /// Waits until it has counted on.
    async fn goes_on(&self) {
        let before = self.counted.load(Ordering::Relaxed);
        for _ in 0..6000 {
            if self.counted.load(Ordering::Relaxed) > before + 3 {
                return;
            }
            assert!(!self.task.is_finished(), "the count has failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was counted for a minute");
    }

    async fn end(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// What fails says that the server is out of reach, and what was answered once stays.
async fn count(conn: Arc<dyn Conn>, enough: Arc<AtomicBool>, counted: Arc<AtomicU32>) {
    let away = |error: Error| assert!(error.is_unreachable(), "{error}");
    let path = "count/Record";
    conn.create(path, b"0".to_vec()).await.unwrap();
    let (mut answered, mut tried) = (0, 0);
    while !enough.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let node = match conn.get(path).await {
            Ok(node) => node,
            Err(error) => {
                away(error);
                continue;
            }
        };
        answered = {
            let seen: u32 = String::from_utf8_lossy(&node.value).parse().unwrap();
            assert!((answered..=tried).contains(&seen), "{seen} after {answered}, where {tried} was tried");
            seen
        };
        tried = answered + 1;
        match conn.write_one(Write::put(path, tried.to_string(), Expect::Version(node.version)), None).await {
            Ok(_) => answered = tried,
            // a try whose answer was lost is carried out late
            Err(Error::BadVersion(_)) => {}
            Err(error) => away(error),
        }
        match conn.list("count").await {
            Ok(found) => assert_eq!(found.len(), 1),
            Err(error) => away(error),
        }
        conn.get_many(vec![path.to_owned()]).await.map_or_else(away, |found| assert!(found[0].is_some()));
        counted.store(answered, Ordering::Relaxed);
    }
    let seen: u32 = String::from_utf8_lossy(&conn.get(path).await.unwrap().value).parse().unwrap();
    assert!((answered..=tried).contains(&seen), "{seen} after {answered}, where {tried} was tried");
}

#[cfg(feature = "topo-zk2")]
mod zk2 {
    use super::super::etcd_tls::certificates;
    use super::super::zookeeper::RealZookeeper;
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn zookeeper() {
        let server = RealZookeeper::start(None).await;
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("zk2", &server.address, "/test/root").await.unwrap();
        suite(Arc::clone(&conn)).await;
        assert!(matches!(conn.get("keyspaces").await.unwrap_err(), Error::NoNode(_)), "directories are no records");
        assert!(conn.list("").await.unwrap().iter().all(|node| !node.path.contains("locks")), "locks are left");
        // one of its servers does not run
        let dead = super::super::ports::Port::free().unwrap();
        let addresses = format!("{},{}", dead.address(), server.address);
        for round in 0..4 {
            let conn = dialer.open("zk2", &addresses, "/test/root").await.unwrap();
            conn.create(&format!("dead/{round}"), b"1".to_vec()).await.unwrap();
            assert_eq!(conn.list("dead").await.unwrap().len(), round + 1);
            conn.lock(request().named("l")).await.unwrap().release().await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn zookeeper_locks_end_with_their_session_and_dead_servers_are_named() {
        let mut server = RealZookeeper::start(None).await;
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("zk2", &server.address, "/test/root").await.unwrap();
        let short = LockRequest { ttl: Duration::from_secs(1), ..request() };
        std::mem::drop(conn.lock(short.clone().named("forgotten")).await.unwrap());
        conn.lock(patient().named("forgotten")).await.unwrap().release().await.unwrap();
        let lock = conn.lock(short.named("lost")).await.unwrap();
        lock.check().await.unwrap();
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        dead(&conn).await;
        assert!(matches!(lock.check().await.unwrap_err(), Error::LockLost(_)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_zookeeper_that_pauses_or_restarts_keeps_what_it_answered_and_its_locks() {
        let mut server = RealZookeeper::start(None).await;
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("zk2", &server.address, "/test/root").await.unwrap();
        let long = LockRequest { wait: Duration::from_secs(60), ..LockRequest::new("Test", Duration::from_secs(60)) };
        let lock = conn.lock(long.named("kept")).await.unwrap();
        // longer than a connection may be silent: a read is asked again
        server.signal("-STOP");
        let awake = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            server.signal("-CONT");
        };
        let (read, ()) = tokio::join!(conn.get("none"), awake);
        let error = read.unwrap_err();
        assert!(error.is_no_node(), "{error}");
        let counting = Counting::start(&conn);
        for _ in 0..2 {
            counting.goes_on().await;
            server.restart().await;
        }
        counting.goes_on().await;
        counting.end().await;
        lock.check().await.unwrap();
        conn.write_one(Write::put("kept/x", "1", Expect::Any), Some(&lock)).await.unwrap();
        lock.release().await.unwrap();
    }

    #[tokio::test]
    async fn zookeeper_over_tls_with_credentials_of_the_mount() {
        let (logged, _guard) = Logged::start();
        let (authority, certificate, key) = certificates();
        let server = RealZookeeper::start(Some((&authority, &format!("{key}{certificate}")))).await;
        let dir = tempfile::tempdir().unwrap();
        let written = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let file = serde_json::json!({"ext1": {"servers": [server.secure_address], "zk_auth": "digest:vt:planted",
            "tls": {"ca": written("ca", &authority), "cert": written("cert", &certificate), "key": written("key", &key),
                    "server_name": "zk.test"}}});
        let mounts = MountSettings::parse(file.to_string().as_bytes(), &|path| std::fs::read(path)).unwrap();
        let dialer = Dialer::with(Options { mounts, ..Options::default() });
        let open = async |name: &str| {
            let holder = Holder::MountToWrite(name.into());
            dialer.open_for(&holder, None, "zk2", &server.secure_address, "/tls").await.unwrap()
        };
        let conn = open("ext1").await;
        conn.create("a/b", b"over tls".to_vec()).await.unwrap();
        assert_eq!(conn.get("a/b").await.unwrap().value.as_ref(), b"over tls");
        conn.lock(request().named("l")).await.unwrap().release().await.unwrap();
        let error = open("other").await.get("a/b").await.unwrap_err();
        assert!(error.is_unreachable() && !error.to_string().contains("planted"), "{error}");
        // another authority's server is not talked to
        let tls = Files { ca: Some(written("other", &certificates().0)), ..Files::default() }.load().unwrap();
        let zookeeper = ZookeeperOptions { tls: Some(tls), ..ZookeeperOptions::default() };
        let dialer = Dialer::with(Options { zookeeper, ..Options::default() });
        let error = dialer.open("zk2", &server.secure_address, "/tls").await.unwrap().get("a/b").await.unwrap_err();
        assert!(error.is_unreachable() && error.to_string().contains("TLS with"), "{error}");
        logged.hides("planted");
    }
}

#[cfg(feature = "topo-consul")]
mod consul_agent {
    use super::super::consul::{FakeConsul, Health};
    use super::super::real_consul::RealConsul;
    use super::*;

    fn dialer(ttl: Duration, delay: Duration, token: Option<&str>) -> Dialer {
        let consul = ConsulOptions {
            lock_session_ttl: Some(ttl),
            lock_delay: delay,
            token: token.map(Secret::new),
            ..ConsulOptions::default()
        };
        Dialer::with(Options { consul, ..Options::default() })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn real_consul() {
        let mut server = RealConsul::start().await;
        let dialer = dialer(Duration::from_secs(10), Duration::ZERO, None);
        let conn = dialer.open("consul", &server.address, "/test/root").await.unwrap();
        suite(Arc::clone(&conn)).await;
        let lock = conn.lock(request().named("l")).await.unwrap();
        lock.check().await.unwrap();
        let left = conn.list("").await.unwrap();
        let held: Vec<_> = left.iter().filter(|node| node.path.ends_with("/Lock")).collect();
        assert!(matches!(held.as_slice(), [node] if node.path == "l/Lock"), "{held:?}");
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        dead(&conn).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_consul_that_restarts_keeps_what_it_answered() {
        let mut server = RealConsul::start_to_keep().await;
        let dialer = dialer(Duration::from_secs(10), Duration::ZERO, None);
        let conn = dialer.open("consul", &server.address, "/test/root").await.unwrap();
        let counting = Counting::start(&conn);
        for _ in 0..2 {
            counting.goes_on().await;
            server.restart().await;
        }
        counting.goes_on().await;
        counting.end().await;
        // until the agent has registered itself nobody gets a session
        for _ in 0..600 {
            match conn.lock(patient().named("l")).await {
                Ok(lock) => return lock.release().await.unwrap(),
                Err(error) => assert!(error.is_unreachable(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no lock for a minute");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn consul() {
        let server = FakeConsul::start(None).await;
        let dialer = Dialer::new(EtcdOptions::default());
        suite(dialer.open("consul", &server.address, "/test/root").await.unwrap()).await;
        let conn = dialer.open("consul", &server.address, "test/root").await.unwrap();
        assert_eq!(conn.get("none").await.unwrap_err().to_string(), "node doesn't exist: test/root/none");
        let lock = conn.lock(request().named("l")).await.unwrap();
        let (flags, session) = server.lock_of("test/root/l/Lock").unwrap();
        assert!(flags == 3_304_740_253_564_472_344 && !session.is_empty(), "{flags} {session}");
        lock.release().await.unwrap();
        assert_eq!(server.lock_of("test/root/l/Lock"), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn consul_locks_end_with_their_session_and_dead_servers_are_named() {
        let mut server = FakeConsul::start(None).await;
        let dialer = dialer(Duration::from_millis(300), Duration::from_millis(500), None);
        let conn = dialer.open("consul", &server.address, "test/root").await.unwrap();
        std::mem::drop(conn.lock(request().named("forgotten")).await.unwrap());
        conn.lock(patient().named("forgotten")).await.unwrap().release().await.unwrap();
        // outlives its lifetime by being renewed
        let lock = conn.lock(request().named("g")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        lock.check().await.unwrap();
        conn.write_one(Write::put("g/x", "1", Expect::Any), Some(&lock)).await.unwrap();
        server.end_sessions();
        let refused = conn.write_one(Write::put("g/x", "2", Expect::Any), Some(&lock)).await.unwrap_err();
        assert!(matches!(refused, Error::LockLost(_)), "{refused}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(matches!(lock.check().await.unwrap_err(), Error::LockLost(_)));
        conn.lock(patient().named("g")).await.unwrap().release().await.unwrap();
        drop(server.stop.take());
        // connections that are open still answer
        let fresh = dialer.open("consul", &server.address, "test/root").await.unwrap();
        while fresh.probe().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        dead(&dialer.open("consul", &server.address, "test/root").await.unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_consul_agent_that_answers_badly_is_left() {
        let (first, dead) = (FakeConsul::start(None).await, super::super::ports::Port::free().unwrap());
        let second = first.beside().await;
        let addresses = format!("{},{},{}", dead.address(), first.address, second.address);
        let dialer = dialer(Duration::from_secs(10), Duration::ZERO, None);
        let conn = dialer.open("consul", &addresses, "/test/root").await.unwrap();
        suite(Arc::clone(&conn)).await;
        for (round, bad) in [Health::WithoutLeader, Health::Silent].into_iter().enumerate() {
            for ill in [&first, &second] {
                ill.health.send_replace(bad);
                let path = format!("ill/{round}/{}", ill.address);
                let lock = conn.lock(request().named("ill")).await.unwrap();
                lock.check().await.unwrap();
                assert!(conn.get(&path).await.unwrap_err().is_no_node());
                if bad == Health::WithoutLeader {
                    // what an agent says that has no leader was not done
                    conn.write_one(Write::put(path.clone(), "1", Expect::Absent), Some(&lock)).await.unwrap();
                    assert_eq!(conn.get(&path).await.unwrap().value.as_ref(), b"1");
                }
                assert_eq!(
                    conn.list("ill").await.unwrap().iter().filter(|node| node.path.ends_with("Lock")).count(),
                    1
                );
                conn.get_many(vec![path]).await.unwrap();
                conn.list_dir("ill").await.unwrap();
                conn.probe().await.unwrap();
                lock.release().await.unwrap();
                ill.health.send_replace(Health::Well);
            }
        }
        // all of them
        first.health.send_replace(Health::WithoutLeader);
        second.health.send_replace(Health::WithoutLeader);
        for error in [conn.get("x").await.unwrap_err(), conn.create("x", vec![]).await.unwrap_err()] {
            assert!(error.is_unreachable() && error.to_string().contains("500 Internal Server Error"), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn agents_of_consul_are_waited_for_while_a_leader_is_elected() {
        let first = FakeConsul::start(None).await;
        let second = first.beside().await;
        let addresses = format!("{},{}", first.address, second.address);
        let dialer = dialer(Duration::from_secs(10), Duration::ZERO, None);
        let conn = dialer.open("consul", &addresses, "/test/root").await.unwrap();
        conn.create("a", b"1".to_vec()).await.unwrap();
        first.health.send_replace(Health::Electing);
        second.health.send_replace(Health::Electing);
        let elected = async {
            // longer than each of them may be silent while the other is left to be asked
            tokio::time::sleep(Duration::from_secs(7)).await;
            first.health.send_replace(Health::Well);
            second.health.send_replace(Health::Well);
        };
        assert_eq!(tokio::join!(conn.get("a"), elected).0.unwrap().value.as_ref(), b"1");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_session_outlives_what_its_agent_says_meanwhile() {
        let server = FakeConsul::start(None).await;
        let dialer = dialer(Duration::from_secs(4), Duration::ZERO, None);
        let conn = dialer.open("consul", &server.address, "test/root").await.unwrap();
        let lock = conn.lock(request().named("g")).await.unwrap();
        server.health.send_replace(Health::WithoutLeader);
        // so long that its life must be asked for
        tokio::time::sleep(Duration::from_millis(2200)).await;
        let heal = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.health.send_replace(Health::Well);
        };
        tokio::join!(lock.check(), heal).0.unwrap();
        conn.write_one(Write::put("g/x", "1", Expect::Any), Some(&lock)).await.unwrap();
        lock.release().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_for_a_lock_is_told_when_its_session_ends() {
        let server = FakeConsul::start(None).await;
        let dialer = dialer(Duration::from_secs(10), Duration::ZERO, None);
        let conn = dialer.open("consul", &server.address, "test/root").await.unwrap();
        let lock = conn.lock(request().named("g")).await.unwrap();
        let waiting = tokio::spawn({
            let conn = Arc::clone(&conn);
            async move { conn.lock(patient().named("g")).await.map(drop) }
        });
        while server.sessions() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.end_sessions();
        let error = waiting.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::LockLost(_)), "{error}");
        assert!(matches!(lock.release().await.unwrap_err(), Error::LockLost(_)));
    }

    #[tokio::test]
    async fn consul_tokens_are_shown_to_their_server_and_nowhere_else() {
        let (logged, _guard) = Logged::start();
        let server = FakeConsul::start(Some("planted-token")).await;
        let dialer = dialer(Duration::from_secs(1), Duration::ZERO, Some("planted-token"));
        let own = dialer.open_for(&Holder::Own, None, "consul", &server.address, "r").await.unwrap();
        own.create("a", vec![1]).await.unwrap();
        assert_eq!(own.get("a").await.unwrap().value.as_ref(), [1]);
        let mount = Holder::MountToWrite("ext1".into());
        let refused = dialer.open_for(&mount, None, "consul", &server.address, "r").await.unwrap();
        let error = refused.get("a").await.unwrap_err();
        assert!(error.to_string().contains("not allowed: Permission denied: token anonymous"), "{error}");
        assert!(crate::error::Explain::help(&error).contains("--mount-settings"));
        let file = serde_json::json!({"ext1": {"servers": [server.address], "consul_token": "planted-wrong"}});
        let mounts = MountSettings::parse(file.to_string().as_bytes(), &|_| unreachable!()).unwrap();
        let dialer = Dialer::with(Options { mounts, ..Options::default() });
        let conn = dialer.open_for(&mount, None, "consul", &server.address, "r").await.unwrap();
        let errors = [conn.get("a").await.unwrap_err(), conn.create("b", vec![]).await.unwrap_err()];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("token *** lacks") && !shown.contains("planted"), "{shown}");
        }
        logged.hides("planted");
    }
}
