//! What users bring: definitions, names and vschemas that need a word or a refusal.

use axum::Router;
use axum::routing::get;
use prost::Message;
use tokio::net::TcpListener;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths, shard, vschema};
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;
use vtmigrated_proto::vschema::{AutoIncrement, Keyspace as VSchema, SrvVSchema, Table, Vindex};
use vtmigrated_proto::vtctldata::{CreateKeyspaceRequest, CreateShardRequest, MigrateCreateRequest};
use vtmigrated_proto::vtmigrated::Severity;

use crate::support::migrate_rig::{self, Rig, SHARDS};
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{Lab, refusal, tablet};

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
    take_ids_from(&rig, "main.nosuch").await;
    // that of a keyspace beside says nothing of it
    rig.lab.put(&paths::vschema("legacy"), vec![0xff, 0xff]).await;
    let answer = rig.create().await.unwrap();
    for words in ["SEQUENCE_UNKNOWN", "sequence main.nosuch of column id", "there is no keyspace main"] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    let found = rig.verdict().await.unwrap().findings;
    let told: Vec<_> = found.iter().filter(|finding| finding.id == "SEQUENCE_MISSING").collect();
    assert!(told.len() == 1 && told[0].severity() == Severity::Warns, "{found:?}");
    assert!(told[0].cause.contains("there is no keyspace main"), "{found:?}");
}

/// The target's table customer takes its ids from a sequence.
async fn take_ids_from(rig: &Rig, sequence: &str) {
    let mut target = vschema::get(rig.lab.topo.global(), "customer").await.unwrap().value;
    let auto_increment = Some(AutoIncrement { column: "id".into(), sequence: sequence.into() });
    target.tables.iter_mut().find(|entry| entry.key == "customer").unwrap().value.as_mut().unwrap().auto_increment =
        auto_increment;
    rig.lab.put(&paths::vschema("customer"), target.encode_to_vec()).await;
}

/// How tablets are asked up to where ids go.
const HIGHEST: &str = "select 0, max(`id`) from `customer`";

