//! The programs that the other tests stand on really run and really end.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use integration::{
    cluster::{Cluster, Error},
    etcd::Etcd,
    mysqld::Mysqld,
    process::{self, Process, Program},
    proxy::{Link, Proxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

#[tokio::test]
async fn mysqld_keeps_its_rows_over_a_kill_and_leaves_nothing_behind() {
    let server = Mysqld::start().await.unwrap();
    server
        .run("", "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1), (2)")
        .await
        .unwrap();
    let variables = "SELECT @@gtid_mode, @@binlog_format, @@binlog_row_image, @@log_bin, @@server_id";
    let row = server.rows("", variables).await.unwrap().remove(0);
    let expected = ("ON".to_owned(), "ROW".to_owned(), "FULL".to_owned(), 1, server.port());
    assert_eq!(mysql_async::from_row::<(String, String, String, i32, u16)>(row), expected);

    server.kill().unwrap();
    assert!(server.connect("").await.is_err());
    server.restart().await.unwrap();
    let count: i32 = mysql_async::from_row(server.rows("d", "SELECT COUNT(*) FROM t").await.unwrap().remove(0));
    assert_eq!(count, 2);

    let pid = server.process().pid().unwrap();
    let folder = server.process().path().to_owned();
    assert!(folder.exists() && process_exists(pid));
    drop(server);
    assert!(!folder.exists() && !process_exists(pid));
}

#[tokio::test]
async fn etcd_keeps_its_keys_over_a_kill_and_leaves_nothing_behind() {
    let server = Etcd::start().await.unwrap();
    server.connect().await.unwrap().put("/a/key", "value", None).await.unwrap();
    server.kill().unwrap();
    assert!(server.dump("/a").await.is_err());
    server.restart().await.unwrap();
    assert_eq!(server.dump("/a").await.unwrap(), [("/a/key".to_owned(), b"value".to_vec())].into());

    server.process().pause().unwrap();
    assert!(timeout(Duration::from_millis(500), server.dump("/a")).await.is_err());
    server.process().resume().unwrap();
    assert_eq!(server.dump("").await.unwrap().len(), 1);

    let pid = server.process().pid().unwrap();
    let folder = server.process().path().to_owned();
    drop(server);
    assert!(!folder.exists() && !process_exists(pid));
}

#[tokio::test]
async fn two_etcds_do_not_know_each_other() {
    let (one, other) = tokio::try_join!(Etcd::start(), Etcd::start()).unwrap();
    one.connect().await.unwrap().put("key", "value", None).await.unwrap();
    assert!(other.dump("").await.unwrap().is_empty());
}

/// The test runs its own program again for this one test. There it starts an etcd, writes down where, and waits; then that
/// process is killed and the etcd must end, too.
#[tokio::test]
async fn programs_end_with_a_test_process_that_is_killed() {
    const FILE: &str = "VTMIGRATED_HARNESS_CHILD";
    if let Some(file) = std::env::var_os(FILE) {
        let server = Etcd::start().await.unwrap();
        let (pid, path) = (server.process().pid().unwrap(), server.process().path().display());
        std::fs::write(file, format!("{pid} {path}\n")).unwrap();
        std::future::pending().await
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etcd");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "harness::programs_end_with_a_test_process_that_is_killed"]).env(FILE, &file);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let (pid, path) = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some((pid, path)) = text.strip_suffix('\n').and_then(|line| line.split_once(' ')) {
            break (pid.parse().unwrap(), path.to_owned());
        }
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(process_exists(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = async {
        while process_exists(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.expect("etcd outlived its test process");
    std::fs::remove_dir_all(path).unwrap();
}

fn fail() {
    panic!("on purpose");
}

#[tokio::test]
async fn a_test_that_fails_keeps_the_log_of_a_program_that_ended_by_itself() {
    let start = |name: &str, script: &str| {
        let args = vec!["-c".into(), script.into()];
        let program = Program { name: name.to_owned(), path: "/bin/sh".into(), args, env: Vec::new() };
        Process::start(program, process::folder(name).unwrap()).unwrap().watched()
    };
    let (gone, running, ended) =
        (start("gone", "echo last words; exit 3"), start("runs", "exec sleep 600"), start("told", "exec sleep 600"));
    ended.kill().unwrap();
    while gone.ended().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kept = |process: &Process| {
        let name = process.path().file_name().unwrap().to_string_lossy().into_owned();
        process::home().join("ended").join(format!("{name}.log"))
    };
    // one that comes while another test starts a program tells nothing
    for _ in 0..100 {
        std::thread::spawn(fail).join().unwrap_err();
        if kept(&gone).exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(std::fs::read_to_string(kept(&gone)).unwrap(), "last words\n");
    std::fs::remove_file(kept(&gone)).unwrap();
    // each end is told once
    std::thread::spawn(fail).join().unwrap_err();
    for process in [&gone, &running, &ended] {
        assert!(!kept(process).exists());
    }
}

#[tokio::test]
async fn a_cluster_compares_the_rows_of_both_sides_and_notices_a_lock() {
    let cluster = Cluster::new("zone1").keyspace("commerce", &["0"]).keyspace("customer", &["-80", "80-"]);
    let cluster = cluster.start().await.unwrap();
    let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARBINARY(20))";
    cluster.run("commerce", &format!("{table}; INSERT INTO t VALUES (1, 'a'), (2, NULL), (3, x'00ff')")).await.unwrap();
    cluster.run("customer", table).await.unwrap();
    cluster.shard("customer", "-80").unwrap().run("INSERT INTO t VALUES (3, x'00ff')").await.unwrap();
    let high = cluster.shard("customer", "80-").unwrap();
    high.run("INSERT INTO t VALUES (2, NULL), (1, 'a')").await.unwrap();

    let source = cluster.table("commerce", "t").await.unwrap();
    assert_eq!(source.rows.len(), 3);
    source.expect_same(&cluster.table("customer", "t").await.unwrap()).unwrap();
    high.run("INSERT INTO t VALUES (3, x'00ff')").await.unwrap();
    let through = cluster.primary("customer", "80-").unwrap().execute("SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(through.rows[0].values, b"3");
    let Err(Error::Rows(difference)) = source.expect_same(&cluster.table("customer", "t").await.unwrap()) else {
        panic!("a doubled row was not noticed");
    };
    assert_eq!((difference.only_left.len(), difference.only_right.len()), (0, 1));

    let lock = "/vitess/global/keyspaces/customer/locks/1234";
    cluster.etcd().connect().await.unwrap().put(lock, "{}", None).await.unwrap();
    assert!(matches!(cluster.finish().await, Err(Error::Locks(keys)) if keys == [lock]));
}

#[tokio::test]
async fn proxy_carries_delays_blocks_and_cuts() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut stream, b"one").await, b"one");

    proxy.delay(Duration::from_millis(30), Duration::from_millis(40));
    let start = Instant::now();
    assert_eq!(say(&mut stream, b"two").await, b"two");
    assert!(start.elapsed() >= Duration::from_millis(70));
    proxy.delay(Duration::ZERO, Duration::ZERO);

    proxy.set(Link::Blocked);
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(timeout(Duration::from_millis(100), say(&mut stream, b"three")).await.is_err());
    assert!(timeout(Duration::from_millis(100), say(&mut new, b"four")).await.is_err());
    proxy.set(Link::Open);
    let mut held = [0; 5];
    stream.read_exact(&mut held).await.unwrap();
    assert_eq!(&held, b"three");
    new.read_exact(&mut held[..4]).await.unwrap();
    assert_eq!(&held[..4], b"four");

    proxy.set(Link::Cut);
    assert!(matches!(stream.read(&mut held).await, Ok(0) | Err(_)));
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(matches!(refused.read(&mut held).await, Ok(0) | Err(_)));
    proxy.set(Link::Open);
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut again, b"five").await, b"five");
    assert_eq!(proxy.accepted(), 4);
}

#[tokio::test]
async fn proxy_carries_everything_before_a_close() {
    let proxy = Proxy::start(echo().await).await.unwrap();
    proxy.delay(Duration::from_millis(5), Duration::from_millis(5));
    let (mut from, mut to) = TcpStream::connect(proxy.address()).await.unwrap().into_split();
    let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let write = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    from.read_to_end(&mut received).await.unwrap();
    write.await.unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

/// A server that sends back what it receives.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

/// Sends `text` and reads as many bytes.
async fn say(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

fn process_exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
