//! A mounted source whose topology server refuses writes, or is dead, when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vtmigrated::topo::{Conn, Error, Lock, LockRequest, Result as TopoResult, Write};

use crate::support::meddled::{self, Meddle};
use crate::support::migrate_rig::Rig;

const WORKS: u8 = 0;
const IS_READ_ONLY: u8 = 1;
const IS_DEAD: u8 = 2;

/// What the server does now.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    /// A migration's two clusters, with a source that does as the switch says. It works at first.
    pub async fn rig(&self) -> Rig {
        meddled::rig(self.clone(), |server| server.starts_with("source")).await
    }

    pub fn works(&self) {
        self.0.store(WORKS, Ordering::SeqCst);
    }

    pub fn is_read_only(&self) {
        self.0.store(IS_READ_ONLY, Ordering::SeqCst);
    }

    pub fn is_dead(&self) {
        self.0.store(IS_DEAD, Ordering::SeqCst);
    }

    fn answers(&self) -> TopoResult<()> {
        if self.0.load(Ordering::SeqCst) != IS_DEAD {
            return Ok(());
        }
        Err(Error::Unreachable { kind: "memory".into(), server: "source".into(), detail: "told to be dead".into() })
    }

    fn takes_writes(&self, path: &str) -> TopoResult<()> {
        self.answers()?;
        if self.0.load(Ordering::SeqCst) == WORKS {
            return Ok(());
        }
        Err(Error::Backend { path: path.to_owned(), detail: "not allowed: told to refuse writes".into() })
    }
}

#[tonic::async_trait]
impl Meddle for Switch {
    async fn reads(&self, _: &Arc<dyn Conn>) -> TopoResult<()> {
        self.answers()
    }

    async fn locks(&self, _: &Arc<dyn Conn>, request: &LockRequest) -> TopoResult<()> {
        self.takes_writes(request.dirs.first().map_or("", |dir| dir.dir.as_str()))
    }

    async fn write(&self, conn: &Arc<dyn Conn>, writes: Vec<Write>, guard: Option<&Lock>) -> TopoResult<Vec<i64>> {
        let path = match writes.first() {
            Some(Write::Put { path, .. } | Write::Delete { path, .. }) => path.clone(),
            None => String::new(),
        };
        self.takes_writes(&path)?;
        conn.write(writes, guard).await
    }
}
