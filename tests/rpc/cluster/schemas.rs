//! Schemas: reading, changing, reloading.

use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::manager::{Calls, Told, sorted, start, start_told, taken};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

/// ks with -80 (primary p1, replica r1) and 80- (primary p2).
async fn cluster(calls: &Calls) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    for (uid, name, shard, tablet_type) in [
        (1, "p1", "-80", TabletType::Primary),
        (2, "r1", "-80", TabletType::Replica),
        (3, "p2", "80-", TabletType::Primary),
    ] {
        let port = start(name, calls).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", shard, tablet_type, port)).await;
    }
    lab
}

fn change(sql: &[&str]) -> ApplySchemaRequest {
    ApplySchemaRequest {
        keyspace: "ks".into(),
        sql: sql.iter().map(|sql| (*sql).into()).collect(),
        ..ApplySchemaRequest::default()
    }
}

#[tokio::test]
async fn a_schema_is_read_with_all_filters() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let request = GetSchemaRequest {
        tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 1 }),
        tables: vec!["a".into()],
        exclude_tables: vec!["x".into()],
        include_views: true,
        table_schema_only: true,
        ..GetSchemaRequest::default()
    };
    let full = lab.client.get_schema(request.clone()).await.unwrap().into_inner().schema.unwrap();
    assert_eq!(full.database_schema, "CREATE DATABASE `{{.DatabaseName}}`");
    assert_eq!(full.table_definitions[0].schema, "CREATE TABLE `a`");
    assert_eq!(sorted(&calls), [r#"p1 GetSchema ["a"] ["x"] true true"#]);
    let names = GetSchemaRequest { table_names_only: true, table_sizes_only: true, ..request.clone() };
    let names = lab.client.get_schema(names).await.unwrap().into_inner().schema.unwrap().table_definitions;
    assert_eq!((names[1].name.as_str(), names[1].row_count, names[1].r#type.as_str()), ("b", 0, ""));
    let sizes = GetSchemaRequest { table_sizes_only: true, ..request.clone() };
    let sizes = lab.client.get_schema(sizes).await.unwrap().into_inner().schema.unwrap().table_definitions;
    assert_eq!((sizes[0].row_count, sizes[0].data_length, sizes[0].schema.as_str()), (3, 7, ""));
    let failed = GetSchemaRequest { tables: vec!["fail".into()], ..request.clone() };
    let text = "GetSchema(zone1-0000000001) failed: TabletManager on p1: told to";
    assert_refused(lab.client.get_schema(failed).await, Code::Internal, text);
    let missing = GetSchemaRequest { tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 9 }), ..request };
    let text = "GetTablet(zone1-0000000009) failed: node doesn't exist: ";
    assert_refused(lab.client.get_schema(missing).await, Code::NotFound, text);
}

#[tokio::test]
async fn a_change_runs_on_every_primary_and_all_tablets_reload() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let done = lab.client.apply_schema(change(&["create table t(id int);", " ", "drop table u"])).await.unwrap();
    let affected = done.into_inner().rows_affected_by_shard;
    assert_eq!(affected, [("-80".to_owned(), 4), ("80-".to_owned(), 4)].into());
    let wanted = [
        "p1 Multi vt_ks: create table t(id int)",
        "p1 Multi vt_ks: drop table u",
        "p1 PrimaryPosition",
        "p1 PrimaryPosition",
        "p1 ReloadSchema ",
        "p2 Multi vt_ks: create table t(id int)",
        "p2 Multi vt_ks: drop table u",
        "p2 PrimaryPosition",
        "p2 PrimaryPosition",
        "p2 ReloadSchema ",
        &format!("r1 ReloadSchema {}", Told::default().position),
    ];
    assert_eq!(sorted(&calls), wanted);
    let locks = lab.topo.global().list(&format!("{}/locks", paths::keyspace_dir("ks"))).await.unwrap();
    assert_eq!(locks, vec![]);
    let options = ApplySchemaRequest {
        ddl_strategy: "direct --unsafe-allow-foreign-keys --allow-zero-in-date".into(),
        batch_size: 2,
        ..change(&["create table a(id int)", "create table b(id int)"])
    };
    lab.client.apply_schema(options).await.unwrap();
    let create = "create /*vt+ allowZeroInDate=true */ table";
    let sent = format!("p1 Multi vt_ks: {create} a(id int);\n{create} b(id int) without foreign key checks");
    assert!(sorted(&calls).contains(&sent));
}

