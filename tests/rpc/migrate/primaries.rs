//! Shards of the target that get another primary while a command works on the one that they had, which answers all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prost::Message;
use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Conn, Expect, Lock, Result, Write, paths};
use vtmigrated_proto::topodata::Shard;
use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vschema::{Keyspace as VSchema, Table};
use vtmigrated_proto::vttime::Time;

use crate::migrate::ownership::rows;
use crate::support::meddled::{self, Meddle};
use crate::support::migrate_rig::Rig;
use crate::support::refusal;

const TABLES: [&str; 2] = ["customer", "orders"];

/// The shard 80- as its record is when another primary has taken over.
async fn taken_over(global: &Arc<dyn Conn>) -> Write {
    let path = paths::shard("customer", "80-");
    let record = Shard::decode(global.get(&path).await.unwrap().value).unwrap();
    let primary_term_start_time = Some(Time { seconds: 1_900_000_000, nanoseconds: 0 });
    Write::put(path, Shard { primary_term_start_time, ..record }.encode_to_vec(), Expect::Any)
}

/// Another primary takes over while the one that there was is in a call.
async fn reparented_in(rig: &Rig, call: &'static str) {
    let permits = rig.target[1].holds(call);
    rig.target[1].was_asked(call).await;
    let global = rig.lab.topo.global();
    global.write_one(taken_over(global).await, None).await.unwrap();
    permits.add_permits(1);
}

#[tokio::test]
async fn create_does_not_succeed_on_a_primary_that_was_replaced_meanwhile() {
    let rig = Rig::start().await;
    let (answer, ()) = tokio::join!(rig.create(), reparented_in(&rig, "CreateVReplicationWorkflow"));
    let (code, text) = refusal(answer);
    assert_eq!(code, Code::Aborted, "{text}");
    let cause = "shard 80- got another primary meanwhile, on which nobody made the tables and streams";
    assert!(text.contains(cause), "{text}");
    rig.expect_clean(&[]).await;
    rig.target[1].contents().held = None;
    rig.create().await.unwrap();
}

#[tokio::test]
async fn create_tells_of_a_primary_that_was_replaced_when_its_streams_were_being_started() {
    let rig = Rig::start().await;
    let (answer, ()) = tokio::join!(rig.create(), reparented_in(&rig, "Update Running"));
    let line = answer.unwrap();
    assert!(line.contains("\nWarning PRIMARY_CHANGED: shard 80- got another primary meanwhile, "), "{line}");
}

#[tokio::test]
async fn a_workflow_ends_when_its_streams_are_deleted_on_the_primaries_that_there_are() {
    for end in ["complete", "cancel"] {
        let rig = Rig::start().await;
        rig.copied().await;
        let streams = rig.target[1].contents().workflows.clone();
        let ended = async || {
            if end == "complete" { rig.complete().await } else { rig.cancel(false).await }
        };
        let (answer, ()) = tokio::join!(ended(), reparented_in(&rig, "RefreshState"));
        let (code, text) = refusal(answer);
        assert_eq!(code, Code::Aborted, "{text}");
        let cause = "shard 80- got another primary meanwhile, on which nobody deleted the streams";
        assert!(text.contains(cause), "{text}");
        assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
        assert!(rig.record().await.is_some(), "{end}");
        // the other one has them
        {
            let mut contents = rig.target[1].contents();
            (contents.held, contents.workflows) = (None, streams);
        }
        rig.target[1].freeze();
        ended().await.unwrap();
        rig.expect_clean(if end == "complete" { &TABLES[..] } else { &[] }).await;
    }
}

/// Another primary takes over right after the VSchema was written, once that was asked for.
#[derive(Clone)]
struct Reparents(Arc<AtomicBool>);

#[tonic::async_trait]
impl Meddle for Reparents {
    async fn write(&self, conn: &Arc<dyn Conn>, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        let vschema = paths::vschema("customer");
        let is_meant = writes.iter().any(|write| matches!(write, Write::Put { path, .. } if *path == vschema));
        let written = conn.write(writes, guard).await?;
        if is_meant && self.0.swap(false, Ordering::SeqCst) {
            conn.write(vec![taken_over(conn).await], None).await?;
        }
        Ok(written)
    }
}

/// It may have the tables that were dropped on the one before.
#[tokio::test]
async fn tables_are_not_noted_as_seen_to_before_their_denial_is_lifted_where_another_primary_takes_over() {
    let asked = Arc::new(AtomicBool::new(false));
    let rig = meddled::rig(Reparents(Arc::clone(&asked)), |_| true).await;
    rig.copied().await;
    let entry = |name: &str| TablesEntry { key: name.into(), value: Some(Table::default()) };
    let vschema = VSchema { tables: TABLES.map(entry).to_vec(), ..VSchema::default() };
    rig.lab.put(&paths::vschema("customer"), vschema.encode_to_vec()).await;
    rig.set_record(json!({"vschema_tables": TABLES})).await;
    asked.store(true, Ordering::SeqCst);
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::Aborted, "{text}");
    assert!(text.contains("shard 80- got another primary meanwhile"), "{text}");
    let record = rig.record().await.unwrap();
    assert!(record["cancelling"] == true && record["seen_to"].is_null(), "{record}");
    rig.target[1].fill("orders", 10);
    let text = rig.cancel(false).await.unwrap();
    assert!(text.contains("; left: orders on shard 80-: "), "{text}");
    assert_eq!((rows(&rig), rig.record().await), (vec![10], None));
}