/// An unsharded vschema of tables with types.
fn typed(tables: &[(&str, &str)]) -> VSchema {
    let entry = |(name, kind): &(&str, &str)| TablesEntry {
        key: (*name).to_owned(),
        value: Some(Table { r#type: (*kind).to_owned(), ..Table::default() }),
    };
    VSchema { tables: tables.iter().map(entry).collect(), ..VSchema::default() }
}

#[tokio::test]
async fn a_sequence_that_two_keyspaces_have_is_told_with_both() {
    let rig = Rig::start().await;
    for keyspace in ["main", "spare"] {
        rig.lab.put(&paths::vschema(keyspace), typed(&[("ids", "sequence")]).encode_to_vec()).await;
    }
    take_ids_from(&rig, "ids").await;
    let words = "several keyspaces have a table of that name: main, spare";
    let answer = rig.create().await.unwrap();
    assert!(
        answer.contains("Warning SEQUENCE_UNKNOWN: sequence ids of column id") && answer.contains(words),
        "{answer}"
    );
    let found = rig.verdict().await.unwrap().findings;
    assert!(found.iter().any(|f| f.id == "SEQUENCE_MISSING" && f.cause.contains(words)), "{found:?}");
}

#[tokio::test]
async fn a_sequence_that_would_give_out_ids_again_is_told_with_the_value_to_set() {
    let mut rig = Rig::start().await;
    let request = CreateKeyspaceRequest { name: "my-main".into(), ..CreateKeyspaceRequest::default() };
    rig.lab.client.create_keyspace(request).await.unwrap();
    let request =
        CreateShardRequest { keyspace: "my-main".into(), shard_name: "0".into(), ..CreateShardRequest::default() };
    rig.lab.client.create_shard(request).await.unwrap();
    let sequences = MigrateTablet::default();
    let port = sequences.start().await;
    rig.lab.add_tablet(&tablet("zone1", 2000, "my-main", "0", TabletType::Primary, port)).await;
    take_ids_from(&rig, "`my-main`.`customer-ids`").await;
    sequences.contents().told = vec![("select next_id from `customer-ids` where id = 0", vec!["41"])];
    rig.source.contents().told = vec![(HIGHEST, vec!["0", "41"])];
    for (primary, highest) in rig.target.iter().zip(["38", "40"]) {
        primary.contents().told = vec![(HIGHEST, vec!["0", highest])];
    }
    let answer = rig.create().await.unwrap();
    for words in
        ["Warning SEQUENCE_BEHIND", "its next_id is 41, and id goes up to 41", "set its next_id to 42 or above"]
    {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    let low = async || {
        let found = rig.verdict().await.unwrap().findings.into_iter();
        found.filter(|finding| finding.id.starts_with("SEQUENCE_")).map(|f| (f.id, f.cause)).collect::<Vec<_>>()
    };
    let found = low().await;
    assert!(found.is_empty(), "the target's ids count, not the source's: {found:?}");
    rig.target[0].contents().told = vec![(HIGHEST, vec!["0", "41"])];
    let found = low().await;
    assert!(found.len() == 1 && found[0].0 == "SEQUENCE_LOW" && found[0].1.contains("goes up to 41"), "{found:?}");
}

#[tokio::test]
async fn what_stays_behind_is_named_by_create_and_what_was_named_and_cannot_come_is_refused() {
    let rig = Rig::start().await;
    rig.source.fill("_prices_old", 1);
    rig.source.contents().inventory =
        vec![("view", "dear"), ("trigger", "lower_name"), ("event", "daily"), ("procedure", "nothing")];
    rig.put_in_source(&paths::vschema("commerce"), typed(&[("order_ids", "sequence")]).encode_to_vec()).await;
    let all = Rig::request(&["src1"], TabletType::Primary);
    for (named, words) in [
        ("dear", "table(s) not found in source keyspace commerce: dear: only tables come over, no views"),
        ("_prices_old", "tables with names like those that Vitess gives its own do not come over"),
        ("nosuch", "table(s) not found in source keyspace commerce: nosuch"),
    ] {
        let include_tables = vec!["customer".to_owned(), named.to_owned()];
        let request = MigrateCreateRequest { all_tables: false, include_tables, ..all.clone() };
        let (code, text) = refusal(rig.lab.client.clone().migrate_create(request).await);
        assert!(code == Code::FailedPrecondition && text.starts_with(words), "{named}: {text}");
        rig.expect_clean(&[]).await;
    }
    // to leave out what does not come anyway does no harm
    let request = MigrateCreateRequest { exclude_tables: vec!["dear".into(), "_prices_old".into()], ..all };
    rig.lab.client.clone().migrate_create(request).await.unwrap();
    rig.cancel(false).await.unwrap();
    let answer = rig.create().await.unwrap();
    let stays = "these stay behind in the source: 1 event (daily), 1 procedure (nothing), 1 sequence (order_ids), \
                 1 trigger (lower_name), 1 view (dear)";
    for words in ["Warning NOT_MOVED", stays, "Warning INTERNAL_LEFT_OUT", "its streams leave them out: _prices_old"] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn sequence_and_reference_tables_stay_what_they_are_in_an_unsharded_vschema_and_create_says_so() {
    let mut lab = Lab::with_keyspace("customer", &["0"]).await;
    let target = [MigrateTablet::default(), MigrateTablet::default()];
    let port = target[0].start().await;
    lab.add_tablet(&tablet("zone1", 1000, "customer", "0", TabletType::Primary, port)).await;
    let source = migrate_rig::mount(&lab, &["countries", "customer", "ids"]).await;
    let rig = Rig { lab, target, source };
    let of_source = typed(&[("countries", "reference"), ("ids", "sequence")]);
    rig.put_in_source(&paths::vschema("commerce"), of_source.encode_to_vec()).await;
    let types = async || {
        let of_target = vschema::get(rig.lab.topo.global(), "customer").await.unwrap().value.tables.into_iter();
        let mut types: Vec<_> = of_target.map(|entry| (entry.key, entry.value.unwrap().r#type)).collect();
        types.sort();
        types
    };
    let answer = rig.create().await.unwrap();
    let words =
        "are written to the vschema of keyspace customer with their types: countries (reference), ids (sequence)";
    assert!(answer.contains("Warning VSCHEMA_TYPES_KEPT") && answer.contains(words), "{answer}");
    let kept = [("countries", "reference"), ("customer", ""), ("ids", "sequence")];
    assert_eq!(types().await, kept.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
    rig.cancel(false).await.unwrap();
    assert!(types().await.is_empty());
}

#[tokio::test]
async fn a_vindex_that_means_something_else_to_the_source_by_now_keeps_complete() {
    let rig = Rig::start().await;
    rig.copied().await;
    let cell = rig.source_topology().await.cell("src1").await.unwrap();
    // another keyspace of the source gets one of the name under which filters know a type
    let vindex = Vindex { r#type: "xxhash".into(), ..Vindex::default() };
    let vindexes = vec![VindexesEntry { key: "hash".into(), value: Some(vindex) }];
    let other = KeyspacesEntry { key: "other".into(), value: Some(VSchema { vindexes, ..VSchema::default() }) };
    let served = SrvVSchema { keyspaces: vec![other], ..SrvVSchema::default() };
    let write = Write::put(paths::SRV_VSCHEMA, served.encode_to_vec(), Expect::Any);
    cell.write_one(write, None).await.unwrap();
    let words = "the streams choose the rows of table orders by another vindex than the target: to the source, vindex hash is of \
                 type xxhash now";
    let found = rig.verdict().await.unwrap().findings;
    assert!(found.iter().any(|f| f.id == "VINDEX_CHANGED" && f.cause == words), "{found:?}");
    let line = rig.status().await.unwrap().traffic_state;
    assert!(line.contains("Complete: NO-GO"), "{line}");
    let (code, text) = refusal(rig.complete().await);
    assert!(code == Code::FailedPrecondition && text.contains("vindex hash is of type xxhash now"), "{text}");
    assert!(rig.target.iter().all(|primary| primary.taken().is_empty()), "nothing has changed");
    cell.remove(paths::SRV_VSCHEMA).await.unwrap();
    rig.complete().await.unwrap();
    rig.expect_clean(&["customer", "orders"]).await;
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