#[tokio::test]
async fn a_change_stops_at_the_first_failure_and_says_where() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let failed = lab.client.apply_schema(change(&["drop table fail", "drop table u"])).await;
    let text =
        r#"schema change failed, ExecuteResult: {"FailedShards":[{"Shard":"-80","Err":"TabletManager on p1: told to"}"#;
    assert_refused(failed, Code::Internal, text);
    assert_eq!(sorted(&calls), ["p1 Multi vt_ks: drop table fail", "p2 Multi vt_ks: drop table fail"]);
}

#[tokio::test]
async fn changes_that_cannot_be_served_run_nowhere() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let ddl = |strategy: &str| ApplySchemaRequest { ddl_strategy: strategy.into(), ..change(&["drop table t"]) };
    let text = "ddl strategy vitess is not served by vtmigrated";
    assert_refused(lab.client.apply_schema(ddl("vitess")).await, Code::Unimplemented, text);
    let text = "invalid DdlStrategy: gh: Unknown online DDL strategy: 'gh'";
    assert_refused(lab.client.apply_schema(ddl("gh")).await, Code::InvalidArgument, text);
    let text = "Sql must be a non-empty array";
    assert_refused(lab.client.apply_schema(change(&[])).await, Code::FailedPrecondition, text);
    let text = "non-ddl statements can only be executed for single shard keyspaces: insert into t values (1)";
    let insert = change(&["insert into t values (1)"]);
    assert_refused(lab.client.apply_schema(insert).await, Code::FailedPrecondition, text);
    let two = change(&["drop table t", "drop table a; drop table b"]);
    assert_refused(lab.client.apply_schema(two).await, Code::InvalidArgument, "failed to parse sql: drop table a; ");
    let uuids = ApplySchemaRequest { uuid_list: vec!["a".into(), "b".into()], ..ddl("") };
    let text = "provided 2 UUIDs do not match number of DDLs 1";
    assert_refused(lab.client.apply_schema(uuids).await, Code::InvalidArgument, text);
    for name in HOSTILE {
        let request = ApplySchemaRequest { keyspace: (*name).into(), ..ddl("") };
        assert_refused(lab.client.apply_schema(request).await, Code::InvalidArgument, "");
    }
    let missing = ApplySchemaRequest { keyspace: "nope".into(), ..ddl("") };
    let text = "unable to get shards for keyspace: nope, error: FindAllShardsInKeyspace(nope): List: ";
    assert_refused(lab.client.apply_schema(missing).await, Code::NotFound, text);
    assert_eq!(sorted(&calls), Vec::<String>::new());

    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let text = "shard: 0 does not have a primary";
    assert_refused(lab.client.apply_schema(ddl("")).await, Code::FailedPrecondition, text);
}

#[tokio::test]
async fn schemas_are_reloaded_by_shard_and_by_keyspace() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let shard = ReloadSchemaShardRequest {
        keyspace: "ks".into(),
        shard: "-80".into(),
        wait_position: "pos".into(),
        ..ReloadSchemaShardRequest::default()
    };
    let done = lab.client.reload_schema_shard(shard.clone()).await.unwrap().into_inner();
    assert_eq!(done.events, vec![]);
    assert_eq!(sorted(&calls), ["r1 ReloadSchema pos"]);
    let keyspace = ReloadSchemaKeyspaceRequest {
        keyspace: "ks".into(),
        include_primary: true,
        concurrency: 1,
        ..ReloadSchemaKeyspaceRequest::default()
    };
    lab.client.reload_schema_keyspace(keyspace.clone()).await.unwrap();
    assert_eq!(sorted(&calls), ["p1 ReloadSchema ", "p2 ReloadSchema ", "r1 ReloadSchema "]);
    lab.add_tablet(&tablet("zone1", 9, "ks", "-80", TabletType::Replica, 1)).await;
    let events = lab.client.reload_schema_shard(shard.clone()).await.unwrap().into_inner().events;
    let text =
        "Failed to reload schema on replica tablet zone1-0000000009 in ks/-80 (use vtctl ReloadSchema to try again): ";
    assert!(events.len() == 1 && events[0].value.starts_with(text), "{events:?}");
    let missing = ReloadSchemaShardRequest { shard: "0".into(), ..shard };
    let events = lab.client.reload_schema_shard(missing).await.unwrap().into_inner().events;
    assert!(events[0].value.starts_with("ReloadSchemaShard(ks/0) failed to load tablet list, will not reload schema"));
    let missing = ReloadSchemaKeyspaceRequest { keyspace: "nope".into(), ..keyspace };
    let text = "GetShardNames(nope) failed: ";
    assert_refused(lab.client.reload_schema_keyspace(missing).await, Code::NotFound, text);
}

