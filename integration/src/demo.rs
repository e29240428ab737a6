//! The demonstration: a whole migration between two clusters of this machine, told step by step.
//!
//! Each step is printed as the command of the stock client `vtctldclient` that a person would type, followed by the answer as that
//! client prints it. The stock client need not be here: the same RPCs go through our own gRPC client.
//!
//! # Layout
//! - what is printed and how: [`screen`], [`json`]
//! - the rows of the source, and who goes on writing them: [`data`], [`writer`]
//! - the steps: [`commands`], [`progress`], [`diff`], [`verdict`], [`compare`]; all of it together: [`life`]

pub mod commands;
pub mod compare;
pub mod data;
pub mod diff;
pub mod json;
pub mod life;
pub mod progress;
pub mod screen;
pub mod verdict;
pub mod writer;

use crate::{
    cluster::{self, Cluster},
    mysqld::Release,
    server::{self, Server},
};

/// Why the demonstration could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error("MySQL: {0}")]
    Sql(#[from] mysql_async::Error),
    #[error("{code:?}: {}", .0.message(), code = .0.code())]
    Status(#[from] Box<tonic::Status>),
    #[error("the writer has failed: {0}")]
    Writer(String),
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    #[error("JSON: {0}")]
    Json(String),
    #[error("vindex: {0}")]
    Vindex(#[from] integration_tablet::vindex::Error),
    #[error("{0} is not in the answer")]
    Missing(&'static str),
    #[error("nothing has moved for {seconds} s: {last}")]
    Stuck { seconds: u64, last: String },
    #[error("the verdict is not GO: complete would be refused")]
    NotGo,
    #[error("a write through the target was taken while the tables were still being copied")]
    NotDenied,
    #[error("the row that was written through the target is not there")]
    NotWritten,
}

/// The keyspace that is brought over, in one shard.
pub const SOURCE: &str = "commerce";
/// Where it is brought to, in two shards.
pub const TARGET: &str = "customer";
/// The cell of the source's cluster.
pub const SOURCE_CELL: &str = "zone1";
const TARGET_CELL: &str = "zone2";
const TARGET_SHARDS: [&str; 2] = ["-80", "80-"];

/// The two clusters, and our server on the topology of the target.
pub struct Lab {
    pub source: Cluster,
    pub target: Cluster,
    pub server: Server,
}

impl Lab {
    /// Starts everything and waits until it serves. What was started ends when this future or the result is dropped.
    ///
    /// # Errors
    /// A program is missing or does not come up.
    pub async fn start() -> Result<Self, Error> {
        let mysql = Release::installed();
        let (source, target) = tokio::try_join!(
            Cluster::new(SOURCE_CELL).mysql(mysql).keyspace(SOURCE, &["0"]).replicas(1).start(),
            Cluster::new(TARGET_CELL).mysql(mysql).keyspace(TARGET, &TARGET_SHARDS).first_uid(200).start(),
        )?;
        let server = Server::start(&target.topo_flags()).await?;
        Ok(Self { source, target, server })
    }

    /// The page of the migration, which our server serves while it runs.
    #[must_use]
    pub fn page(&self) -> String {
        format!("http://localhost:{}/app/{TARGET}/{}", self.server.http_address().port(), commands::WORKFLOW)
    }

    /// Where everything can be reached, one a line.
    ///
    /// # Errors
    /// Never: both clusters have tablets.
    pub fn addresses(&self) -> Result<Vec<String>, Error> {
        let mut lines = vec![
            format!("vtmigrated       gRPC localhost:{}", self.server.grpc_address().port()),
            format!("                 status page http://localhost:{}/", self.server.http_address().port()),
        ];
        for (name, keyspace, cluster) in [("source", SOURCE, &self.source), ("target", TARGET, &self.target)] {
            lines.push(format!("{name} etcd      {}", cluster.etcd().address()));
            let port = cluster.mysqld()?.port();
            for shard in cluster.shards(keyspace) {
                let place = format!("{keyspace}/{}", shard.name);
                lines.push(format!(
                    "{name} MySQL     {place:<12} mysql -h 127.0.0.1 -P {port} -u root {}",
                    shard.db_name
                ));
                for tablet in shard.tablets() {
                    let kind = tablet.options().tablet_type.as_str_name().to_lowercase();
                    let alias = tablet.options().alias_text();
                    lines.push(format!("{name} tablet    {place:<12} {alias} {kind:<7} gRPC {}", tablet.address()));
                }
            }
        }
        Ok(lines)
    }

    /// Ends everything in order, and removes its data.
    ///
    /// # Errors
    /// Something could not be ended, or a lock is left in a topology.
    pub async fn remove(self) -> Result<(), Error> {
        self.server.term().await?;
        drop(self.server);
        self.target.finish().await?;
        Ok(self.source.finish().await?)
    }
}
