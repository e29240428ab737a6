//! The tablet manager's answers where vtctld depends on every detail, without any source.

use crate::pair::{apply_schema, create, exec, set_state, update, workflow};
use integration::{client::TabletManager as Manager, cluster::Cluster};
use mysql_async::prelude::Queryable;
use tonic::Code;
use vtmigrated_proto::{binlogdata::VReplicationWorkflowState as State, tabletmanagerdata as data};

const TABLE: &str = "create table customer (id bigint not null auto_increment primary key, name varchar(20))";

async fn target() -> (Cluster, Manager) {
    let cluster = Cluster::new("zone1").keyspace("customer", &["-80"]).first_uid(2100).start().await.unwrap();
    let manager = cluster.primary("customer", "-80").unwrap().manager().await.unwrap();
    (cluster, manager)
}

fn request(options: &str) -> data::CreateVReplicationWorkflowRequest {
    let mut request = workflow("-80", &[("customer", "id"), ("/admin.*", "id")]);
    request.binlog_source[0].external_cluster.clear();
    request.options = options.to_owned();
    request
}

async fn read(manager: &mut Manager, workflow: &str) -> data::ReadVReplicationWorkflowResponse {
    let request = data::ReadVReplicationWorkflowRequest { workflow: workflow.into() };
    manager.read_v_replication_workflow(request).await.unwrap().into_inner()
}

