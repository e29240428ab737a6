//! Writes of the record of a way back that arrive when later ones are done: sent twice by a client that heard nothing, or given up.

use std::sync::{Arc, Mutex};

use tonic::Code;
use vtmigrated::topo::{Conn, Error, Lock, Result as TopoResult, Write, paths};

use crate::support::meddled::{self, Meddle};
use crate::support::migrate_rig::Rig;
use crate::way_back::commands::{denied, go_back, prepare, status};

/// The next write of a phase: it arrives when a later one of the phase open is done.
#[derive(Clone, Default)]
struct Late {
    /// The phase, and whether the write is done at once, too.
    awaited: Arc<Mutex<Option<(&'static str, bool)>>>,
    under_way: Arc<Mutex<Option<Write>>>,
    arrived: Arc<Mutex<Option<TopoResult<()>>>>,
}

impl Late {
    /// A migration's two clusters, everything copied, with a topology of the target in which writes may be late.
    async fn rig(&self) -> Rig {
        let rig = meddled::rig(self.clone(), |server| server == "test").await;
        rig.copied().await;
        rig
    }

    fn is_done_later(&self, phase: &'static str) {
        *self.awaited.lock().unwrap() = Some((phase, false));
    }

    fn is_done_twice(&self, phase: &'static str) {
        *self.awaited.lock().unwrap() = Some((phase, true));
    }

    /// What became of it.
    fn arrived(&self) -> TopoResult<()> {
        self.arrived.lock().unwrap().clone().unwrap()
    }

    /// Keeps the write when it is the one; answers whether it is done at once.
    fn keep(&self, write: &Write, phase: &str) -> bool {
        let mut awaited = self.awaited.lock().unwrap();
        let Some((_, at_once)) = awaited.take_if(|(of, _)| *of == phase) else { return true };
        *self.under_way.lock().unwrap() = Some(write.clone());
        at_once
    }
}

/// The phase that a write of the record brings.
fn phase(write: &Write) -> Option<String> {
    let Write::Put { path, value, .. } = write else { return None };
    if *path != paths::way_back("customer", "import") {
        return None;
    }
    let facts: serde_json::Value = serde_json::from_slice(value).unwrap();
    Some(facts["phase"].as_str().unwrap().to_owned())
}

#[tonic::async_trait]
impl Meddle for Late {
    async fn write(&self, conn: &Arc<dyn Conn>, writes: Vec<Write>, guard: Option<&Lock>) -> TopoResult<Vec<i64>> {
        let Some(phase) = writes.first().filter(|_| writes.len() == 1).and_then(phase) else {
            return conn.write(writes, guard).await;
        };
        if !self.keep(&writes[0], &phase) {
            return Err(Error::Timeout("told to be late".into()));
        }
        let answer = conn.write(writes, guard).await;
        if phase == "open" && answer.is_ok() {
            let late = self.under_way.lock().unwrap().take();
            if let Some(late) = late {
                let arrived = conn.write(vec![late], guard).await.map(drop);
                *self.arrived.lock().unwrap() = Some(arrived);
            }
        }
        answer
    }
}

#[tokio::test]
async fn a_write_that_was_sent_twice_does_not_undo_a_later_one() {
    let late = Late::default();
    let rig = late.rig().await;
    prepare(&rig).await.unwrap();
    late.is_done_twice("noted");
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    assert!(matches!(late.arrived(), Err(Error::BadVersion(_))), "{:?}", late.arrived());
    assert_eq!(status(&rig).await.unwrap().phase, "open");
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn a_source_that_was_about_to_serve_does_not_when_the_target_was_opened_again() {
    let late = Late::default();
    let rig = late.rig().await;
    prepare(&rig).await.unwrap();
    rig.complete().await.unwrap();
    late.is_done_later("returned");
    let failed = go_back(&rig).await.unwrap_err();
    assert_eq!(failed.code(), Code::DeadlineExceeded, "{failed:?}");
    assert!(matches!(late.arrived(), Err(Error::BadVersion(_))), "{:?}", late.arrived());
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves");
    assert_eq!(denied(&rig).await, ["customer", "orders"], "the source does not");
    assert_eq!(status(&rig).await.unwrap().phase, "open");
    go_back(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, Vec::<String>::new());
}
