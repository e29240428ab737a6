//! VSchemas.

use tonic::Code;
use vtmigrated::topo::{self, paths, wire};
use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::{AutoIncrement, Keyspace, Table, Vindex};
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused, refusal};

fn lookup(params: &[&str]) -> Keyspace {
    let params = params.iter().map(|param| ((*param).to_owned(), "world".to_owned())).collect();
    let vindex = Vindex { r#type: "lookup".into(), params, owner: String::new() };
    let vindexes = vec![VindexesEntry { key: "lookup1".into(), value: Some(vindex) }];
    Keyspace { sharded: true, vindexes, ..Keyspace::default() }
}

fn apply(v_schema: Option<Keyspace>, sql: &str) -> ApplyVSchemaRequest {
    ApplyVSchemaRequest { keyspace: "ks".into(), v_schema, sql: sql.into(), ..ApplyVSchemaRequest::default() }
}

async fn get(lab: &mut Lab) -> Keyspace {
    let request = GetVSchemaRequest { keyspace: "ks".into() };
    lab.client.get_v_schema(request).await.unwrap().into_inner().v_schema.unwrap()
}

#[tokio::test]
async fn a_vschema_is_replaced_and_served() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let mut wanted = lookup(&["hello", "goodbye"]);
    let reference = Table { r#type: "reference".into(), ..Table::default() };
    wanted.tables.push(TablesEntry { key: "t".into(), value: Some(reference) });
    let done = lab.client.apply_v_schema(apply(Some(wanted.clone()), "")).await.unwrap().into_inner();
    assert_eq!(done.v_schema.as_ref(), Some(&wanted));
    let unknown = &done.unknown_vindex_params[0];
    assert_eq!(unknown.key, "lookup1");
    assert_eq!(unknown.value.as_ref().unwrap().params, ["goodbye", "hello"]);
    assert_eq!(get(&mut lab).await, wanted);
    let srv = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone1".into() }).await.unwrap().into_inner();
    assert_eq!(srv.srv_v_schema.unwrap().keyspaces[0].value, Some(wanted));
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let before = lab.stored().await;
    let dry = ApplyVSchemaRequest { dry_run: true, ..apply(Some(lookup(&["hello"])), "") };
    let done = lab.client.apply_v_schema(dry.clone()).await.unwrap().into_inner();
    assert_eq!(done.v_schema, Some(lookup(&["hello"])));
    let strict = ApplyVSchemaRequest { strict: true, dry_run: false, ..dry };
    let text = "unknown vindex params: lookup1 (hello)";
    assert_refused(lab.client.apply_v_schema(strict).await, Code::InvalidArgument, text);
    let text = "must pass exactly one of req.VSchema and req.Sql";
    assert_refused(lab.client.apply_v_schema(apply(None, "")).await, Code::InvalidArgument, text);
    let both = apply(Some(lookup(&[])), "alter vschema add table t");
    assert_refused(lab.client.apply_v_schema(both).await, Code::InvalidArgument, text);
    let mut bad = lookup(&[]);
    bad.vindexes[0].value.as_mut().unwrap().r#type = "nosuch".into();
    let text = "BuildKeyspace(ks): vindexType \"nosuch\" not found";
    assert_refused(lab.client.apply_v_schema(apply(Some(bad), "")).await, Code::InvalidArgument, text);
    let mut bare = lookup(&[]);
    bare.tables.push(TablesEntry { key: "t".into(), value: Some(Table::default()) });
    let text = "BuildKeyspace(ks): missing primary col vindex for table: t\ngive the table column_vindexes";
    assert_refused(lab.client.apply_v_schema(apply(Some(bare), "")).await, Code::InvalidArgument, text);
    for (column, sequence) in [("", ""), ("id", ""), ("", "ids")] {
        let half = Some(AutoIncrement { column: column.into(), sequence: sequence.into() });
        let table = Table { auto_increment: half, ..Table::default() };
        let tables = vec![TablesEntry { key: "t".into(), value: Some(table) }];
        for dry_run in [false, true] {
            let half = Keyspace { tables: tables.clone(), ..Keyspace::default() };
            let request = ApplyVSchemaRequest { dry_run, ..apply(Some(half), "") };
            let (code, text) = refusal(lab.client.apply_v_schema(request).await);
            assert!(
                code == Code::InvalidArgument && text.contains("auto_increment"),
                "{column:?} {sequence:?}: {text}"
            );
        }
    }
    let cells = ApplyVSchemaRequest { cells: vec!["zoneX".into()], ..apply(Some(lookup(&[])), "") };
    let refused = lab.client.apply_v_schema(cells).await;
    assert_refused(refused, Code::NotFound, "RebuildSrvVSchema: node doesn't exist: ");
    assert_eq!(lab.stored().await, before);
}

#[tokio::test]
async fn the_rebuild_can_be_skipped() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let before = lab.cell("zone1").await.list("").await.unwrap();
    let skip = ApplyVSchemaRequest { skip_rebuild: true, ..apply(Some(lookup(&[])), "") };
    lab.client.apply_v_schema(skip).await.unwrap();
    assert_eq!(get(&mut lab).await, lookup(&[]));
    assert_eq!(lab.cell("zone1").await.list("").await.unwrap(), before);
}

