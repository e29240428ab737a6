//! A real Consul agent of one server: `integration/setup` builds it from its Go module (`integration/consul`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Dialer, EtcdOptions};
use super::ports::Port;

/// A running agent; killed when dropped.
pub struct RealConsul {
    pub child: Child,
    pub address: String,
    arguments: Vec<String>,
    _ports: [Port; 2],
    dir: tempfile::TempDir,
}

fn consul(arguments: &[String], dir: &Path) -> Child {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.integration/bin/consul"))
        .args(arguments)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a Consul agent must have been built: run integration/setup")
}

impl RealConsul {
    /// Starts an agent without data, which keeps none.
    pub async fn start() -> Self {
        Self::start_as(&["-dev"]).await
    }

    /// Starts one without data, which keeps what it stores over a restart.
    pub async fn start_to_keep() -> Self {
        Self::start_as(&["-server", "-bootstrap", "-data-dir=data", "-hcl=performance { raft_multiplier = 1 }"]).await
    }

    async fn start_as(kind: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let taken = [Port::free().unwrap(), Port::free().unwrap()];
        // of this one Consul wants the UDP port too, which is what reserves it
        let serf = Port::free().unwrap().number();
        let common = ["-bind=127.0.0.1", "-log-level=error", "-serf-wan-port=-1", "-dns-port=-1"];
        let ports = ["-https-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1"];
        let mut arguments: Vec<String> = [kind, &common, &ports].concat().into_iter().map(str::to_owned).collect();
        arguments.push(format!("-http-port={}", taken[0].number()));
        arguments.extend([format!("-serf-lan-port={serf}"), format!("-server-port={}", taken[1].number())]);
        let child = consul(&arguments, dir.path());
        let mut agent = Self { child, address: taken[0].address().to_string(), arguments, _ports: taken, dir };
        agent.until_serving().await;
        agent
    }

    /// Until it answers and has registered itself, before which nobody gets a session.
    async fn until_serving(&mut self) {
        let dialer = Dialer::new(EtcdOptions::default());
        let conn = dialer.open("consul", &self.address, "").await.unwrap();
        for _ in 0..1200 {
            if conn.probe().await.is_ok()
                && let Ok(lock) = conn.lock(super::request().named("serving")).await
            {
                return lock.release().await.unwrap();
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "Consul ended by itself");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Consul did not answer at {}", self.address);
    }

    /// Kills it and starts it again.
    pub async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = consul(&self.arguments, self.dir.path());
        self.until_serving().await;
    }
}

impl Drop for RealConsul {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
