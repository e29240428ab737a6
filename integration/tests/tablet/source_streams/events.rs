//! Event streams: what follows what, positions, filters, schema changes.

use integration_tablet::GtidSet;
use tonic::Code;
use vtmigrated_proto::binlogdata::VEventType::{Begin, Commit, Ddl, Field, Gtid, Heartbeat, Other, Row};

use super::support::{Source, changes, kinds, texts};

const ALL: [(&str, &str); 1] = [("/.*/", "")];

#[tokio::test]
async fn transactions_come_whole_and_with_all_gtids() {
    let source = Source::start(
        "create table t (id int primary key, v varchar(10)); create table u (id int primary key);\
         create database other; create table other.t (id int primary key)",
    )
    .await;
    let start = source.position().await;
    let mut events = source.events(&start, &[("t", "select * from t")]).await.expect("a stream");
    source
        .run("begin; insert into t values (1, 'a'); insert into t values (2, null); update t set v = 'b'; commit")
        .await;
    let response = events.next().await.expect("a transaction");
    assert_eq!(kinds(&response), [Begin, Field, Row, Row, Row, Gtid, Commit]);
    assert_eq!(changes(&response).len(), 4, "two inserts and two updates");
    assert_eq!(response[5].gtid, source.position().await, "the set, not the one GTID");
    let first = response[0].clone();
    assert!(
        response.iter().all(|e| e.keyspace == "commerce" && e.shard == "0" && e.timestamp > 0 && e.current_time > 0)
    );
    let field = response[1].field_event.as_ref().expect("fields");
    assert_eq!((field.table_name.as_str(), field.fields.len(), field.enum_set_string_values), ("t", 2, false));
    assert!(first.timestamp <= first.current_time / 1_000_000_000);
    source.run("insert into t values (3, 'c')").await;
    assert_eq!(kinds(&events.next().await.expect("more")), [Begin, Row, Gtid, Commit], "fields are told once");
    source.run("insert into u values (1)").await;
    assert_eq!(kinds(&events.next().await.expect("no rule")), [Begin, Gtid, Commit]);
    source.run("insert into other.t values (1)").await;
    assert_eq!(kinds(&events.next().await.expect("another database")), [Begin, Gtid, Commit]);
    source.run("alter table t add column w int").await;
    let response = events.next().await.expect("a schema change");
    assert_eq!(kinds(&response), [Gtid, Ddl]);
    assert_eq!(response[1].statement, "alter table t add column w int");
    source.run("create table v (id int)").await;
    assert_eq!(kinds(&events.next().await.expect("no rule")), [Gtid, Other]);
    source.run("set foreign_key_checks = 0; insert into t values (4, 'd', 5)").await;
    let response = events.next().await.expect("a row of the new table");
    assert_eq!(kinds(&response), [Begin, Field, Row, Gtid, Commit]);
    assert_eq!(texts(changes(&response)[0].1.as_ref().expect("after")), ["4", "d", "5"]);
    assert_eq!(response[2].row_event.as_ref().expect("rows").flags & 2, 2, "foreign keys were not checked");
    source.run("create database more").await;
    assert_eq!(kinds(&events.next().await.expect("a database")), [Gtid, Other]);
    assert_eq!(kinds(&events.any().await.expect("a heartbeat")), [Heartbeat]);
}

#[tokio::test]
async fn rows_move_between_key_ranges() {
    let source = Source::start("create table t (id int primary key, k bigint, v int)").await;
    let start = source.position().await;
    // 1 and 2 are in -80, 4 and 6 are not.
    source.run("insert into t values (1, 1, 0), (2, 4, 0); update t set v = 1; update t set k = 4 where id = 1").await;
    source.run("update t set k = 2 where id = 2; delete from t where id = 1; delete from t where id = 2").await;
    let rule = [("t", "select id, k from t where in_keyrange(k, 'commerce.hash', '-80')")];
    let mut events = source.events(&start, &rule).await.expect("a stream");
    let mut told = Vec::new();
    for _ in 0..6 {
        for (before, after) in changes(&events.next().await.expect("a transaction")) {
            let text = |row: Option<_>| row.as_ref().map_or("-".to_owned(), |row| texts(row).join(","));
            told.push(format!("{} > {}", text(before), text(after)));
        }
    }
    assert_eq!(told, ["- > 1,1", "1,1 > 1,1", "1,1 > -", "- > 2,2", "2,2 > -"]);
    source.run("insert into t values (3, null, 0)").await;
    let broken = events.broken().await;
    assert_eq!(broken.code(), Code::Unknown);
    let position = source.position().await.replace("MySQL56/", "");
    assert_eq!(
        broken.message(),
        format!(
            "stream (at source tablet) error @ {position}: could not map [NULL] to a keyspace id, got destination \
             DestinationNone()\nfailed to extract row's after values from binlog event and apply filters"
        )
    );
}

#[tokio::test]
async fn positions_decide_where_a_stream_starts() {
    let source = Source::start("create table t (id int primary key)").await;
    source.run("insert into t values (1)").await;
    let mut events = source.events("current", &ALL).await.expect("a stream");
    let response = events.next().await.expect("the position");
    assert_eq!(kinds(&response), [Gtid, Other]);
    assert_eq!(response[0].gtid, source.position().await);
    source.run("insert into t values (2)").await;
    let response = events.next().await.expect("a row");
    assert_eq!(texts(changes(&response)[0].1.as_ref().expect("after")), ["2"]);
    let mut again = source.events(&response.last().expect("events").gtid, &ALL).await.expect("a stream");
    assert_eq!(again.broken().await.message(), "stream needs a position or a table to copy");
    let refused = async |position: &str| {
        let status = source.events(position, &ALL).await.expect("a stream").broken().await;
        (status.code(), status.message().to_owned())
    };
    let text = "could not decode position: parse error: unknown GTIDSet flavor \"\"".to_owned();
    assert_eq!(refused("nonsense").await, (Code::Internal, text));
    let executed = source.position().await;
    let ahead = GtidSet::parse(&format!("{executed},00000000-0000-0000-0000-000000000001:1-3")).expect("a position");
    let text = format!(
        "GTIDSet Mismatch: requested source position:{}, current target vrep position: {executed}",
        ahead.position()
    );
    assert_eq!(refused(&ahead.position()).await, (Code::InvalidArgument, text));
}

#[tokio::test]
async fn a_partial_row_image_breaks_the_stream() {
    let source =
        Source::start("create table t (id int primary key, a text, b int); insert into t values (1, 'a', 1)").await;
    let start = source.position().await;
    let mut events = source.events(&start, &ALL).await.expect("a stream");
    source.run("set binlog_row_image = 'minimal'; update t set b = 2").await;
    let broken = events.broken().await;
    let text = "partial row image encountered: ensure binlog_row_image is set to 'full'";
    assert!(broken.message().ends_with(text), "{}", broken.message());
}
