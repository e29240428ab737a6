//! The commands of the life: printed as typed, sent as RPCs, answers printed as by the stock client (Vitess 22.0.3).

use std::fmt::Write;

use vtmigrated_proto::{
    topodata::TabletType,
    vschema::Keyspace,
    vtctldata::{
        ApplyVSchemaRequest, GetVSchemaRequest, MigrateCreateRequest, MountRegisterRequest, MountShowRequest,
        MountUnregisterRequest, MoveTablesCompleteRequest, WorkflowStatusRequest, WorkflowStatusResponse,
    },
};

use super::{
    Error, SOURCE, SOURCE_CELL, TARGET,
    data::{VSCHEMA, VSCHEMA_FILE},
    json,
    screen::Screen,
};
use crate::{client::Vtctld, server::Server};

/// The name of the mount.
pub const MOUNT: &str = "ext1";
/// The name of the workflow.
pub const WORKFLOW: &str = "import";

/// Our client of the server, which says what the stock client would be told.
pub struct Commands {
    pub(super) client: Vtctld,
    prefix: String,
}

impl Commands {
    /// Connects.
    ///
    /// # Errors
    /// The server does not run.
    pub async fn new(server: &Server) -> Result<Self, Error> {
        let prefix = format!("vtctldclient --server localhost:{}", server.grpc_address().port());
        Ok(Self { client: server.client().await?, prefix })
    }