fn copy(uid: u32, shard: &str) -> CopySchemaShardRequest {
    CopySchemaShardRequest {
        source_tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid }),
        tables: vec!["copied".into()],
        destination_keyspace: "ks".into(),
        destination_shard: shard.into(),
        ..CopySchemaShardRequest::default()
    }
}

#[tokio::test]
async fn a_schema_is_copied_to_a_primary_unless_it_is_there() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    // what is there already
    lab.client.copy_schema_shard(copy(1, "80-")).await.unwrap();
    let look = |name: &str| format!(r#"{name} GetSchema ["copied"] [] false false"#);
    assert_eq!(sorted(&calls), [look("p1"), look("p2")]);
    let told = Told { tables: vec!["a", "b", "copied"], ..Told::default() };
    let port = start_told("source", &calls, told.clone()).await;
    lab.add_tablet(&tablet("zone1", 7, "other", "0", TabletType::Replica, port)).await;
    lab.client.copy_schema_shard(copy(7, "80-")).await.unwrap();
    let done = taken(&calls);
    let applied: Vec<_> = done.iter().filter(|call| call.contains("ApplySchema")).map(String::as_str).collect();
    let mode = "true NO_AUTO_VALUE_ON_ZERO";
    assert_eq!(
        applied,
        [
            format!("p2 ApplySchema CREATE DATABASE `vt_ks` {mode}"),
            format!("p2 ApplySchema CREATE TABLE `vt_ks`.`a` {mode}"),
            format!("p2 ApplySchema CREATE TABLE `vt_ks`.`b` {mode}"),
            format!("p2 ApplySchema CREATE TABLE `vt_ks`.`copied` {mode}"),
        ]
    );
    assert!(done.contains(&"p2 ReloadSchema ".to_owned()), "{done:?}");
    assert_eq!(done.iter().filter(|call| call.contains("GetSchema")).count(), 4);
}

#[tokio::test]
async fn a_copy_says_what_it_could_not_do() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let source = Told { tables: vec!["a", "only"], ..Told::default() };
    let port = start_told("source", &calls, source).await;
    lab.add_tablet(&tablet("zone1", 7, "other", "0", TabletType::Replica, port)).await;
    let text = r#"CopySchemaShard was not successful because the schemas between the two tablets cell:"zone1" uid:7 and cell:"zone1" uid:3 differ: [dest has an extra table named b"#;
    assert_refused(lab.client.copy_schema_shard(copy(7, "80-")).await, Code::FailedPrecondition, text);
    let broken = Told { fails: vec![("ApplySchema", "no (errno 1050) (sqlstate 42S01)")], ..Told::default() };
    let port = start_told("broken", &calls, broken).await;
    lab.add_tablet(&tablet("zone1", 8, "ks", "-80", TabletType::Primary, port)).await;
    let text =
        "creating a table failed. Most likely some tables already exist on the destination and differ from the source.";
    assert_refused(lab.client.copy_schema_shard(copy(7, "-80")).await, Code::AlreadyExists, text);
    let text = "GetShard(ks, 0) failed: node doesn't exist: ";
    assert_refused(lab.client.copy_schema_shard(copy(7, "0")).await, Code::NotFound, text);
    let text = r#"CopySchemaShard failed because schemas could not be compared initially: failed to get schema from tablet cell:"zone1" uid:99. err: "#;
    assert_refused(lab.client.copy_schema_shard(copy(99, "80-")).await, Code::NotFound, text);
}
