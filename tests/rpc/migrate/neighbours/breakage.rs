//! Clusters of which cells may break.

use std::collections::BTreeMap;
use std::sync::Mutex;

use prost::Message;
use vtmigrated::topo::{Expect, srv_vschema};
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;

use super::*;
use crate::support::meddled::{self, Meddle};

pub const TABLES: [&str; 2] = ["customer", "orders"];
/// The cells of the target.
pub const OF_TARGET: [&str; 2] = ["zone1", "zone2"];

/// How a cell is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nobody listens at its address.
    Dead,
    /// Its server takes requests and answers none.
    Silent,
    /// Its server is of another kind.
    Foreign,
    /// Its server takes no writes any more.
    Full,
    /// Its record has no address.
    Nowhere,
    /// Its record cannot be decoded.
    Garbled,
}

pub const ALL: [Broken; 6] =
    [Broken::Dead, Broken::Silent, Broken::Foreign, Broken::Full, Broken::Nowhere, Broken::Garbled];

/// How servers are broken, by their addresses.
#[derive(Clone)]
struct Breakage(Arc<Mutex<BTreeMap<String, Broken>>>);

impl Breakage {
    fn of(&self, conn: &Arc<dyn Conn>) -> Option<Broken> {
        self.0.lock().unwrap().get(conn.endpoint().1).copied()
    }

    async fn answers(&self, conn: &Arc<dyn Conn>, writes: bool) -> TopoResult<()> {
        let (kind, server, root) = conn.endpoint();
        match self.of(conn) {
            None => Ok(()),
            Some(Broken::Full) if !writes => Ok(()),
            Some(Broken::Full) => Err(Error::ResourceExhausted(format!("{root}: database space exceeded"))),
            Some(Broken::Foreign) => {
                Err(Error::Backend { path: root.to_owned(), detail: "no such service".to_owned() })
            }
            Some(Broken::Silent) => std::future::pending().await,
            Some(Broken::Dead | Broken::Nowhere | Broken::Garbled) => {
                let (kind, server, detail) = (kind.to_owned(), server.to_owned(), "connection refused".to_owned());
                Err(Error::Unreachable { kind, server, detail })
            }
        }
    }
}

#[tonic::async_trait]
impl Meddle for Breakage {
    async fn reads(&self, conn: &Arc<dyn Conn>) -> TopoResult<()> {
        self.answers(conn, false).await
    }

    async fn locks(&self, conn: &Arc<dyn Conn>, _: &LockRequest) -> TopoResult<()> {
        self.answers(conn, true).await
    }

    async fn probes(&self, conn: &Arc<dyn Conn>) -> TopoResult<()> {
        // so that a test takes no second longer
        if self.of(conn) == Some(Broken::Silent) {
            return Err(Error::Timeout("silent".into()));
        }
        self.answers(conn, false).await
    }

    async fn write(&self, conn: &Arc<dyn Conn>, writes: Vec<Write>, guard: Option<&Lock>) -> TopoResult<Vec<i64>> {
        self.answers(conn, true).await?;
        conn.write(writes, guard).await
    }
}

/// A migration's two sides, each with a cell more than it needs.
pub struct World {
    pub rig: Rig,
    breakage: Breakage,
}

impl World {
    pub async fn start() -> Self {
        let breakage = Breakage(Arc::new(Mutex::new([(String::new(), Broken::Nowhere)].into())));
        let rig = meddled::rig(breakage.clone(), |_| true).await;
        let world = Self { rig, breakage };
        world.set("src2", None).await;
        world
    }

    /// The record of a cell and the state of its server.
    async fn set(&self, cell: &str, broken: Option<Broken>) {
        let of_source = cell.starts_with("src");
        let server = if of_source { format!("source-{cell}") } else { cell.to_owned() };
        let server_address = if broken == Some(Broken::Nowhere) { String::new() } else { server.clone() };
        let info = CellInfo { server_address, root: format!("/vitess/{cell}") };
        let record = if broken == Some(Broken::Garbled) { vec![0xff, 0xff] } else { info.encode_to_vec() };
        let source = self.rig.source_topology().await;
        let global = if of_source { source.global() } else { self.rig.lab.topo.global() };
        global.write_one(Write::put(paths::cell_info(cell), record, Expect::Any), None).await.unwrap();
        let mut breakage = self.breakage.0.lock().unwrap();
        breakage.remove(&server);
        breakage.extend(broken.map(|broken| (server, broken)));
    }

    pub async fn breaks(&self, cells: &[&str], broken: Broken) {
        for cell in cells {
            self.set(cell, Some(broken)).await;
        }
    }

    pub async fn are_back(&self, cells: &[&str]) {
        for cell in cells {
            self.set(cell, None).await;
        }
    }

    /// A cell breaks as soon as the primary of -80 is asked something that contains a text.
    pub async fn breaks_at(&self, call: &'static str, cell: &str, broken: Broken) {
        let primary = &self.rig.target[0];
        let permits = primary.holds(call);
        primary.was_asked(call).await;
        self.breaks(&[cell], broken).await;
        permits.add_permits(9);
    }

    /// Somebody deletes what a cell serves.
    pub async fn forgets(&self, cell: &str) {
        self.rig.lab.cell(cell).await.remove(paths::SRV_VSCHEMA).await.unwrap();
    }

    /// The tables of the target that a cell serves; none where it serves nothing.
    pub async fn served(&self, cell: &str) -> Option<Vec<String>> {
        let served = srv_vschema::get(&self.rig.lab.cell(cell).await).await.ok()?.value;
        let entry = served.keyspaces.into_iter().find(|entry| entry.key == "customer")?;
        let mut tables: Vec<String> = entry.value?.tables.into_iter().map(|entry| entry.key).collect();
        tables.sort();
        Some(tables)
    }

    pub async fn rebuild(&self, cells: &[&str]) {
        let request = RebuildVSchemaGraphRequest { cells: cells.iter().map(|cell| (*cell).to_owned()).collect() };
        self.rig.lab.client.clone().rebuild_v_schema_graph(request).await.unwrap();
    }

    /// Both cells of the target serve its tables.
    pub async fn expect_served(&self) {
        for cell in OF_TARGET {
            assert_eq!(self.served(cell).await, Some(TABLES.map(str::to_owned).to_vec()), "{cell}");
        }
    }

    pub async fn update(&self, state: State) -> Result<(), Status> {
        let tablet_request = UpdateVReplicationWorkflowRequest {
            workflow: "import".into(),
            cells: vec!["NULL".into()],
            tablet_types: vec![-1],
            state: Some(state.into()),
            ..Default::default()
        };
        let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(tablet_request) };
        self.rig.lab.client.clone().workflow_update(request).await.map(drop)
    }

    pub async fn show(&self) -> Result<(), Status> {
        let request = GetWorkflowsRequest { keyspace: "customer".into(), ..Default::default() };
        self.rig.lab.client.clone().get_workflows(request).await.map(drop)
    }

    pub async fn diff(&self) -> Result<(), Status> {
        let (keyspace, workflow) = of_import();
        let request = VDiffCreateRequest { workflow, target_keyspace: keyspace, ..Default::default() };
        self.rig.lab.client.clone().v_diff_create(request).await.map(drop)
    }

    /// Whether a diff was made.
    pub fn was_diffed(&self) -> bool {
        self.rig.target.iter().any(|primary| primary.contents().diffs.iter().any(|diff| diff.action == "create"))
    }
}
