//! The suite on a real ZooKeeper, and what is particular to that.

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
    conn.lock(request().named("forgotten")).await.unwrap().release().await.unwrap();
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
    count_over_restarts(&conn, async || server.restart().await).await;
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
    // the first handshake of a Java server that has just started may take longer than a client waits
    for _ in 0..100 {
        if conn.probe().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
