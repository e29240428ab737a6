//! What users bring: definitions, names and vschemas that need a word or a refusal.

use axum::Router;
use axum::routing::get;
use prost::Message;
use tokio::net::TcpListener;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths, shard, vschema};
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vschema::AutoIncrement;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;
use vtmigrated_proto::vtmigrated::Severity;

use crate::migrate_rig::{Rig, SHARDS};
use crate::support::refusal;

/// Ids of what a dry run of create finds.
async fn dry_run(rig: &Rig) -> Vec<(String, Severity)> {
    let request = Rig::request(&["src1"], TabletType::Primary);
    let report = rig.lab.advisor.clone().dry_run_create(request).await.unwrap().into_inner();
    report.findings.into_iter().map(|finding| (finding.id.clone(), finding.severity())).collect()
}

#[tokio::test]
async fn what_tablets_cannot_stream_is_told_with_what_to_do_and_what_they_cannot_copy_is_refused() {
    let rig = Rig::start().await;
    rig.source.contents().lines = vec![("orders", "KEY `by_sum` ((`id` + 1))")];
    assert!(dry_run(&rig).await.contains(&("FUNCTIONAL_KEY".to_owned(), Severity::Warns)));
    let answer = rig.create().await.unwrap();
    for words in ["FUNCTIONAL_KEY", "table orders", "key by_sum", "drop the key in the source before create"] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    rig.cancel(false).await.unwrap();

    rig.source.contents().lines = vec![("orders", "`cube` int DEFAULT NULL")];
    let maybe = rig.create().await.unwrap();
    assert!(maybe.contains("NAME_NOT_QUOTED"), "the source does not tell its version: {maybe}");
    rig.cancel(false).await.unwrap();
    rig.source.contents().variables = vec![("version", "8.0.36")];
    assert!(dry_run(&rig).await.contains(&("NAME_NOT_QUOTED".to_owned(), Severity::Blocks)));
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    for words in ["names of table orders", "cannot copy it: cube", "rename them in the source"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_back_quote_in_a_name_is_refused_where_streams_meet_it_and_only_there() {
    let rig = Rig::start().await;
    rig.source.fill("a`b", 10);
    let (code, text) = refusal(rig.create().await);
    assert!(code == Code::FailedPrecondition && text.contains("TABLE_NAME_UNFIT (table a`b)"), "{text}");
    let others =
        MigrateCreateRequest { exclude_tables: vec!["a`b".into()], ..Rig::request(&["src1"], TabletType::Primary) };
    let client = || rig.lab.client.clone();
    client().migrate_create(others.clone()).await.unwrap();
    rig.cancel(false).await.unwrap();

    rig.target[1].fill("c`d", 0);
    let (code, text) = refusal(client().migrate_create(others).await);
    assert!(code == Code::FailedPrecondition && text.contains("every stream ends: c`d"), "{text}");
    rig.target[1].contents().tables.clear();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_sequence_that_no_keyspace_has_is_told_by_create_and_the_verdict() {
    let rig = Rig::start().await;
    let mut target = vschema::get(rig.lab.topo.global(), "customer").await.unwrap().value;
    let auto_increment = Some(AutoIncrement { column: "id".into(), sequence: "main.nosuch".into() });
    target.tables[0].value.as_mut().unwrap().auto_increment = auto_increment;
    rig.lab.put(&paths::vschema("customer"), target.encode_to_vec()).await;
    let answer = rig.create().await.unwrap();
    for words in ["SEQUENCE_UNKNOWN", "sequence main.nosuch of column id", "there is no keyspace main"] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    let found = rig.verdict().await.unwrap().findings;
    let told: Vec<_> = found.iter().filter(|finding| finding.id == "SEQUENCE_MISSING").collect();
    assert!(told.len() == 1 && told[0].severity() == Severity::Warns, "{found:?}");
    assert!(told[0].cause.contains("there is no keyspace main"), "{found:?}");
}

#[tokio::test]
async fn the_verdict_tells_tables_that_the_source_got_after_all_were_to_come() {
    let rig = Rig::start().await;
    rig.source.fill("left", 1);
    rig.source.fill("_prices_old", 1);
    let request =
        MigrateCreateRequest { exclude_tables: vec!["left".into()], ..Rig::request(&["src1"], TabletType::Primary) };
    rig.lab.client.clone().migrate_create(request.clone()).await.unwrap();
    let told = async || {
        let found = rig.verdict().await.unwrap().findings;
        found.into_iter().find(|finding| finding.id == "TABLE_ADDED").map(|finding| (finding.subject, finding.cause))
    };
    assert_eq!(told().await, None);
    rig.source.fill("coupons", 1);
    rig.source.fill("_refunds_old", 1);
    let (subject, cause) = told().await.unwrap();
    assert_eq!(subject, "source keyspace commerce");
    assert!(cause.ends_with("when all of them were to come: coupons"), "{cause}");
    // who names tables wants no others
    rig.cancel(false).await.unwrap();
    let tables = ["customer", "orders"].map(str::to_owned).to_vec();
    let named = MigrateCreateRequest { all_tables: false, include_tables: tables, exclude_tables: vec![], ..request };
    rig.lab.client.clone().migrate_create(named).await.unwrap();
    assert_eq!(told().await, None);
}

/// These tablets tell no version: only those from 24 on are known to deny nothing but writes.
#[tokio::test]
async fn where_tablets_deny_reads_too_create_says_how_to_read() {
    let answer = Rig::start().await.create().await.unwrap();
    let text = "Until complete the moved tables can be read from replicas only: use customer@replica";
    assert!(answer.contains(text), "{answer}");
}

/// From now on the target's primaries tell that they are of this version.
async fn of_version(rig: &Rig, version: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    let page = move || async move { format!(r#"{{"BuildVersion": "{version}"}}"#) };
    let router = Router::new().route("/debug/vars", get(page));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let cell = rig.lab.cell("zone1").await;
    for uid in [1000, 1100] {
        let path = paths::tablet(&TabletAlias { cell: "zone1".into(), uid });
        let mut record = Tablet::decode(cell.get(&path).await.unwrap().value).unwrap();
        record.port_map.insert("vt".into(), port);
        cell.write_one(Write::put(path, record.encode_to_vec(), Expect::Any), None).await.unwrap();
    }
}

#[tokio::test]
async fn the_versions_of_the_targets_tablets_decide_whether_there_is_a_migration_and_who_may_read_meanwhile() {
    let rig = Rig::start().await;
    of_version(&rig, "21.0.5").await;
    let stored = rig.lab.stored().await;
    let refused = rig.create().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("runs Vitess 21.0.5: complete could not freeze its streams"), "{refused}");
    assert_eq!(rig.lab.stored().await, stored);
    for (version, reads_pass) in [("22.0.4", false), ("24.0.4", true)] {
        of_version(&rig, version).await;
        let answer = rig.create().await.unwrap();
        assert_eq!(answer.contains("use customer@replica"), !reads_pass, "{version}: {answer}");
        for name in SHARDS {
            let controls = shard::get(rig.lab.topo.global(), "customer", name).await.unwrap().value.tablet_controls;
            assert!(matches!(controls.as_slice(), [control] if control.allow_reads == reads_pass), "{controls:?}");
        }
        rig.cancel(false).await.unwrap();
    }
}
