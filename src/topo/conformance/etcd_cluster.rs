//! etcd of three members that are stopped, paused, restarted and cut off under a stream of every kind of operation; and what
//! one server may ask of its clients.

mod between;
mod single;
mod work;

use std::path::Path;
use std::time::Instant;

use between::Between;
use work::Workers;

use super::etcd_tls::renew;
use super::*;
use crate::tls::Files;
use crate::topo::access::Holder;

/// A member of a cluster; it keeps its data over a restart.
struct Member {
    child: Child,
    arguments: Vec<String>,
    address: String,
}

/// Three members. They end when dropped.
struct Three {
    members: Vec<Member>,
    between: Between,
    dialer: Dialer,
    _ports: Vec<ports::Port>,
    _dir: tempfile::TempDir,
}

fn etcd(arguments: &[String]) -> Child {
    let mut etcd = Command::new("etcd");
    etcd.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    etcd.spawn().expect("etcd must be installed: run integration/setup")
}

/// How a member at `address` serves its clients; with TLS, it asks them for certificates. `pki` is where files of that are
/// put.
fn for_clients(address: &str, pki: &Path, tls: bool) -> Vec<String> {
    let scheme = if tls { "https" } else { "http" };
    let mut arguments = vec![
        format!("--listen-client-urls={scheme}://{address}"),
        format!("--advertise-client-urls={scheme}://{address}"),
    ];
    if tls {
        for (name, file) in [("cert-file", "cert.pem"), ("key-file", "key.pem"), ("trusted-ca-file", "ca.pem")] {
            arguments.push(format!("--{name}={}", pki.join(file).display()));
        }
        arguments.push("--client-cert-auth".into());
    }
    arguments
}

/// A dialer that servers of [`for_clients`] know, whose files it makes.
fn dialer(pki: &Path, tls: bool) -> Dialer {
    if !tls {
        return Dialer::new(EtcdOptions::default());
    }
    renew(pki);
    let identity = Some((pki.join("cert.pem"), pki.join("key.pem")));
    let files = Files { ca: Some(pki.join("ca.pem")), identity, server_name: None };
    Dialer::new(EtcdOptions { tls: Some(files.load().unwrap()) })
}

/// A connection to the own topology, which is shown the certificate.
async fn open(dialer: &Dialer, address: &str, root: &str) -> Arc<dyn Conn> {
    dialer.open_for(&Holder::Own, None, "etcd2", address, root).await.unwrap()
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

    async fn until_serving(&self, dialer: &Dialer) {
        until_probed(&open(dialer, &self.address, "/").await).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
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
    async fn start(tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dialer = dialer(dir.path(), tls);
        let ports: Vec<ports::Port> = (0..6).map(|_| ports::Port::free().unwrap()).collect();
        let (clients, peers) = ports.split_at(3);
        let between = Between::start(&peers.iter().map(|port| port.address()).collect::<Vec<_>>()).await;
        let all = between.addresses.iter().enumerate().map(|(at, address)| format!("m{at}=http://{address}"));
        let all = all.collect::<Vec<_>>().join(",");
        let members = clients.iter().zip(peers).enumerate().map(|(at, (client, peer))| {
            let address = client.address().to_string();
            let mut arguments = for_clients(&address, dir.path(), tls);
            arguments.extend([
                format!("--name=m{at}"),
                format!("--data-dir={}", dir.path().join(at.to_string()).display()),
                format!("--listen-peer-urls=http://{}", peer.address()),
                format!("--initial-advertise-peer-urls=http://{}", between.addresses[at]),
                format!("--initial-cluster={all}"),
            ]);
            Member { child: etcd(&arguments), arguments, address }
        });
        let members = members.collect();
        let three = Self { members, between, dialer, _ports: ports, _dir: dir };
        three.until_serving().await;
        three
    }

    async fn until_serving(&self) {
        for member in &self.members {
            member.until_serving(&self.dialer).await;
        }
    }

    /// A connection to all members that begins at one of them.
    async fn conn(&self, first: usize) -> Arc<dyn Conn> {
        let mut addresses: Vec<&str> = self.members.iter().map(|member| member.address.as_str()).collect();
        addresses.rotate_left(first);
        open(&self.dialer, &addresses.join(","), "/test/root").await
    }

    /// Does `harm` to each member in turn, under a stream of every kind of operation: none may fail.
    async fn serves_while(mut self, harm: impl AsyncFn(&mut Self, usize)) {
        let workers = Workers::start(vec![self.conn(0).await, self.conn(1).await, self.conn(2).await]);
        for at in 0..self.members.len() {
            let before = workers.done();
            harm(&mut self, at).await;
            self.until_serving().await;
            assert!(workers.done() > before, "nothing was done while m{at} was harmed");
        }
        workers.end().await;
    }
}

async fn stopped_and_paused(three: &mut Three, at: usize) {
    three.members[at].stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    three.members[at].restart();
    three.members[at].until_serving(&three.dialer).await;
    three.members[at].signal("-STOP");
    tokio::time::sleep(Duration::from_secs(6)).await;
    three.members[at].signal("-CONT");
}

async fn cut_off(three: &mut Three, at: usize) {
    three.between.cut(at);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // it runs, and takes calls; what it cannot do without the others fails after seven seconds
    let alone = open(&three.dialer, &three.members[at].address, "/test/root").await;
    let error = alone.probe().await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    tokio::net::TcpStream::connect(&three.members[at].address).await.unwrap();
    three.between.heal();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_fails_while_members_stop_pause_and_restart() {
    Three::start(false).await.serves_while(stopped_and_paused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_fails_over_tls_while_a_member_is_cut_off_and_answers() {
    Three::start(true).await.serves_while(cut_off).await;
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
    let mut three = Three::start(false).await;
    let conn = three.conn(0).await;
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
        three.members[at].until_serving(&three.dialer).await;
    }
    conn.write_one(Write::put("guarded", "1", Expect::Any), Some(&lock)).await.unwrap();
    lock.release().await.unwrap();
}
