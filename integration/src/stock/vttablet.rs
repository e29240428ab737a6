//! A real vttablet on a MySQL server of its own.

use std::time::Duration;

use super::{Error, Generation, programs};
use crate::{
    client,
    mysqld::{Mysqld, Release},
    ports::Port,
    process::Process,
};

const READY: Duration = Duration::from_secs(120);

/// What a tablet is started with.
pub(super) struct Place<'a> {
    pub generation: Generation,
    /// More flags, in today's spelling.
    pub flags: &'a [String],
    pub cell: &'a str,
    pub topology: &'a str,
    pub keyspace: &'a str,
    pub shard: &'a str,
    pub uid: u32,
}

/// A running vttablet and its MySQL server.
#[derive(Debug)]
pub struct Vttablet {
    alias: String,
    process: Process,
    mysqld: Mysqld,
    grpc: Port,
    http: Port,
}

impl Vttablet {
    /// Starts both and waits until the tablet takes calls; it has no primary yet.
    pub(super) async fn start(release: Release, place: &Place<'_>) -> Result<Self, Error> {
        let mysqld = Mysqld::start_release(release).await?;
        let (grpc, http) = (Port::free()?, Port::free()?);
        let alias = format!("{}-{:010}", place.cell, place.uid);
        let mut args = programs::topo_flags(place.topology);
        args.extend([
            format!("--tablet-path={alias}"),
            "--tablet-hostname=127.0.0.1".to_owned(),
            format!("--init-keyspace={}", place.keyspace),
            format!("--init-shard={}", place.shard),
            "--init-tablet-type=replica".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", http.number()),
            "--grpc-bind-address=127.0.0.1".to_owned(),
            format!("--grpc-port={}", grpc.number()),
            "--service-map=grpc-queryservice,grpc-tabletmanager,grpc-updatestream".to_owned(),
            "--db-host=127.0.0.1".to_owned(),
            format!("--db-port={}", mysqld.port()),
            "--db-ssl-mode=disabled".to_owned(),
            "--health-check-interval=5s".to_owned(),
            "--log-format=text".to_owned(),
        ]);
        args.extend(
            ["app", "dba", "repl", "filtered", "allprivs", "appdebug"].map(|user| format!("--db-{user}-user=root")),
        );
        args.extend_from_slice(place.flags);
        let process = programs::start(place.generation, "vttablet", args)?;
        let tablet = Self { alias, process, mysqld, grpc, http };
        tablet.ready().await?;
        Ok(tablet)
    }

    /// The tablet's alias, `<cell>-<uid>`.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The vttablet's process, to be killed and started again.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its MySQL server.
    #[must_use]
    pub fn mysqld(&self) -> &Mysqld {
        &self.mysqld
    }

    /// Where its gRPC services are: `127.0.0.1:<port>`.
    #[must_use]
    pub fn grpc_address(&self) -> String {
        self.grpc.address().to_string()
    }

    /// Where its pages are: `127.0.0.1:<port>`.
    #[must_use]
    pub fn http_address(&self) -> String {
        self.http.address().to_string()
    }

    /// Waits until it takes calls, after a start or [`Process::start_again`].
    ///
    /// # Errors
    /// It does not come up.
    pub async fn ready(&self) -> Result<(), Error> {
        let probe = async || client::channel(&self.grpc_address()).await.map(drop);
        Ok(self.process.until_ready(READY, probe).await?)
    }
}
