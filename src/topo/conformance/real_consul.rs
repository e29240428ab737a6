//! A real Consul agent of one server: `integration/setup` builds it from its Go module (`integration/consul`).

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Dialer, EtcdOptions};

/// A running agent; killed when dropped.
pub struct RealConsul {
    pub child: Child,
    pub address: String,
    _dir: tempfile::TempDir,
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl RealConsul {
    /// Starts an agent without data.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/.integration/bin/consul");
        let (http, serf, server) = (port(), port(), port());
        let child = Command::new(program)
            .args(["-dev", "-bind=127.0.0.1", "-log-level=error", "-serf-wan-port=-1", "-dns-port=-1"])
            .args(["-https-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", &format!("-http-port={http}")])
            .args([format!("-serf-lan-port={serf}"), format!("-server-port={server}")])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a Consul agent must have been built: run integration/setup");
        let agent = Self { child, address: format!("127.0.0.1:{http}"), _dir: dir };
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("consul", &agent.address, "").await.unwrap();
        for _ in 0..400 {
            if conn.probe().await.is_ok() {
                return agent;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Consul did not answer at {}", agent.address);
    }
}

impl Drop for RealConsul {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
