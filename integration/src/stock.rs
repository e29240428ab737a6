//! Two clusters of Vitess's own programs, of the versions that `integration/stock` names, with our server in the place
//! of each one's vtctld and the stock `vtctldclient` as the only driver.
//!
//! Each test program starts the pair once; a test makes keyspaces of its own in it, whose tablets end with them:
//!
//! ```text
//! let pair = stock::pair().await.unwrap();
//! let source = pair.source.keyspace("commerce", &["0"]).await.unwrap();
//! let target = pair.target.keyspace("customer", &["-80", "80-"]).await.unwrap();
//! source.run("CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
//! pair.target.apply_vschema("customer", VSCHEMA).await.unwrap();
//! let import = pair.migration("import", "commerce", "customer");
//! import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
//! import.until_running().await.unwrap();
//! // any command of the client: its output is an `Output`, whether or not it succeeds
//! let output = pair.target.vtctldclient(&["Workflow", "--keyspace", "customer", "list"]).await.unwrap();
//! assert!(output.ok(), "{output}");
//! ```
//!
//! The source is mounted as [`MOUNT`]. Names of keyspaces must differ among the tests of one program. Every shard has one
//! vttablet on a MySQL server of its own ([`keyspace::Shard::run`] passes by the tablet), and the target has a vtgate
//! ([`Cluster::query`]). All of it dies with the test program.

mod admin;
mod client;
mod cluster;
mod gate;
pub mod keyspace;
mod migration;
mod programs;
mod vtctld;
mod vttablet;

use std::process::Child;

use tokio::sync::OnceCell;

pub use admin::Admin;
pub use client::Output;
pub use cluster::Cluster;
pub use keyspace::Keyspace;
pub use migration::{Migration, until};
pub use programs::Generation;
pub use vtctld::Vtctld;

use crate::{cluster::topology::GLOBAL_ROOT, etcd, mysqld, process, server};

/// The name under which the target knows the source.
pub const MOUNT: &str = "ext1";

/// Why a cluster of stock programs could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    #[error(transparent)]
    Mysqld(#[from] mysqld::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error("MySQL: {0}")]
    Sql(#[from] mysql_async::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{command}: {output}")]
    Refused { command: String, output: Output },
    #[error("{path}: {why}")]
    Page { path: String, why: String },
    #[error("{command}: no answer within {limit:?}")]
    Silent { command: String, limit: std::time::Duration },
    #[error("keyspace {keyspace} has no shard {shard}")]
    NoShard { keyspace: String, shard: String },
    #[error("integration/{0} asks for no version of vitess.io/vitess")]
    NoVersion(&'static str),
    #[error("STOCK_GENERATIONS={0}: those of source and target are expected, such as 22:24")]
    NoGenerations(String),
    #[error("setpriv is not on PATH: it starts Vitess's programs as an ordinary user")]
    NoSetpriv,
    #[error("{what}: not within {limit:?}; last seen: {last}")]
    Patience { what: String, limit: std::time::Duration, last: String },
    #[error(transparent)]
    Rows(#[from] crate::cluster::Error),
}

/// Two clusters, the first of which is mounted in the second.
pub struct Pair {
    pub source: Cluster,
    pub target: Cluster,
}

/// The pair of a test program, and the shell that will remove its folders.
struct Shared {
    pair: Pair,
    _shell: Child,
}

/// Chooses the generations of [`pair`]: of source and target, such as `22:22`. For runs by hand.
const GENERATIONS: &str = "STOCK_GENERATIONS";
/// As `BATCHING_STAYS` tells: tablets of one generation do not read the other's name of that override.
const WITHOUT_BATCHING: &[&str] = &["--vreplication-experimental-flags=3"];

/// The pair of this test program, started by the first test that asks: both of 24, unless `STOCK_GENERATIONS` names others.
///
/// # Errors
/// A program does not come up; generations that are none.
pub async fn pair() -> Result<&'static Pair, Error> {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    let start = async || {
        let (source, target) = match std::env::var(GENERATIONS) {
            Ok(text) => Generation::two(&text).ok_or(Error::NoGenerations(text))?,
            Err(_) => (Generation::V24, Generation::V24),
        };
        let flags: &[&str] = if source == target { &[] } else { WITHOUT_BATCHING };
        let shell = process::remove_folders_at_exit()?;
        Ok(Shared { _shell: shell, pair: Pair::start_with((source, flags), (target, flags)).await? })
    };
    SHARED.get_or_try_init(start).await.map(|shared| &shared.pair)
}

impl Pair {
    /// Starts a pair of the generations of source and target that no other test uses; the target's tablets get more flags.
    ///
    /// # Errors
    /// A program does not come up.
    pub async fn start(source: Generation, target: Generation, flags: &[&str]) -> Result<Self, Error> {
        Self::start_with((source, &[]), (target, flags)).await
    }

    /// The same with more flags for the tablets of each side.
    async fn start_with(source: (Generation, &[&str]), target: (Generation, &[&str])) -> Result<Self, Error> {
        let (source, target) = tokio::try_join!(
            Cluster::start(source.0, source.1, "zone1", 100),
            Cluster::start(target.0, target.1, "zone2", 200)
        )?;
        let address = source.etcd().address();
        let mount = ["Mount", "register", "--name", MOUNT, "--topo-type", "etcd2", "--topo-root", GLOBAL_ROOT];
        target.vtctldclient(&[&mount[..], &["--topo-server", &address]].concat()).await?.expect()?;
        Ok(Self { source, target })
    }

    /// The commands of one migration.
    #[must_use]
    pub fn migration<'a>(&'a self, workflow: &'a str, from: &'a str, to: &'a str) -> Migration<'a> {
        Migration::new(&self.target, workflow, from, to)
    }
}
