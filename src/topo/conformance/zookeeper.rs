//! A real ZooKeeper of one member: Debian's classes (`libzookeeper-java`), without its service.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Dialer, EtcdOptions};
use super::ports::Port;

const JARS: &[&str] = &[
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-nop",
    "snappy-java",
    "metrics-core",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-unix-common",
    "netty-transport-native-epoll",
];

const SETTINGS: &str = "zoo.cfg";

/// A running server; killed when dropped.
pub struct RealZookeeper {
    pub child: Child,
    pub address: String,
    pub secure_address: String,
    _ports: [Port; 2],
    dir: tempfile::TempDir,
}

impl RealZookeeper {
    /// Starts a server; with `tls` (authority, then certificate and key, PEM) it also has a port that asks for clients'
    /// certificates.
    pub async fn start(tls: Option<(&str, &str)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = [Port::free().unwrap(), Port::free().unwrap()];
        let [client, secure] = ports.each_ref().map(Port::number);
        let mut settings = format!(
            "tickTime=100\nminSessionTimeout=500\nmaxSessionTimeout=60000\ndataDir={}\nclientPort={client}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            dir.path().join("data").display()
        );
        if let Some((authority, identity)) = tls {
            for (name, text) in [("ca.pem", authority), ("server.pem", identity)] {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
            settings += &format!(
                "secureClientPort={secure}\nsecureClientPortAddress=127.0.0.1\n\
                 serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
                 ssl.keyStore.location={0}/server.pem\nssl.trustStore.location={0}/ca.pem\n",
                dir.path().display()
            );
        }
        let file = dir.path().join(SETTINGS);
        std::fs::write(&file, settings).unwrap();
        let child = java(&file);
        let [address, secure_address] = ports.each_ref().map(|port| port.address().to_string());
        let server = Self { child, address, secure_address, _ports: ports, dir };
        server.until_serving().await;
        server
    }

    async fn until_serving(&self) {
        for _ in 0..1200 {
            let dialer = Dialer::new(EtcdOptions::default());
            let conn = dialer.open("zk2", &self.address, "/").await.unwrap();
            if conn.probe().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("ZooKeeper did not answer at {} (data in {})", self.address, self.dir.path().display());
    }

    /// Kills it and starts it again with what it has stored.
    pub async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = java(&self.dir.path().join(SETTINGS));
        self.until_serving().await;
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

fn java(settings: &Path) -> Child {
    let classes: Vec<String> = JARS.iter().map(|jar| format!("/usr/share/java/{jar}.jar")).collect();
    Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", &classes.join(":")])
        .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
        .arg(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("java must be installed: run integration/setup")
}

impl Drop for RealZookeeper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_caller_in_a_hurry_fails_alone() {
    // it takes connections and says nothing
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let conn = Dialer::new(EtcdOptions::default()).open("zk2", &address, "/test/root").await.unwrap();
    let soon = Some(std::time::Instant::now() + Duration::from_millis(50));
    let mut patient = conn.get("x");
    let error = tokio::select! {
        biased;
        answer = crate::deadline::scope(soon, conn.get("x")) => answer.unwrap_err(),
        _ = &mut patient => panic!("the one in a hurry asked first"),
    };
    assert!(error.is_unreachable(), "{error}");
    assert!(futures::poll!(&mut patient).is_pending(), "it was told another one's failure");
}
