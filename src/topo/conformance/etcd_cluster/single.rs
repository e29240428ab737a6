//! What one server may ask of its clients, and what it may do between two calls.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::topo::access::{Access, Secret};

/// An etcd of one member.
struct One {
    member: Member,
    dialer: Dialer,
    _ports: [ports::Port; 2],
    _dir: tempfile::TempDir,
}

impl One {
    /// Starts it with more arguments, which may name files of its folder.
    async fn start(tls: bool, more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = [ports::Port::free().unwrap(), ports::Port::free().unwrap()];
        let dialer = dialer(dir.path(), tls);
        let address = ports[0].address().to_string();
        let mut arguments = for_clients(&address, dir.path(), tls);
        arguments.push(format!("--data-dir={}", dir.path().join("data").display()));
        arguments.push(format!("--listen-peer-urls=http://{}", ports[1].address()));
        arguments.extend(more(dir.path()));
        let member = Member { child: etcd(&arguments), arguments, address };
        member.until_serving(&dialer).await;
        Self { member, dialer, _ports: ports, _dir: dir }
    }

    async fn conn(&self) -> Arc<dyn Conn> {
        open(&self.dialer, &self.member.address, "/test/root").await
    }

    async fn client(&self, options: Option<etcd_client::ConnectOptions>) -> etcd_client::Client {
        etcd_client::Client::connect([self.member.address.as_str()], options).await.unwrap()
    }

    /// Asks for names and passwords from now on. Answers a connection that has them.
    async fn ask_for_users(&self) -> Arc<dyn Conn> {
        let mut users = self.client(None).await.auth_client();
        users.user_add("root", "planted", None).await.unwrap();
        users.role_add("root").await.unwrap();
        users.user_grant_role("root", "root").await.unwrap();
        users.auth_enable().await.unwrap();
        self.signed_in().await
    }

    /// A connection that has name and password.
    async fn signed_in(&self) -> Arc<dyn Conn> {
        let user = Some(("root".to_owned(), Secret::new("planted")));
        let access = Access { user, ..Access::default() };
        crate::topo::etcd::open(&self.member.address, "/test/root", access).await.unwrap()
    }

