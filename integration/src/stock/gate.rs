//! A real vtgate.

use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};

use super::{Error, Generation, programs};
use crate::{ports::Port, process::Process};

const READY: Duration = Duration::from_secs(120);

/// A running vtgate of one cell, without passwords.
#[derive(Debug)]
pub(super) struct Gate {
    process: Process,
    mysql: Port,
    /// Held for their reservation.
    _others: [Port; 2],
}

impl Gate {
    pub(super) async fn start(generation: Generation, cell: &str, topology: &str) -> Result<Self, Error> {
        let (mysql, http, grpc) = (Port::free()?, Port::free()?, Port::free()?);
        let mut args = programs::topo_flags(topology);
        args.extend([
            format!("--cell={cell}"),
            format!("--cells-to-watch={cell}"),
            "--mysql-server-bind-address=127.0.0.1".to_owned(),
            format!("--mysql-server-port={}", mysql.number()),
            "--mysql-auth-server-impl=none".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", http.number()),
            "--grpc-bind-address=127.0.0.1".to_owned(),
            format!("--grpc-port={}", grpc.number()),
            "--service-map=grpc-vtgateservice".to_owned(),
            "--tablet-types-to-wait=PRIMARY".to_owned(),
            // a tablet is seen soon after it has come up
            "--tablet-refresh-interval=500ms".to_owned(),
            "--log-format=text".to_owned(),
        ]);
        let process = programs::start(generation, "vtgate", args)?;
        let gate = Self { process, mysql, _others: [http, grpc] };
        gate.process.until_ready(READY, async || Ok::<_, Error>(gate.connect("").await?.disconnect().await?)).await?;
        Ok(gate)
    }

    pub(super) async fn connect(&self, keyspace: &str) -> Result<Conn, Error> {
        let database = (!keyspace.is_empty()).then_some(keyspace);
        let opts = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.mysql.number());
        Ok(Conn::new(opts.prefer_socket(false).user(Some("app")).db_name(database)).await?)
    }
}
