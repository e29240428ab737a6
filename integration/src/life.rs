//! The life of a migration between two clusters, step by step through the API of the real server.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use tonic::Status;
use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest},
    topodata::TabletType,
    vtctldata::{
        GetWorkflowsRequest, MigrateCreateRequest, MountRegisterRequest, MoveTablesCompleteRequest,
        MoveTablesCompleteResponse, Workflow, WorkflowDeleteRequest, WorkflowDeleteResponse, WorkflowStatusRequest,
        WorkflowStatusResponse, WorkflowUpdateRequest, workflow_status_response::ShardStreamState,
    },
};

use crate::{
    client::Vtctld,
    cluster::{self, Builder, Cluster, topology::GLOBAL_ROOT},
    server::{self, Server},
};

/// The name under which [`Life::start`] mounts the source.
pub const MOUNT: &str = "ext1";
/// The workflow of [`migrate`].
pub const WORKFLOW: &str = "import";
/// The VSchema of an unsharded source with the tables customer, corder and product: no vindex at all.
pub const SOURCE_VSCHEMA: &str = r#"{"tables": {"customer": {}, "corder": {}, "product": {}}}"#;
/// That of a sharded target for the same tables: by customer, and products by themselves.
pub const TARGET_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"id_hash": {"type": "hash"}, "sku_md5": {"type": "binary_md5"}},
    "tables": {
        "customer": {"columnVindexes": [{"column": "id", "name": "id_hash"}]},
        "corder": {"columnVindexes": [{"column": "customer_id", "name": "id_hash"}]},
        "product": {"columnVindexes": [{"column": "sku", "name": "sku_md5"}]}
    }}"#;
/// How long a step may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);

/// Why a step of a life failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error("{0}")]
    Status(#[from] Box<Status>),
    #[error("{what}: not within {} s; last seen: {last}", PATIENCE.as_secs())]
    Patience { what: String, last: String },
    #[error("left behind: {0:?}")]
    Left(Vec<String>),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Two clusters and the server of the second one, with the first one mounted.
pub struct Life {
    pub source: Cluster,
    pub target: Cluster,
    pub server: Server,
    client: Vtctld,
}

/// A request that brings all tables of a keyspace, with the stock client's defaults.
#[must_use]
pub fn migrate(from: &str, to: &str) -> MigrateCreateRequest {
    MigrateCreateRequest {
        workflow: WORKFLOW.to_owned(),
        source_keyspace: from.to_owned(),
        target_keyspace: to.to_owned(),
        mount_name: MOUNT.to_owned(),
        tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()],
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        all_tables: true,
        on_ddl: "IGNORE".to_owned(),
        defer_secondary_keys: true,
        auto_start: true,
        ..MigrateCreateRequest::default()
    }
}

/// A request of `Workflow start`, `stop` or `update` that leaves everything alone, as the stock client writes it.
#[must_use]
pub fn change(workflow: &str) -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: workflow.to_owned(),
        cells: vec!["NULL".to_owned()],
        tablet_types: vec![-1],
        on_ddl: Some(-1),
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

/// All streams of a status.
#[must_use]
pub fn streams(status: &WorkflowStatusResponse) -> Vec<&ShardStreamState> {
    status.shard_streams.iter().filter_map(|entry| entry.value.as_ref()).flat_map(|shard| &shard.streams).collect()
}

/// Whether a status shows all streams in a state, with a position: a stream has none before its copy begins.
///
/// # Errors
/// It does not, with what it says of them.
pub fn expect_streams(status: &WorkflowStatusResponse, state: &str) -> std::result::Result<(), String> {
    let streams = streams(status);
    let all = streams.iter().all(|stream| stream.status == state && !stream.position.is_empty());
    if all && !streams.is_empty() { Ok(()) } else { Err(format!("{streams:?}")) }
}

impl Life {
    /// Starts both clusters and the server, and mounts the source.
    ///
    /// # Errors
    /// Something does not come up.
    pub async fn start(source: Builder, target: Builder) -> Result<Self> {
        Self::start_with(source, target, &[]).await
    }

