//! One tablet of a cluster: it can be killed and started again where it was.

use integration_tablet::{Generation, Options, Tablet, Tuning};
use tokio::sync::Mutex;
use vtmigrated_proto::{
    query::{BoundQuery, ExecuteRequest, QueryResult, Target},
    topodata::TabletAlias,
};

use super::Error;
use crate::{client, ports::Port};

/// A tablet with what it is started with. It keeps its port.
pub struct Member {
    options: Options,
    tuning: Tuning,
    port: Port,
    generation: Mutex<Generation>,
    running: Mutex<Option<Tablet>>,
}

impl Member {
    /// Starts a tablet on a free port.
    pub(super) async fn start(options: Options, tuning: Tuning) -> Result<Self, Error> {
        let port = Port::free().map_err(integration_tablet::Error::from)?;
        let generation = Mutex::new(options.generation);
        let member = Self { options, tuning, port, generation, running: Mutex::new(None) };
        member.restart().await?;
        Ok(member)
    }

    /// The tablet's alias.
    #[must_use]
    pub fn alias(&self) -> TabletAlias {
        self.options.alias()
    }

    /// What the tablet is started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where its services are: `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// Calls that the running tablet got with the context of a trace: method (`service/method`) and `traceparent`.
    pub async fn traced(&self) -> Vec<(String, String)> {
        let running = self.running.lock().await;
        let traced = running.as_ref().map(|tablet| tablet.shared().traced.lock().map(|calls| calls.clone()));
        traced.and_then(Result::ok).unwrap_or_default()
    }

    /// A client of its tablet manager.
    ///
    /// # Errors
    /// The tablet does not run.
    pub async fn manager(&self) -> Result<client::TabletManager, Error> {
        Ok(client::tablet_manager(&self.address()).await?)
    }

    /// Runs a statement through the query service, as vtgate would.
    ///
    /// # Errors
    /// The tablet does not run, or refuses: its tables may be denied.
    pub async fn execute(&self, sql: &str) -> Result<QueryResult, Error> {
        let target = Target {
            keyspace: self.options.keyspace.clone(),
            shard: self.options.shard.clone(),
            tablet_type: self.options.tablet_type.into(),
            cell: String::new(),
        };
        let query = BoundQuery { sql: sql.to_owned(), ..BoundQuery::default() };
        let request = ExecuteRequest { target: Some(target), query: Some(query), ..ExecuteRequest::default() };
        let response = client::query(&self.address()).await?.execute(request).await.map_err(Box::new)?;
        Ok(response.into_inner().result.unwrap_or_default())
    }

    /// Ends the tablet in the middle of whatever it does, as the death of its process would.
    pub async fn kill(&self) {
        if let Some(tablet) = self.running.lock().await.take() {
            tablet.kill().await;
        }
    }

    /// Ends the tablet as a stop of its process would.
    ///
    /// # Errors
    /// One of its services had failed.
    pub async fn stop(&self) -> Result<(), Error> {
        match self.running.lock().await.take() {
            Some(tablet) => Ok(tablet.stop().await?),
            None => Ok(()),
        }
    }

    /// Stops the tablet and starts it again as a program of another version.
    ///
    /// # Errors
    /// As [`Member::stop`] and [`Member::restart`].
    pub async fn restart_as(&self, generation: Generation) -> Result<(), Error> {
        self.stop().await?;
        *self.generation.lock().await = generation;
        self.restart().await
    }

    /// Starts the tablet again on its port, killing it first if it runs.
    ///
    /// # Errors
    /// MySQL or the topology does not answer.
    pub async fn restart(&self) -> Result<(), Error> {
        self.kill().await;
        let listener =
            tokio::net::TcpListener::bind(self.port.address()).await.map_err(integration_tablet::Error::from)?;
        let options = Options { generation: *self.generation.lock().await, ..self.options.clone() };
        let tablet = Tablet::start_tuned(options, self.tuning.clone(), listener).await?;
        *self.running.lock().await = Some(tablet);
        Ok(())
    }
}