#[tokio::test]
async fn statements_change_what_is_there_and_newer_fields_stay() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let mut raw = Vec::new();
    wire::push(&mut raw, 3, &wire::map_entry("old", &[]));
    wire::push(&mut raw, 99, b"newer");
    lab.put(&paths::vschema("ks"), raw).await;
    let done = lab.client.apply_v_schema(apply(None, "alter vschema add table t")).await.unwrap().into_inner();
    assert_eq!(done.v_schema, Some(get(&mut lab).await));
    let record = topo::vschema::get(lab.topo.global(), "ks").await.unwrap();
    assert_eq!(record.value.tables.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["old", "t"]);
    assert!(wire::fields(&record.raw).unwrap().iter().any(|field| field.number == 99));
    // without a record a statement begins with an empty VSchema
    lab.topo.global().remove(&paths::vschema("ks")).await.unwrap();
    lab.client.apply_v_schema(apply(None, "alter vschema add sequence s")).await.unwrap();
    assert_eq!(get(&mut lab).await.tables.len(), 1);
}

#[tokio::test]
async fn bad_statements_and_keyspaces_are_refused() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let before = lab.stored().await;
    let long = "x".repeat(65_536);
    for (sql, code, text) in [
        (
            "create table t(id int)",
            Code::InvalidArgument,
            "error parsing VSchema DDL statement `create table t(id int)`",
        ),
        (
            "alter vschema foo",
            Code::InvalidArgument,
            "Parse(alter vschema foo): syntax error at position 18 near 'foo'",
        ),
        (
            "alter vschema drop table t",
            Code::NotFound,
            "ApplyVSchemaDDL(ks,<nil>,alter vschema drop table t): vschema does",
        ),
        (
            "alter vschema create vindex v using nosuch",
            Code::InvalidArgument,
            "BuildKeyspace(ks): vindexType \"nosuch\"",
        ),
        ("'; drop table t; --", Code::InvalidArgument, ""),
        (long.as_str(), Code::InvalidArgument, ""),
    ] {
        assert_refused(lab.client.apply_v_schema(apply(None, sql)).await, code, text);
    }
    for name in HOSTILE {
        let request = ApplyVSchemaRequest { keyspace: (*name).into(), ..apply(Some(lookup(&[])), "") };
        let text = format!("GetKeyspace({name}): GetKeyspace: ");
        assert_refused(lab.client.apply_v_schema(request).await, Code::InvalidArgument, &text);
        let get = lab.client.get_v_schema(GetVSchemaRequest { keyspace: (*name).into() }).await;
        assert_refused(get, Code::InvalidArgument, "");
    }
    let request = ApplyVSchemaRequest { keyspace: "nope".into(), ..apply(Some(lookup(&[])), "") };
    let text = "keyspace(nope) doesn't exist, check if the keyspace is initialized: node doesn't exist: ";
    assert_refused(lab.client.apply_v_schema(request).await, Code::NotFound, text);
    let missing = lab.client.get_v_schema(GetVSchemaRequest { keyspace: "nope".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/nope/VSchema");
    assert_eq!(lab.stored().await, before);
}