    /// The same with more flags for the server.
    ///
    /// # Errors
    /// As [`Life::start`].
    pub async fn start_with(source: Builder, target: Builder, flags: &[&str]) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let life = Self::start_unmounted(source, target, &flags).await?;
        life.client().mount_register(life.mount(MOUNT)).await?;
        Ok(life)
    }

    /// Starts both clusters, and the server with more flags; nothing is mounted.
    ///
    /// # Errors
    /// Something does not come up.
    pub async fn start_unmounted(source: Builder, target: Builder, flags: &[String]) -> Result<Self> {
        let (source, target) = tokio::try_join!(source.start(), target.start())?;
        let server = Server::start(&[&target.topo_flags(), flags].concat()).await?;
        let client = server.client().await?;
        Ok(Self { source, target, server, client })
    }

    /// A client of the server; all share a connection.
    #[must_use]
    pub fn client(&self) -> Vtctld {
        self.client.clone()
    }

    /// A request that mounts the source under a name.
    #[must_use]
    pub fn mount(&self, name: &str) -> MountRegisterRequest {
        MountRegisterRequest {
            topo_type: "etcd2".to_owned(),
            topo_server: self.source.etcd().address(),
            topo_root: GLOBAL_ROOT.to_owned(),
            name: name.to_owned(),
        }
    }

    /// `Migrate create`.
    ///
    /// # Errors
    /// The server's.
    pub async fn create(&self, request: MigrateCreateRequest) -> std::result::Result<WorkflowStatusResponse, Status> {
        self.client().migrate_create(request).await.map(tonic::Response::into_inner)
    }

    /// `Migrate status`.
    ///
    /// # Errors
    /// The server's.
    pub async fn status(&self, keyspace: &str) -> std::result::Result<WorkflowStatusResponse, Status> {
        let request = WorkflowStatusRequest {
            keyspace: keyspace.to_owned(),
            workflow: WORKFLOW.to_owned(),
            ..WorkflowStatusRequest::default()
        };
        self.client().workflow_status(request).await.map(tonic::Response::into_inner)
    }

    /// `Workflow list`, with everything that is known of each.
    ///
    /// # Errors
    /// The server's.
    pub async fn workflows(&self, keyspace: &str) -> std::result::Result<Vec<Workflow>, Status> {
        let request =
            GetWorkflowsRequest { keyspace: keyspace.to_owned(), include_logs: true, ..GetWorkflowsRequest::default() };
        Ok(self.client().get_workflows(request).await?.into_inner().workflows)
    }

    /// `Workflow update`; start and stop are such, too.
    ///
    /// # Errors
    /// The server's.
    pub async fn update(
        &self,
        keyspace: &str,
        change: UpdateVReplicationWorkflowRequest,
    ) -> std::result::Result<(), Status> {
        let request = WorkflowUpdateRequest { keyspace: keyspace.to_owned(), tablet_request: Some(change) };
        self.client().workflow_update(request).await.map(drop)
    }

    /// `Workflow start`.
    ///
    /// # Errors
    /// The server's.
    pub async fn start_streams(&self, keyspace: &str) -> std::result::Result<(), Status> {
        let state = Some(State::Running.into());
        self.update(keyspace, UpdateVReplicationWorkflowRequest { state, ..change(WORKFLOW) }).await
    }

    /// `Workflow stop`.
    ///
    /// # Errors
    /// The server's.
    pub async fn stop_streams(&self, keyspace: &str) -> std::result::Result<(), Status> {
        let state = Some(State::Stopped.into());
        self.update(keyspace, UpdateVReplicationWorkflowRequest { state, ..change(WORKFLOW) }).await
    }

    /// `Migrate complete`.
    ///
    /// # Errors
    /// The server's.
    pub async fn complete(&self, keyspace: &str) -> std::result::Result<MoveTablesCompleteResponse, Status> {
        self.complete_as(keyspace, false).await
    }

    /// The same; `insists`: `MoveTables complete --ignore-source-keyspace`.
    ///
    /// # Errors
    /// The server's.
    pub async fn complete_as(
        &self,
        keyspace: &str,
        insists: bool,
    ) -> std::result::Result<MoveTablesCompleteResponse, Status> {
        let request = MoveTablesCompleteRequest {
            workflow: WORKFLOW.to_owned(),
            target_keyspace: keyspace.to_owned(),
            ignore_source_keyspace: insists,
            ..MoveTablesCompleteRequest::default()
        };
        self.client().move_tables_complete(request).await.map(tonic::Response::into_inner)
    }

    /// `Migrate cancel`, or `Workflow delete --keep-data`.
    ///
    /// # Errors
    /// The server's.
    pub async fn cancel(&self, keyspace: &str, keep_data: bool) -> std::result::Result<WorkflowDeleteResponse, Status> {
        let request = WorkflowDeleteRequest {
            keyspace: keyspace.to_owned(),
            workflow: WORKFLOW.to_owned(),
            keep_data,
            ..WorkflowDeleteRequest::default()
        };
        self.client().workflow_delete(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until all streams run and nothing is left to copy.
    ///
    /// # Errors
    /// They do not, with what status says of them.
    pub async fn until_running(&self, keyspace: &str) -> Result<()> {
        self.until_streams(keyspace, "Running").await
    }

    /// Waits until status is as [`expect_streams`] has it.
    ///
    /// # Errors
    /// They do not get there, with what status says of them.
    pub async fn until_streams(&self, keyspace: &str, state: &str) -> Result<()> {
        until(&format!("all streams {state}"), async || {
            let status = self.status(keyspace).await.map_err(|e| e.to_string())?;
            expect_streams(&status, state)
        })
        .await
    }

    /// Waits until the tables of two keyspaces have the same rows.
    ///
    /// # Errors
    /// They do not get them, with the differences.
    pub async fn until_same(&self, from: &str, to: &str, tables: &[&str]) -> Result<()> {
        until("the same rows", async || self.expect_same(from, to, tables).await).await
    }

    /// Compares the tables of two keyspaces row by row.
    ///
    /// # Errors
    /// The differences.
    pub async fn expect_same(&self, from: &str, to: &str, tables: &[&str]) -> std::result::Result<(), cluster::Error> {
        for table in tables {
            let (source, target) = tokio::try_join!(self.source.table(from, table), self.target.table(to, table))?;
            source.expect_same(&target)?;
        }
        Ok(())
    }

    /// Checks that a keyspace of the target has no record of a workflow, no denied table and no stream.
    ///
    /// # Errors
    /// What is left.
    pub async fn expect_nothing_left(&self, keyspace: &str) -> Result<()> {
        let snapshot = self.target.snapshot().await?;
        let sidecars = ["vreplication rows", "copy_state rows", "post_copy_action rows", "vdiff rows"];
        let left = snapshot.pieces.iter().filter(|(key, value)| {
            key.contains("/internal/")
                || key.contains("/locks/")
                || sidecars.iter().any(|table| key.starts_with("_vt") && key.ends_with(table)) && !value.is_empty()
        });
        let mut left: Vec<String> = left.map(|(key, value)| format!("{key}: {value}")).collect();
        for shard in self.target.shards(keyspace) {
            let key = format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/shards/{}/Shard", shard.name);
            let record = self.target.etcd().dump(&key).await.map_err(cluster::Error::from)?;
            let record = record.values().next().map(Vec::as_slice).unwrap_or_default();
            let controls = <vtmigrated_proto::topodata::Shard as prost::Message>::decode(record).unwrap_or_default();
            left.extend(controls.tablet_controls.iter().map(|control| format!("{key}: {control:?}")));
        }
        if left.is_empty() { Ok(()) } else { Err(Error::Left(left)) }
    }

    /// Ends everything and checks that no lock is left.
    ///
    /// # Errors
    /// Something is left.
    pub async fn finish(self) -> Result<()> {
        drop(self.server);
        self.target.finish().await?;
        Ok(self.source.finish().await?)
    }
}

/// Asks until the answer is good.
///
/// # Errors
/// It does not become so; the text has the last answer.
pub async fn until<E: Display>(what: &str, ask: impl AsyncFn() -> std::result::Result<(), E>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let Err(last) = ask().await else { return Ok(()) };
        if Instant::now() >= end {
            return Err(Error::Patience { what: what.to_owned(), last: last.to_string() });
        }
        tokio::time::sleep(POLL).await;
    }
}
