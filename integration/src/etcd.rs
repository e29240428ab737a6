//! A real etcd of one member or several with fresh data folders, on free ports of 127.0.0.1.

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
    #[error("no member of etcd leads")]
    NoLeader,
}

/// A running etcd. Dropping it kills the servers and removes their data.
#[derive(Debug)]
pub struct Etcd {
    /// One at least.
    members: Vec<Member>,
}

/// One server.
#[derive(Debug)]
struct Member {
    process: Process,
    client: Port,
    /// Held for its reservation.
    _peer: Port,
}

impl Member {
    /// Starts a member of a cluster that `all` (`name=url,…`) names.
    fn start(name: &str, (client, peer): (Port, Port), all: &str, ticks: [&str; 2]) -> Result<Self, Error> {
        let folder = process::folder("etcd")?;
        let (client_url, peer_url) = (format!("http://{}", client.address()), format!("http://{}", peer.address()));
        let data = folder.path().join("data");
        let args: Vec<OsString> = vec![
            format!("--name={name}").into(),
            format!("--data-dir={}", data.display()).into(),
            format!("--listen-client-urls={client_url}").into(),
            format!("--advertise-client-urls={client_url}").into(),
            format!("--listen-peer-urls={peer_url}").into(),
            format!("--initial-advertise-peer-urls={peer_url}").into(),
            format!("--initial-cluster={all}").into(),
            ticks[0].into(),
            ticks[1].into(),
            "--log-level=warn".into(),
        ];
        let env = vec![("ETCD_UNSUPPORTED_ARCH".into(), std::env::consts::ARCH.replace("aarch64", "arm64").into())];
        let program = Program { name: "etcd".to_owned(), path: process::installed("bin/etcd")?, args, env };
        Ok(Self { process: Process::start(program, folder)?.watched(), client, _peer: peer })
    }

    fn address(&self) -> String {
        self.client.address().to_string()
    }

    /// Whether it says that it leads.
    async fn leads(&self) -> Result<bool, Error> {
        let mut client = Client::connect([self.address()], None).await?;
        let status = tokio::time::timeout(ANSWER, client.status()).await??;
        let leader = status.leader();
        Ok(leader != 0 && status.header().is_some_and(|header| header.member_id() == leader))
    }

    async fn ready(&self) -> Result<(), Error> {
        let probe = async || dump(&[self.address()], "ready").await.map(drop);
        Ok(self.process.until_ready(READY, probe).await?)
    }
}

impl Etcd {
    /// Starts a server without data and waits until it answers.
    ///
    /// # Errors
    /// `integration/setup` has not been run, or the server does not come up.
    pub async fn start() -> Result<Self, Error> {
        Self::start_members(1).await
    }

    /// Starts a cluster of so many servers, one at least, and waits until all of them answer.
    ///
    /// # Errors
    /// As [`Etcd::start`].
    pub async fn start_members(count: usize) -> Result<Self, Error> {
        // Ticks far below the defaults: one member needs no patience with others, and is its own leader at once.
        let ticks = match count {
            0 | 1 => ["--heartbeat-interval=20", "--election-timeout=200"],
            _ => ["--heartbeat-interval=100", "--election-timeout=1000"],
        };
        let mut ports = Vec::new();
        for _ in 0..count.max(1) {
            ports.push((Port::free()?, Port::free()?));
        }
        let peers = ports.iter().enumerate().map(|(at, (_, peer))| format!("m{at}=http://{}", peer.address()));
        let all = peers.collect::<Vec<_>>().join(",");
        let mut members = Vec::new();
        for (at, ports) in ports.into_iter().enumerate() {
            members.push(Member::start(&format!("m{at}"), ports, &all, ticks)?);
        }
        let etcd = Self { members };
        etcd.until_ready().await?;
        Ok(etcd)
    }

    /// The member that has a number; the first for one that nobody has.
    fn member(&self, at: usize) -> &Member {
        self.members.get(at).unwrap_or(&self.members[0])
    }

    /// Where clients connect to each member: `127.0.0.1:<port>`.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Member::address).collect()
    }

    /// Where clients connect, as `--topo_global_server_address` takes it: addresses with commas between them.
    #[must_use]
    pub fn address(&self) -> String {
        self.addresses().join(",")
    }

    /// A new client.
    ///
    /// # Errors
    /// The address is refused by the client library; a dead server is only noticed at the first call.
    pub async fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(self.addresses(), None).await?)
    }

    /// All keys that begin with `prefix`, with their values.
    ///
    /// # Errors
    /// The server does not answer within ten seconds.
    pub async fn dump(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        dump(&self.addresses(), prefix).await
    }

    /// Keys of the locks of all topologies that it keeps.
    ///
    /// # Errors
    /// The server does not answer within ten seconds.
    pub async fn locks(&self) -> Result<Vec<String>, Error> {
        Ok(self.dump("").await?.into_keys().filter(|key| key.contains("/locks/")).collect())
    }

    /// Kills all servers with SIGKILL; their data stays for [`Etcd::restart`].
    ///
    /// # Errors
    /// A process cannot be ended.
    pub fn kill(&self) -> Result<(), Error> {
        self.members.iter().try_for_each(|member| Ok(member.process.kill()?))
    }

    /// Starts all servers again on the same data and ports, killing those first that run, and waits until they answer.
    ///
    /// # Errors
    /// One does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.members.iter().try_for_each(|member| member.process.start_again())?;
        self.until_ready().await
    }

    /// Kills one of several members with SIGKILL, from 0; its data stays.
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn kill_member(&self, at: usize) -> Result<(), Error> {
        Ok(self.member(at).process.kill()?)
    }

    /// Starts a member again on the same data and ports, and does not wait for it: without the others it does not answer.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_member(&self, at: usize) -> Result<(), Error> {
        Ok(self.member(at).process.start_again()?)
    }

    /// The number of the member that leads.
    ///
    /// # Errors
    /// None does at the moment.
    pub async fn leader(&self) -> Result<usize, Error> {
        for (at, member) in self.members.iter().enumerate() {
            if member.leads().await.unwrap_or_default() {
                return Ok(at);
            }
        }
        Err(Error::NoLeader)
    }

    /// Waits until every member answers.
    ///
    /// # Errors
    /// One does not.
    pub async fn until_ready(&self) -> Result<(), Error> {
        for member in &self.members {
            member.ready().await?;
        }
        Ok(())
    }

    /// The process of the first member, for its id, folder and log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.members[0].process
    }
}

/// All keys of the etcd at these addresses that begin with `prefix`, with their values.
async fn dump(addresses: &[String], prefix: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut client = Client::connect(addresses, None).await?;
    let options = if prefix.is_empty() { GetOptions::new().with_all_keys() } else { GetOptions::new().with_prefix() };
    let response = tokio::time::timeout(ANSWER, client.get(prefix, Some(options))).await??;
    let pairs = response.kvs().iter();
    Ok(pairs.map(|kv| (String::from_utf8_lossy(kv.key()).into_owned(), kv.value().to_vec())).collect())
}