    /// `Mount register`.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn mount(&mut self, screen: &mut Screen, topo_server: &str, topo_root: &str) -> Result<(), Error> {
        let topo = format!("--topo-type etcd2 --topo-server {topo_server} --topo-root {topo_root}");
        self.typed(screen, &format!("Mount register --name {MOUNT} {topo}"))?;
        let request = MountRegisterRequest {
            topo_type: "etcd2".to_owned(),
            topo_server: topo_server.to_owned(),
            topo_root: topo_root.to_owned(),
            name: MOUNT.to_owned(),
        };
        self.client.mount_register(request).await.map_err(Box::new)?;
        Ok(screen.answer(&format!("Mount {MOUNT} registered successfully"))?)
    }

    /// `Mount show`.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn show_mount(&mut self, screen: &mut Screen) -> Result<(), Error> {
        self.typed(screen, &format!("Mount show --name {MOUNT}"))?;
        let request = MountShowRequest { name: MOUNT.to_owned() };
        let response = self.client.mount_show(request).await.map_err(Box::new)?.into_inner();
        Ok(screen.answer(&json::print("vtctldata.MountShowResponse", &response)?)?)
    }

    /// `Mount unregister`.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn unmount(&mut self, screen: &mut Screen) -> Result<(), Error> {
        self.typed(screen, &format!("Mount unregister --name {MOUNT}"))?;
        let request = MountUnregisterRequest { name: MOUNT.to_owned() };
        self.client.mount_unregister(request).await.map_err(Box::new)?;
        Ok(screen.answer(&format!("Mount {MOUNT} unregistered successfully"))?)
    }

    /// `ApplyVSchema` and `GetVSchema`.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn vschema(&mut self, screen: &mut Screen) -> Result<(), Error> {
        const TYPE: &str = "vschema.Keyspace";
        self.typed(screen, &format!("ApplyVSchema --vschema-file {VSCHEMA_FILE} {TARGET}"))?;
        let vschema: Keyspace = json::parse(TYPE, VSCHEMA)?;
        let request = ApplyVSchemaRequest {
            keyspace: TARGET.to_owned(),
            v_schema: Some(vschema),
            ..ApplyVSchemaRequest::default()
        };
        let response = self.client.apply_v_schema(request).await.map_err(Box::new)?.into_inner();
        let vschema = response.v_schema.ok_or(Error::Missing("the vschema"))?;
        screen.answer(&format!(
            "New VSchema object:\n{}\nIf this is not what you expected, check the input data (as JSON parsing will skip \
             unexpected fields).",
            json::print(TYPE, &vschema)?
        ))?;
        self.typed(screen, &format!("GetVSchema {TARGET}"))?;
        let request = GetVSchemaRequest { keyspace: TARGET.to_owned() };
        let response = self.client.get_v_schema(request).await.map_err(Box::new)?.into_inner();
        let vschema = response.v_schema.ok_or(Error::Missing("the vschema"))?;
        Ok(screen.answer(&json::print(TYPE, &vschema)?)?)
    }

    /// `Migrate create` of all tables from the source's replicas.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn create(&mut self, screen: &mut Screen) -> Result<(), Error> {
        let from = format!("--source-keyspace {SOURCE} --mount-name {MOUNT}");
        let flags = format!("--all-tables --cells {SOURCE_CELL} --tablet-types replica");
        self.typed(screen, &format!("{} create {from} {flags}", migrate()))?;
        let request = MigrateCreateRequest {
            workflow: WORKFLOW.to_owned(),
            source_keyspace: SOURCE.to_owned(),
            target_keyspace: TARGET.to_owned(),
            mount_name: MOUNT.to_owned(),
            // without it target tablets look in a cell of their own cell's name
            cells: vec![SOURCE_CELL.to_owned()],
            tablet_types: vec![TabletType::Replica.into()],
            all_tables: true,
            // what the stock client sends when the flags are absent
            on_ddl: "IGNORE".to_owned(),
            auto_start: true,
            ..MigrateCreateRequest::default()
        };
        let response = self.client.migrate_create(request).await.map_err(Box::new)?.into_inner();
        Ok(screen.answer(&status_text(&response))?)
    }

    /// Prints the command of `status`; the answers are drawn by who asks with [`Commands::status`].
    ///
    /// # Errors
    /// The output is closed.
    pub fn type_status(&self, screen: &mut Screen) -> Result<(), Error> {
        self.typed(screen, &format!("{} status", migrate()))
    }

    /// What `Migrate status` is answered, not printed.
    ///
    /// # Errors
    /// The server's.
    pub async fn status(&mut self) -> Result<WorkflowStatusResponse, Error> {
        let request = WorkflowStatusRequest {
            keyspace: TARGET.to_owned(),
            workflow: WORKFLOW.to_owned(),
            ..WorkflowStatusRequest::default()
        };
        Ok(self.client.workflow_status(request).await.map_err(Box::new)?.into_inner())
    }

    /// `Migrate complete`.
    ///
    /// # Errors
    /// The server's, or the output is closed.
    pub async fn complete(&mut self, screen: &mut Screen) -> Result<(), Error> {
        self.typed(screen, &format!("{} complete", migrate()))?;
        let request = MoveTablesCompleteRequest {
            workflow: WORKFLOW.to_owned(),
            target_keyspace: TARGET.to_owned(),
            ..MoveTablesCompleteRequest::default()
        };
        let response = self.client.move_tables_complete(request).await.map_err(Box::new)?.into_inner();
        Ok(screen.answer(&response.summary)?)
    }

    pub(super) fn typed(&self, screen: &mut Screen, arguments: &str) -> Result<(), Error> {
        Ok(screen.command(&format!("{} {arguments}", self.prefix))?)
    }
}

/// A status as the stock client prints it as text.
#[must_use]
pub fn status_text(status: &WorkflowStatusResponse) -> String {
    let mut text = format!("The following vreplication streams exist for workflow {TARGET}.{WORKFLOW}:\n\n");
    for stream in status.shard_streams.iter().filter_map(|entry| entry.value.as_ref()).flat_map(|value| &value.streams)
    {
        let tablet = stream.tablet.clone().unwrap_or_default();
        let place = format!("{TARGET}/{}-{}", tablet.cell, tablet.uid);
        // writing to a String cannot fail
        let _ = writeln!(text, "id={} on {place}: Status: {}. {}.", stream.id, stream.status, stream.info);
    }
    let _ = write!(text, "\nTraffic State: {}", status.traffic_state);
    text
}

fn migrate() -> String {
    format!("Migrate --workflow {WORKFLOW} --target-keyspace {TARGET}")
}
