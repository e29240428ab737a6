//! The topology of one whole cluster: its global root and its cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use vtmigrated_proto::topodata::CellInfo;

use super::access::Holder;
use super::cells::NoConn;
use super::record::Record;
use super::{Cells, Conn, Dialer, Error, Node, Result, paths};

/// A cluster's topology. Connections to its cells are opened when first used and kept.
pub struct Topo {
    kind: String,
    holder: Holder,
    global: Arc<dyn Conn>,
    dialer: Arc<Dialer>,
    cells: DashMap<String, (CellInfo, Arc<dyn Conn>)>,
}

impl Topo {
    /// Opens the topology with the global root `root` at `server`, without the credentials of the flags; nothing is sent
    /// yet.
    pub async fn open(dialer: Arc<Dialer>, kind: &str, server: &str, root: &str) -> Result<Self> {
        Self::open_for(Holder::Other, dialer, kind, server, root).await
    }

    /// Opens the topology of `holder`, which decides what its servers are shown.
    pub async fn open_for(holder: Holder, dialer: Arc<Dialer>, kind: &str, server: &str, root: &str) -> Result<Self> {
        let global = dialer.open_for(&holder, None, kind, server, root).await?;
        Ok(Self { kind: kind.to_owned(), holder, global, dialer, cells: DashMap::new() })
    }

    /// A connection to another root of the same global server.
    pub async fn other_root(&self, root: &str) -> Result<Arc<dyn Conn>> {
        let (kind, server, _) = self.global.endpoint();
        self.dialer.open_for(&self.holder, None, kind, server, root).await
    }

    /// The connection to the global root.
    pub fn global(&self) -> &Arc<dyn Conn> {
        &self.global
    }

    /// Opens mounted clusters with the same settings.
    pub fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// Reads all cell records: one round trip, whatever their number. No cells is no error, and a record that leads nowhere
    /// costs its own cell only: whoever asks that one gets the reason.
    pub async fn cells(&self) -> Result<Cells> {
        let nodes = self.global.list(paths::CELLS).await?;
        let mut cells = BTreeMap::new();
        for node in nodes {
            if let Some((name, "CellInfo")) = node.path.strip_prefix("cells/").and_then(|rest| rest.split_once('/')) {
                let name = name.to_owned();
                let conn = self.cell_of(&name, node).await;
                let none =
                    |why: Error| NoConn::wrap(&self.kind, "", "", why.wrap(format!("the record of cell {name}")));
                let conn = conn.unwrap_or_else(none);
                cells.insert(name, conn);
            }
        }
        Ok(Cells::new(self.global.full(""), cells))
    }

    /// The connection to one cell: one round trip for its record.
    ///
    /// # Errors
    /// [`super::Error::NoNode`] when the cell has no record.
    pub async fn cell(&self, name: &str) -> Result<Arc<dyn Conn>> {
        let node = self.global.get(&paths::cell_info(name)).await?;
        self.cell_of(name, node).await
    }

    /// The connection to a cell whose record was just read. It is kept until address or root change.
    async fn cell_of(&self, name: &str, node: Node) -> Result<Arc<dyn Conn>> {
        let info = Record::<CellInfo>::decode(node, &self.global)?.value;
        if let Some(kept) = self.cells.get(name).filter(|kept| kept.0 == info) {
            return Ok(Arc::clone(&kept.1));
        }
        let conn = self.dialer.open_for(&self.holder, Some(name), &self.kind, &info.server_address, &info.root).await?;
        self.cells.insert(name.to_owned(), (info, Arc::clone(&conn)));
        Ok(conn)
    }
}
