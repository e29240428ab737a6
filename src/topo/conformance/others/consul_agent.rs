//! The suite on a real Consul and on a stand-in for it, and what is particular to that.

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
    count_over_restarts(&conn, async || server.restart().await).await;
    conn.lock(request().named("l")).await.unwrap().release().await.unwrap();
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
    conn.lock(request().named("forgotten")).await.unwrap().release().await.unwrap();
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
    conn.lock(request().named("g")).await.unwrap().release().await.unwrap();
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
            assert_eq!(conn.list("ill").await.unwrap().iter().filter(|node| node.path.ends_with("Lock")).count(), 1);
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
        async move { conn.lock(request().named("g")).await.map(drop) }
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

/// A server that answers everybody the same.
async fn saying(status: &'static str, body: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    });
    address
}

#[tokio::test]
async fn what_a_server_says_that_no_setting_names_is_not_repeated() {
    let text = r#""planted-mark""#;
    let refusal = r#"{"Errors": [{"OpIndex": 0, "What": "Permission denied: planted-mark"}]}"#;
    let answers = ["200 OK", "400 Bad Request", "403 Forbidden", "413 Payload Too Large", "500 Internal Server Error"];
    for (status, body) in answers.map(|status| (status, text)).into_iter().chain([("409 Conflict", refusal)]) {
        let address = saying(status, body).await;
        let conn = Dialer::new(EtcdOptions::default()).open("consul", &address, "r").await.unwrap();
        let errors = [
            conn.get("a").await.unwrap_err(),
            conn.list("a").await.unwrap_err(),
            conn.list_dir("a").await.unwrap_err(),
            conn.create("a", vec![]).await.unwrap_err(),
        ];
        for error in errors {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("planted"), "{status}: {shown}");
        }
    }
}
