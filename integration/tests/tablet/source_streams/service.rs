//! The query service around the streams: health, statements, and what is left when a client leaves.

use std::time::Duration;

use tonic::Code;
use vtmigrated_proto::{
    query::{BoundQuery, ExecuteRequest, StreamHealthRequest, Target},
    topodata::TabletType,
};

use super::support::{PATIENCE, Source};

fn statement(sql: &str) -> ExecuteRequest {
    let target = Target {
        keyspace: "commerce".to_owned(),
        shard: "0".to_owned(),
        tablet_type: TabletType::Primary.into(),
        ..Target::default()
    };
    let query = BoundQuery { sql: sql.to_owned(), ..BoundQuery::default() };
    ExecuteRequest { target: Some(target), query: Some(query), ..ExecuteRequest::default() }
}

#[tokio::test]
async fn health_is_told_at_once_and_at_every_change() {
    let source = Source::start("select 1").await;
    let mut health = source.client.clone().stream_health(StreamHealthRequest {}).await.expect("a stream").into_inner();
    let first = health.message().await.expect("no error").expect("the present state");
    assert!(first.serving && first.realtime_stats.is_some());
    assert_eq!(first.tablet_alias, Some(source.shared.options.alias()));
    let target = first.target.expect("a target");
    assert_eq!((target.keyspace.as_str(), target.shard.as_str()), ("commerce", "0"));
    assert_eq!(target.tablet_type(), TabletType::Primary);
    source.shared.set_state(|state| state.serving = false);
    while health.message().await.expect("no error").expect("the new state").serving {}
    source.shared.shutdown.cancel();
    let end = loop {
        if let Err(status) = health.message().await {
            break status;
        }
    };
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "tabletserver is shutdown"));
}

#[tokio::test]
async fn statements_run_unless_they_name_a_denied_table() {
    let source =
        Source::start("create table t (id int auto_increment primary key, v text); create table u (id int)").await;
    let mut client = source.client.clone();
    let result = client.execute(statement("insert into t (v) values ('a'), (null)")).await.expect("an insert");
    let result = result.into_inner().result.expect("a result");
    assert_eq!((result.rows_affected, result.insert_id), (2, 1));
    let result = client.execute(statement("select id, v from t order by id")).await.expect("a select").into_inner();
    let result = result.result.expect("a result");
    assert_eq!(result.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["id", "v"]);
    assert_eq!(
        (result.rows[0].values.as_slice(), result.rows[1].lengths.as_slice()),
        (b"1a".as_slice(), [1, -1].as_slice())
    );
    source.shared.set_denied(["t".to_owned()]);
    let denied = client.execute(statement("update t set v = 'b'")).await.expect_err("denied");
    let text = "disallowed due to rule: enforce denied tables";
    assert_eq!((denied.code(), denied.message()), (Code::FailedPrecondition, text));
    client.execute(statement("insert into u values (1)")).await.expect("another table");
    let failed = client.execute(statement("select * from nosuch")).await.expect_err("no such table");
    let text =
        "Table 'vt_commerce.nosuch' doesn't exist (errno 1146) (sqlstate 42S02) during query: select * from nosuch";
    assert_eq!((failed.code(), failed.message()), (Code::Unknown, text));
    let mut replica = statement("select 1");
    replica.target = replica.target.map(|target| Target { tablet_type: TabletType::Replica.into(), ..target });
    let wrong = client.execute(replica).await.expect_err("another type");
    assert_eq!(wrong.message(), "wrong tablet type: REPLICA, want: PRIMARY or []");
}

#[tokio::test]
async fn a_client_that_leaves_leaves_no_binlog_reader() {
    let source = Source::start("create table t (id int primary key)").await;
    let readers = async || {
        let sql = "select count(*) from information_schema.processlist where command like 'Binlog Dump%'";
        source.mysql.rows("", sql).await.expect("the processes")[0].get::<u64, _>(0).expect("a number")
    };
    let until = async |wanted: u64| {
        let waiting = async {
            while readers().await != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the readers settle");
    };
    let position = source.position().await;
    let rule = [("t", "select * from t")];
    let first = source.events(&position, &rule).await.expect("a stream");
    let mut second = source.events(&position, &rule).await.expect("a stream");
    until(2).await;
    drop(first);
    until(1).await;
    source.run("insert into t values (1)").await;
    assert_eq!(second.next().await.expect("the other one goes on").len(), 5);
    drop(second);
    until(0).await;
}
