//! A real etcd of one member with a fresh data folder, on free ports of 127.0.0.1.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use etcd_client::{Client, GetOptions};

use crate::{
    ports::Port,
    process::{self, Process, Program},
};

const READY: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);

/// Why an etcd could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("etcd: {0}")]
    Io(#[from] std::io::Error),
    #[error("etcd: {0}")]
    Client(#[from] etcd_client::Error),
    #[error("etcd does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// A running etcd. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    client: Port,
    /// Held for its reservation.
    _peer: Port,
}

impl Etcd {
    /// Starts a server without data and waits until it answers.
    ///
    /// # Errors
    /// `integration/setup` has not been run, or the server does not come up.
    pub async fn start() -> Result<Self, Error> {
        let folder = process::folder("etcd")?;
        let (client, peer) = (Port::free()?, Port::free()?);
        let (client_url, peer_url) = (format!("http://{}", client.address()), format!("http://{}", peer.address()));
        let data = folder.path().join("data");
        // Ticks far below the defaults: one member needs no patience with others, and is its own leader at once.
        let args: Vec<OsString> = vec![
            "--name=test".into(),
            format!("--data-dir={}", data.display()).into(),
            format!("--listen-client-urls={client_url}").into(),
            format!("--advertise-client-urls={client_url}").into(),
            format!("--listen-peer-urls={peer_url}").into(),
            format!("--initial-advertise-peer-urls={peer_url}").into(),
            format!("--initial-cluster=test={peer_url}").into(),
            "--heartbeat-interval=20".into(),
            "--election-timeout=200".into(),
            "--log-level=warn".into(),
        ];
        let env = vec![("ETCD_UNSUPPORTED_ARCH".into(), std::env::consts::ARCH.replace("aarch64", "arm64").into())];
        let program = Program { name: "etcd".to_owned(), path: process::installed("bin/etcd")?, args, env };
        let server = Self { process: Process::start(program, folder)?.watched(), client, _peer: peer };
        server.ready().await?;
        Ok(server)
    }

    /// Where clients connect: `127.0.0.1:<port>`, as `--topo_global_server_address` takes it.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.address().to_string()
    }

    /// A new client.
    ///
    /// # Errors
    /// The address is refused by the client library; a dead server is only noticed at the first call.
    pub async fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect([self.address()], None).await?)
    }

    /// All keys that begin with `prefix`, with their values.
    ///
    /// # Errors
    /// The server does not answer within ten seconds.
    pub async fn dump(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut client = self.connect().await?;
        let options =
            if prefix.is_empty() { GetOptions::new().with_all_keys() } else { GetOptions::new().with_prefix() };
        let response = tokio::time::timeout(ANSWER, client.get(prefix, Some(options))).await??;
        let pairs = response.kvs().iter();
        Ok(pairs.map(|kv| (String::from_utf8_lossy(kv.key()).into_owned(), kv.value().to_vec())).collect())
    }

    /// Keys of the locks of all topologies that it keeps.
    ///
    /// # Errors
    /// The server does not answer within ten seconds.
    pub async fn locks(&self) -> Result<Vec<String>, Error> {
        Ok(self.dump("").await?.into_keys().filter(|key| key.contains("/locks/")).collect())
    }

    /// Kills the server with SIGKILL; its data stays for [`Etcd::restart`].
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn kill(&self) -> Result<(), Error> {
        Ok(self.process.kill()?)
    }

    /// Starts the server again on the same data and ports, killing it first if it runs, and waits until it answers.
    ///
    /// # Errors
    /// The server does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.process.start_again()?;
        self.ready().await
    }

    /// The process, for its id, folder and log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    async fn ready(&self) -> Result<(), Error> {
        let probe = async || self.dump("ready").await.map(drop);
        Ok(self.process.until_ready(READY, probe).await?)
    }
}
