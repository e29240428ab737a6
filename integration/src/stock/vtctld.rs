//! Vitess's own vtctld, beside our server.

use std::time::Duration;

use super::{Error, Generation, Output, programs};
use crate::{client, ports::Port, process::Process};

const READY: Duration = Duration::from_secs(120);

/// A running vtctld of Vitess's own; dropping it ends it.
#[derive(Debug)]
pub struct Vtctld {
    generation: Generation,
    process: Process,
    grpc: Port,
    /// Held for its reservation.
    _http: Port,
}

impl Vtctld {
    /// Starts it on the topology at `topology` (`host:port`).
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(generation: Generation, topology: &str) -> Result<Self, Error> {
        let (grpc, http) = (Port::free()?, Port::free()?);
        let mut args = programs::topo_flags(topology);
        args.extend([
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", http.number()),
            "--grpc-bind-address=127.0.0.1".to_owned(),
            format!("--grpc-port={}", grpc.number()),
            "--service-map=grpc-vtctl,grpc-vtctld".to_owned(),
            "--log-format=text".to_owned(),
        ]);
        let process = programs::start(generation, "vtctld", args)?;
        let vtctld = Self { generation, process, grpc, _http: http };
        let probe = async || client::channel(&vtctld.address()).await.map(drop);
        vtctld.process.until_ready(READY, probe).await?;
        Ok(vtctld)
    }

    /// Runs a command of the stock `vtctldclient` against it.
    ///
    /// # Errors
    /// The client cannot be started or does not end; a command that fails is an [`Output`].
    pub async fn vtctldclient(&self, args: &[&str]) -> Result<Output, Error> {
        super::client::run(self.generation, &self.address(), args).await
    }

    /// Where its services are: `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.grpc.address().to_string()
    }
}