    /// How many reads it has answered so far.
    async fn reads(&self) -> u64 {
        let mut stream = tokio::net::TcpStream::connect(&self.member.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let is_reads = |line: &&str| line.starts_with("grpc_server_handled_total") && line.contains("\"Range\"");
        let counts = page.lines().filter(is_reads).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }
}

/// Tokens that it signs, or only remembers, which are good for `seconds`.
fn tokens(signed: bool, seconds: u32, dir: &Path) -> Vec<String> {
    if !signed {
        return vec!["--auth-token=simple".into(), format!("--auth-token-ttl={seconds}")];
    }
    let key = dir.join("key");
    std::fs::write(&key, "a key of some length, which nobody else has").unwrap();
    vec![format!("--auth-token=jwt,sign-method=HS256,priv-key={},ttl={seconds}s", key.display())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_token_is_renewed_when_users_have_changed() {
    let server = One::start(false, |dir| tokens(true, 600, dir)).await;
    let conn = server.ask_for_users().await;
    let path = "a/Record";
    conn.create(path, b"1".to_vec()).await.unwrap();
    let signed = etcd_client::ConnectOptions::new().with_user("root", "planted");
    for round in 0..3 {
        let admin = server.client(Some(signed.clone())).await;
        admin.auth_client().user_add(format!("somebody-{round}"), "x", None).await.unwrap();
        assert_eq!(conn.get(path).await.unwrap().value.as_ref(), b"1");
        let lock = conn.lock(request().named("l")).await.unwrap();
        conn.write_one(Write::put("b", "1", Expect::Any), Some(&lock)).await.unwrap();
        lock.release().await.unwrap();
    }
}

/// Tokens that are good for three seconds.
async fn renewed(signed: bool) {
    let server = One::start(false, |dir| tokens(signed, 3, dir)).await;
    let conn = server.ask_for_users().await;
    let path = "a/Record";
    conn.create(path, b"1".to_vec()).await.unwrap();
    // nobody uses the token meanwhile: a server that only remembers it would let it live on
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(conn.get(path).await.unwrap().value.as_ref(), b"1");
    // longer than a token and a lease live by themselves
    let held = conn.lock(request().named("held")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    held.check().await.unwrap();
    conn.write_one(Write::put("b", "1", Expect::Any), Some(&held)).await.unwrap();
    assert_eq!(conn.get(path).await.unwrap().value.as_ref(), b"1");
    held.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_expire_are_renewed() {
    tokio::join!(renewed(false), renewed(true));
}

/// A server that only remembers its tokens knows none of them after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_forgets_tokens_is_not_noticed() {
    let mut server = One::start(false, |dir| tokens(false, 600, dir)).await;
    let conn = server.ask_for_users().await;
    conn.create("a/Record", b"1".to_vec()).await.unwrap();
    server.member.stop();
    server.member.restart();
    until_probed(&server.signed_in().await).await;
    assert_eq!(conn.get("a/Record").await.unwrap().value.as_ref(), b"1");
    let lock = conn.lock(request().named("l")).await.unwrap();
    conn.write_one(Write::put("b", "1", Expect::Any), Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_two_calls_is_not_noticed() {
    for tls in [false, true] {
        let mut server = One::start(tls, |_| Vec::new()).await;
        let conns = [server.conn().await, server.conn().await, server.conn().await, server.conn().await];
        for (at, conn) in conns.iter().enumerate() {
            conn.create(&format!("r/{at}"), b"1".to_vec()).await.unwrap();
        }
        server.member.stop();
        server.member.restart();
        server.member.until_serving(&server.dialer).await;
        // the first call on each connection after it
        let [read, many, write, lock] = conns;
        assert_eq!(read.get("r/0").await.unwrap().value.as_ref(), b"1");
        let found = many.get_many(vec!["r/0".into(), "r/9".into()]).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        write.write_one(Write::put("r/2", "2", Expect::Any), None).await.unwrap();
        lock.lock(request().named("l")).await.unwrap().release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_lock_is_not_troubled_by_compaction() {
    let server = One::start(false, |_| Vec::new()).await;
    let conn = server.conn().await;
    let long = || LockRequest { ttl: Duration::from_secs(30), wait: Duration::from_secs(60), ..request() };
    let held = conn.lock(long().named("l")).await.unwrap();
    let waiting = tokio::spawn({
        let conn = Arc::clone(&conn);
        let request = long().named("l");
        async move { conn.lock(request).await }
    });
    while conn.list("l").await.unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = server.reads().await;
    let mut admin = server.client(None).await;
    for round in 0..10 {
        conn.write_one(Write::put("other", round.to_string(), Expect::Any), Some(&held)).await.unwrap();
        let revision = admin.get("other", None).await.unwrap().header().unwrap().revision();
        admin.compact(revision, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let reads = server.reads().await - before;
    // ten are the test's own, and a list is asked for every five seconds
    assert!(reads < 100, "{reads} reads while nothing happened to the lock");
    held.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_a_server_finds_too_large_are_parted() {
    let server = One::start(false, |_| vec!["--max-request-bytes=131072".into()]).await;
    let conn = server.conn().await;
    let lock = conn.lock(request().named("l")).await.unwrap();
    let paths: Vec<String> = (0..10).map(|at| format!("s/{at}")).collect();
    let writes = paths.iter().map(|path| Write::put(path.clone(), vec![7; 50_000], Expect::Absent)).collect();
    let versions = conn.write(writes, Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
    let found: Vec<i64> = conn.list("s").await.unwrap().iter().map(|node| node.version).collect();
    assert_eq!(found, versions);
}