async fn refused(manager: &mut Manager, query: &str) -> String {
    let request = data::VReplicationExecRequest { query: query.to_owned() };
    let status = manager.v_replication_exec(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    status.message().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_workflow_is_stopped_and_reads_back() {
    let (cluster, mut manager) = target().await;
    assert_eq!(read(&mut manager, "import").await, data::ReadVReplicationWorkflowResponse::default());
    let created = create(&mut manager, request(r#"{"config": {"vreplication_experimental_flags": "3"}}"#)).await;
    assert_eq!(created.rows_affected, 1);
    let found = read(&mut manager, "import").await;
    assert_eq!(found.cells, "zone1");
    assert_eq!(found.tablet_types, [2, 1]);
    assert_eq!(found.tablet_selection_preference(), data::TabletSelectionPreference::Inorder);
    assert_eq!(found.db_name, "vt_customer_0");
    assert_eq!(found.options, r#"{"config": {"vreplication_experimental_flags": "3"}}"#);
    let stream = &found.streams[0];
    assert_eq!(stream.state(), State::Stopped);
    assert!(stream.pos.is_empty() && stream.message.is_empty());
    let digits = stream.time_updated.unwrap().seconds.to_string();
    assert!(digits.len() == 14 && digits.starts_with("20"), "{digits}");
    let rules = &stream.bls.as_ref().unwrap().filter.as_ref().unwrap().rules;
    assert_eq!(rules.iter().map(|rule| rule.r#match.as_str()).collect::<Vec<_>>(), ["/admin.*", "customer"]);

    let mut conn = cluster.shard("customer", "-80").unwrap().connect().await.unwrap();
    let log: Vec<(String, String, String)> =
        conn.query("select type, state, message from _vt_2100.vreplication_log").await.unwrap();
    assert_eq!((log[0].0.as_str(), log[0].1.as_str()), ("Stream Created", "Stopped"));
    assert!(log[0].2.contains(r#""db_name":"vt_customer_0","defer_secondary_keys":"0","id":"1""#), "{}", log[0].2);
    conn.disconnect().await.unwrap();

    let status =
        manager.create_v_replication_workflow(data::CreateVReplicationWorkflowRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    assert_eq!(
        status.message(),
        "TabletManager.CreateVReplicationWorkflow on zone1-0000002100: invalid request, no binlog source specified"
    );
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_changed_rows_and_drops_the_order() {
    let (cluster, mut manager) = target().await;
    assert_eq!(update(&mut manager, set_state(State::Stopped)).await, None);
    create(&mut manager, request("")).await;
    let changed = update(&mut manager, set_state(State::Stopped)).await.unwrap();
    assert_eq!(changed.rows_affected, 1, "the hint in_order: goes, and the empty message replaces none");
    let found = read(&mut manager, "import").await;
    assert_eq!(found.tablet_selection_preference(), data::TabletSelectionPreference::Any);
    assert_eq!(update(&mut manager, set_state(State::Stopped)).await.unwrap().rows_affected, 0);

    let mut frozen = set_state(State::Stopped);
    frozen.message = Some("FROZEN".into());
    assert_eq!(update(&mut manager, frozen).await.unwrap().rows_affected, 1);
    let status = manager.update_v_replication_workflow(set_state(State::Running)).await.unwrap_err();
    assert!(status.message().ends_with(": cannot start a workflow when it is frozen"), "{status:?}");
    let all = data::ReadVReplicationWorkflowsRequest { exclude_frozen: true, ..Default::default() };
    assert!(manager.read_v_replication_workflows(all).await.unwrap().into_inner().workflows.is_empty());
    let one = data::ReadVReplicationWorkflowsRequest { include_ids: vec![1], ..Default::default() };
    assert_eq!(manager.read_v_replication_workflows(one).await.unwrap().into_inner().workflows.len(), 1);

    let set = |key: &str, value: &str| data::UpdateVReplicationWorkflowRequest {
        config_overrides: [(key.to_owned(), value.to_owned())].into(),
        ..set_state(State::Stopped)
    };
    update(&mut manager, set("relay_log_max_size", "1")).await;
    update(&mut manager, set("relay_log_max_items", "2")).await;
    assert_eq!(read(&mut manager, "import").await.options, r#"{"config": {"relay_log_max_items": "2"}}"#);
    update(&mut manager, set("relay_log_max_items", "")).await;
    assert_eq!(read(&mut manager, "import").await.options, r#"{"config": {}}"#);
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_callers_are_checked_and_deletes_take_all_that_belongs_to_a_stream() {
    let (cluster, mut manager) = target().await;
    let has = |manager: &Manager| {
        let mut manager = manager.clone();
        async move {
            let request = data::HasVReplicationWorkflowsRequest {};
            manager.has_v_replication_workflows(request).await.unwrap().into_inner().has
        }
    };
    assert!(!has(&manager).await);
    create(&mut manager, request("{}")).await;
    assert!(has(&manager).await);
    let prefix = "TabletManager.VReplicationExec on zone1-0000002100: ";
    assert_eq!(refused(&mut manager, "select 1 from vreplication").await, format!("{prefix}invalid database name: "));
    assert_eq!(
        refused(&mut manager, "select nosuch from _vt.vreplication").await,
        format!(
            "{prefix}Unknown column 'nosuch' in 'field list' (errno 1054) (sqlstate 42S22) during query: \
             select nosuch from `_vt_2100`.vreplication"
        )
    );
    // the row changes though its stream cannot start
    let mut mounted = request("{}");
    mounted.workflow = "mounted".into();
    mounted.binlog_source[0].external_cluster = "gone".into();
    create(&mut manager, mounted).await;
    assert_eq!(
        refused(&mut manager, "update _vt.vreplication set state = 'Running' where workflow = 'mounted'").await,
        format!("{prefix}no vitess cluster found with name gone")
    );
    assert_eq!(read(&mut manager, "mounted").await.streams[0].state(), State::Running);

    let fetch = |sql: &str| data::ExecuteFetchAsDbaRequest { query: sql.into(), max_rows: 100, ..Default::default() };
    for table in [
        "copy_state(vrepl_id, table_name) values (1, 'customer')",
        "post_copy_action(vrepl_id, table_name, action) values (1, 'customer', '{}')",
    ] {
        manager.execute_fetch_as_dba(fetch(&format!("insert into _vt.{table}"))).await.unwrap();
    }
    let delete = "delete from _vt.vreplication where db_name = 'vt_customer_0' and workflow = 'import'";
    assert_eq!(exec(&mut manager, delete).await.rows_affected, 1);
    assert_eq!(exec(&mut manager, delete).await.rows_affected, 0);
    for table in ["copy_state", "post_copy_action"] {
        let rows =
            manager.execute_fetch_as_dba(fetch(&format!("select id from _vt.{table}"))).await.unwrap().into_inner();
        assert!(rows.result.unwrap().rows.is_empty());
    }
    let logs = exec(&mut manager, "select vrepl_id from _vt.vreplication_log where vrepl_id = 1").await;
    assert!(!logs.rows.is_empty());
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_and_queries_answer_as_stock() {
    let (cluster, mut manager) = target().await;
    let payload = manager.ping(data::PingRequest { payload: "payload".into() }).await.unwrap().into_inner().payload;
    assert_eq!(payload, "payload");
    apply_schema(&mut manager, &format!("{TABLE};\ncreate view v as select id from customer;\n")).await;
    let db_name = "vt_customer_0".to_owned();
    let fetch = |sql: &str| data::ExecuteFetchAsAllPrivsRequest {
        query: sql.into(),
        db_name: db_name.clone(),
        max_rows: 1,
        ..Default::default()
    };
    manager.execute_fetch_as_all_privs(fetch("insert into customer(name) values ('a'), (null)")).await.unwrap();
    let get = |tables: &[&str], include_views| data::GetSchemaRequest {
        tables: tables.iter().map(|name| (*name).to_owned()).collect(),
        include_views,
        ..Default::default()
    };
    let schema = manager.get_schema(get(&["/.*/"], true)).await.unwrap().into_inner().schema_definition.unwrap();
    assert!(schema.database_schema.contains("`{{.DatabaseName}}`"));
    let [customer, view] = schema.table_definitions.as_slice() else { panic!("{schema:?}") };
    assert_eq!((customer.name.as_str(), customer.r#type.as_str()), ("customer", "BASE TABLE"));
    assert_eq!((customer.columns.len(), customer.fields.len()), (2, 2));
    assert_eq!(customer.primary_key_columns, ["id"]);
    assert!(customer.schema.starts_with("CREATE TABLE `customer`") && !customer.schema.contains("AUTO_INCREMENT=3"));
    assert!(view.r#type == "VIEW" && view.schema.contains("`{{.DatabaseName}}`"), "{view:?}");
    let schema = manager.get_schema(get(&["nosuch"], false)).await.unwrap().into_inner().schema_definition.unwrap();
    assert!(schema.table_definitions.is_empty());

    let result =
        manager.execute_fetch_as_all_privs(fetch("select id, name from customer order by id desc limit 1")).await;
    let result = result.unwrap().into_inner().result.unwrap();
    assert_eq!(result.rows[0].lengths, [1, -1]);
    assert_eq!(result.fields[1].r#type(), vtmigrated_proto::query::Type::Varchar);
    let status = manager.execute_fetch_as_all_privs(fetch("select id from customer")).await.unwrap_err();
    assert_eq!(status.message(), "TabletManager.ExecuteFetchAsAllPrivs on zone1-0000002100: Row count exceeded 1");
    let status = manager.execute_fetch_as_all_privs(fetch("select 1 from `nosuch` limit 1")).await.unwrap_err();
    assert_eq!(
        status.message(),
        "TabletManager.ExecuteFetchAsAllPrivs on zone1-0000002100: Table 'vt_customer_0.nosuch' doesn't exist \
         (errno 1146) (sqlstate 42S02) during query: select 1 from `nosuch` limit 1"
    );
    let position = manager.primary_position(data::PrimaryPositionRequest {}).await.unwrap().into_inner().position;
    assert!(position.starts_with("MySQL56/"), "{position}");
    manager.wait_for_position(data::WaitForPositionRequest { position }).await.unwrap();
    let vdiff = data::VDiffRequest { action: "delete".into(), action_arg: "all".into(), ..Default::default() };
    manager.v_diff(vdiff).await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_tablet_answers_nobody_and_its_port_is_free() {
    let (cluster, mut manager) = target().await;
    let tablet = cluster.primary("customer", "-80").unwrap();
    let ping = || data::PingRequest { payload: "payload".into() };
    manager.ping(ping()).await.unwrap();
    tablet.kill().await;
    // the old connection is cut, and there is no new one
    for _ in 0..2 {
        manager.ping(ping()).await.unwrap_err();
    }
    tokio::net::TcpListener::bind(tablet.address()).await.unwrap();
}
