//! A real ZooKeeper of one member with a fresh data folder, on a free port of 127.0.0.1.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    ports::Port,
    process::{self, Process, Program},
};

const READY: Duration = Duration::from_secs(60);
/// Debian's classes (`libzookeeper-java`); its service is not installed.
const CLASSES: &str = "/usr/share/java";
const JARS: &[&str] = &["zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop", "snappy-java", "metrics-core"];

/// Why a ZooKeeper could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("zookeeper: {0}")]
    Io(#[from] std::io::Error),
}

/// A running ZooKeeper. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Zookeeper {
    /// Held so that it lives as long.
    _process: Process,
    client: Port,
}

impl Zookeeper {
    /// Starts a server without data and waits until it takes connections.
    ///
    /// # Errors
    /// `integration/setup` has not been run, or the server does not come up.
    pub async fn start() -> Result<Self, Error> {
        let folder = process::folder("zookeeper")?;
        let client = Port::free()?;
        let settings = format!(
            "tickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=60000\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            folder.path().join("data").display(),
            client.number(),
        );
        let file = folder.path().join("zoo.cfg");
        std::fs::write(&file, settings)?;
        let classes: Vec<String> = JARS.iter().map(|jar| format!("{CLASSES}/{jar}.jar")).collect();
        let args = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", &classes.join(":")];
        let mut args: Vec<std::ffi::OsString> = args.map(Into::into).into();
        args.push("org.apache.zookeeper.server.ZooKeeperServerMain".into());
        args.push(file.into());
        let program =
            Program { name: "zookeeper".into(), path: process::installed("bin/java")?, args, env: Vec::new() };
        let process = Process::start(program, folder)?;
        let probe = async || serving(client.address()).await;
        process.until_ready(READY, probe).await?;
        Ok(Self { _process: process, client })
    }

    /// Where clients connect: `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.client.address().to_string()
    }
}

/// Asks the server by its command `srvr`: connections are taken before it serves.
async fn serving(address: SocketAddr) -> Result<(), std::io::Error> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"srvr").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.contains("Mode: standalone") { Ok(()) } else { Err(std::io::Error::other(answer)) }
}
