//! A real VTAdmin before our server.

use std::time::Duration;

use serde_json::Value;
use vtmigrated::http_get;

use super::{Cluster, Error, programs};
use crate::{ports::Port, process, process::Process};

const READY: Duration = Duration::from_secs(120);
/// The most that an answer may have, in bytes.
const ANSWER: usize = 1 << 22;
/// The cluster's id and name.
const CLUSTER: &str = "local";

/// A running VTAdmin that knows one cluster by the id `local`; dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    process: Process,
    http: Port,
}

impl Admin {
    /// Starts the VTAdmin of a cluster's generation, with the cluster's server of ours as its vtctld and no vtgate that runs.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(cluster: &Cluster) -> Result<Self, Error> {
        let (http, gate) = (Port::free()?, Port::free()?);
        let folder = process::folder("vtadmin")?;
        let discovery = folder.path().join("discovery.json");
        let host = |address: &str| serde_json::json!([{ "host": { "fqdn": address, "hostname": address } }]);
        let server = cluster.server().grpc_address().to_string();
        let known = serde_json::json!({ "vtctlds": host(&server), "vtgates": host(&gate.address().to_string()) });
        std::fs::write(&discovery, known.to_string())?;
        let args = vec![
            format!("--addr={}", http.address()),
            "--no-rbac".to_owned(),
            "--logtostderr".to_owned(),
            format!(
                "--cluster=id={CLUSTER},name={CLUSTER},discovery=staticfile,discovery-staticfile-path={}",
                discovery.display()
            ),
        ];
        let program = programs::server(cluster.generation(), "vtadmin", args)?;
        let admin = Self { process: Process::start(program, folder)?.watched(), http };
        admin.process.until_ready(READY, async || admin.get("/api/clusters").await.map(drop)).await?;
        Ok(admin)
    }

    /// What a path of its API is answered: the `result`.
    ///
    /// # Errors
    /// It does not answer, or answers an error.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        let address = self.http.address();
        let failed = |why: String| Error::Page { path: path.to_owned(), why };
        let page = http_get::page(address, &address.to_string(), path, ANSWER).await;
        let (_, body) = page.map_err(|error| failed(error.to_string()))?;
        let mut answer: Value = serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer["result"].take()),
            _ => Err(failed(answer.to_string())),
        }
    }
}
