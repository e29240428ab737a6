//! Streams that the tablets of the target replaced, for the source was resharded or has moved their tables.

use vtmigrated::topo::paths;
use vtmigrated_proto::vtctldata::MoveTablesCompleteRequest;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::refusal;

/// A workflow whose streams were replaced while they copied the table customer.
async fn replaced() -> Rig {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        let mut contents = primary.contents();
        let id = contents.workflows[0].streams[0].id;
        contents.copying = vec![(id, "customer".into())];
        contents.workflows[0].streams[0].id = id + 8;
    }
    rig
}

/// What streams that are gone had left, on all shards.
fn left(rig: &Rig) -> usize {
    rig.target.iter().map(|primary| primary.contents().copying.len()).sum()
}

#[tokio::test]
async fn the_proof_of_a_half_copy_is_not_cleaned_while_the_workflow_is_there() {
    let rig = replaced().await;
    for (id, cause) in rig.leftovers().await {
        assert_eq!(id, "COPY_STATE_ORPHANED");
        assert!(
            cause.ends_with("streams of workflow import were replaced while they copied, and nothing else tells of it")
        );
    }
    assert_eq!(rig.leftovers().await.len(), 2);
    rig.clean().await;
    assert_eq!(left(&rig), 2);
    let (_, text) = refusal(rig.complete().await);
    assert!(text.contains("customer/-80 stream 1: its copy was not over when it was replaced"), "{text}");
    // what another workflow has left is cleaned beside it
    rig.target[0].contents().copying.push((5, "another".into()));
    rig.target[1].contents().copying = vec![(5, "another".into())];
    rig.clean().await;
    assert_eq!(left(&rig), 2);
    rig.forget_streams();
    rig.clean().await;
    assert_eq!(left(&rig), 0);
}

#[tokio::test]
async fn cancel_leaves_nothing_of_streams_that_were_replaced_and_gives_their_keys_back() {
    for keep_data in [false, true] {
        let rig = replaced().await;
        // of another workflow
        rig.target[0].contents().copying.push((5, "another".into()));
        rig.target[0].contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
        rig.cancel(keep_data).await.unwrap();
        rig.expect_clean(if keep_data { &["customer", "orders"] } else { &[] }).await;
        assert_eq!(rig.target[0].contents().copying, [(5, "another".to_owned())]);
        let calls = rig.target[0].taken();
        let forgets = |table: &str| {
            let text = format!("delete from _vt.{table} where vrepl_id in (1) and vrepl_id not in");
            calls.iter().position(|call| call.starts_with(&text)).unwrap()
        };
        let deletes = calls.iter().position(|call| call.starts_with("delete from _vt.vreplication")).unwrap();
        assert!(deletes < forgets("copy_state") && deletes < forgets("post_copy_action"), "{calls:?}");
        assert_eq!(calls.iter().any(|call| call.starts_with("alter table orders")), keep_data, "{calls:?}");
    }
}

/// Without a record the verdict's rule tells whose copy states are.
#[tokio::test]
async fn a_workflow_without_a_record_takes_what_its_replaced_streams_left_with_it() {
    let rig = replaced().await;
    rig.lab.topo.global().remove(&paths::workflow_record("customer", "import")).await.unwrap();
    rig.target[0].contents().copying.push((5, "another".into()));
    let (_, text) = refusal(rig.complete().await);
    assert!(text.contains("customer/-80 stream 1: its copy was not over"), "{text}");
    rig.cancel(true).await.unwrap();
    assert_eq!(rig.target[0].contents().copying, [(5, "another".to_owned())]);
    assert_eq!(left(&rig), 1);
}

/// A workflow on tables that were there before, one of them denied by others, whose streams followed the tables to another keyspace of
/// the source.
async fn moved(denied: &[&str]) -> Rig {
    let rig = Rig::start().await;
    rig.target.iter().for_each(|primary| ["customer", "orders"].iter().for_each(|table| primary.fill(table, 0)));
    rig.deny(denied).await;
    rig.copied().await;
    for primary in &rig.target {
        for stream in primary.contents().workflows.iter_mut().flat_map(|workflow| &mut workflow.streams) {
            (stream.id, stream.rows_copied) = (9, 0);
            stream.bls.as_mut().unwrap().keyspace = "customer2".into();
        }
    }
    rig
}

#[tokio::test]
async fn tables_that_were_there_stay_when_the_source_has_moved_them_to_another_keyspace() {
    let rig = moved(&[]).await;
    rig.cancel(false).await.unwrap();
    assert_eq!(rows(&rig), [0; 4], "they are emptied");
    rig.expect_clean(&["customer", "orders"]).await;
}

#[tokio::test]
async fn denied_tables_of_others_stay_when_the_source_has_moved_them_to_another_keyspace() {
    let theirs = [vec!["orders".to_owned()], vec!["orders".to_owned()]];
    let rig = moved(&["orders"]).await;
    rig.cancel(false).await.unwrap();
    assert_eq!((rows(&rig), rig.denied().await), (vec![0; 4], theirs.clone()));
    let rig = moved(&["orders"]).await;
    // the rig's source has no such keyspace
    let insisting = MoveTablesCompleteRequest { ignore_source_keyspace: true, ..MoveTablesCompleteRequest::default() };
    rig.complete_as(insisting).await.unwrap();
    assert_eq!((rows(&rig), rig.denied().await, rig.record().await), (vec![10; 4], theirs, None));
}
