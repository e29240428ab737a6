//! The vreplication engine of the target tablet against a source tablet and two real MySQL servers.

use std::{collections::BTreeMap, time::Duration};

use crate::pair::{self, Pair, apply_schema, create, set_state, sidecar, until, update, workflow};
use integration::client::TabletManager;
use vtmigrated_proto::{binlogdata::VReplicationWorkflowState as State, tabletmanagerdata as data};

const SHARDS: [&str; 2] = ["-80", "80-"];
const CUSTOMER: &str = "create table customer (id bigint not null, shard_key bigint not null, name varchar(64), \
                        doc json, note varchar(1000), price decimal(10,2), at datetime(3), \
                        name_length int generated always as (char_length(name)) stored, bits bit(9), code binary(6), \
                        primary key (id), key name_idx (name), unique key both_idx (shard_key, id))";
const ORDERS: &str = "create table corder (sku varchar(20) not null, no int not null, shard_key bigint not null, \
                      kind enum('z','a','m'), primary key (sku, no))";
const KEYLESS: &str = "create table event (shard_key bigint not null, word varchar(20), number int)";
const RULES: [(&str, &str); 3] = [("customer", "shard_key"), ("corder", "shard_key"), ("event", "shard_key")];
const NUMBERS: &str =
    "(with recursive n as (select 1 as i union all select i + 1 from n where i < 10000) select i from n)";

async fn fill(pair: &Pair) {
    for statement in [CUSTOMER, ORDERS, KEYLESS] {
        pair.on_source(statement).await;
    }
    pair.on_source(&format!(
        "set session cte_max_recursion_depth = 20000; \
         insert into customer(id, shard_key, name, doc, note, price, at, bits, code) \
         select i, i * 7, if(i % 10 = 0, null, concat('Näme \\'', i)), json_object('i', i, 'text', concat('ü\\n', i)), \
         repeat(char(65 + i % 26), 900), i / 4, '2026-01-02 03:04:05.678', i % 512, concat('c', i) from {NUMBERS} as n; \
         insert into corder select concat('SKU-', i % 97), i, i, elt(1 + i % 3, 'z', 'a', 'm') from {NUMBERS} as n; \
         insert into event select i % 50, if(i % 7 = 0, null, 'same'), i % 5 from {NUMBERS} as n where i <= 500"
    ))
    .await;
}

/// Changes of all kinds for a while; the last is an UPDATE that moves rows between shards, and back again for some.
async fn disturb(pair: &Pair, round: i64) {
    let first = 20_000 + round * 100;
    for id in first..first + 20 {
        pair.on_source(&format!(
            "begin; insert into customer(id, shard_key, name, doc) values ({id}, {id}, 'new', '[1.5, null]'); \
             update customer set name = concat('changed ', id), price = null where id = {}; \
             delete from customer where id = {}; \
             insert into corder values ('AAA', {id}, {id}, 'm'), ('ZZZ', {id}, {id}, 'a'); \
             update corder set no = no + 1000000 where sku = 'SKU-5' and no = {}; commit",
            (id * 31) % 10_000,
            (id * 17) % 10_000,
            (id * 13) % 10_000,
        ))
        .await;
    }
    pair.on_source(&format!("update customer set shard_key = shard_key + 1 where id % 50 = {}", round % 50)).await;
    pair.on_source("insert into event values (3, 'same', 1), (3, 'same', 1), (4, null, 1)").await;
    pair.on_source("delete from event where shard_key = 10 and number = 0 limit 1").await;
    pair.on_source("update event set word = 'moved', shard_key = shard_key + 1 where word is null limit 3").await;
}

async fn wait_for_source(pair: &Pair, managers: &mut BTreeMap<&str, TabletManager>) {
    let position = pair.source_position().await;
    for (shard, manager) in managers {
        let ids: Vec<i32> =
            pair.query(shard, &format!("select id from {}.vreplication", sidecar(&pair.target, shard))).await;
        until("a position after the copy", || async { pair.stream(shard).await.0 == "Running" }).await;
        let request = data::VReplicationWaitForPosRequest { id: ids[0], position: position.clone() };
        manager.v_replication_wait_for_pos(request).await.unwrap();
    }
}

/// Every source row is on exactly one shard, and no other row is there.
async fn expect_same_rows(pair: &Pair) {
    for (table, _) in RULES {
        let source = pair.source.table("commerce", table).await.unwrap();
        let target = pair.target.table("customer", table).await.unwrap();
        source.expect_same(&target).unwrap();
        for shard in SHARDS {
            let count: Vec<u64> = pair.query(shard, &format!("select count(*) from {table}")).await;
            assert!(count[0] > 100, "{table} has {} rows on {shard}", count[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_survive_a_kill_amid_the_copy_and_rows_that_move() {
    let pair = Pair::start().await;
    fill(&pair).await;
    let mut managers = BTreeMap::new();
    for shard in SHARDS {
        let mut manager = pair.primary(shard).manager().await.unwrap();
        apply_schema(&mut manager, &[CUSTOMER, ORDERS, KEYLESS].join(";\n")).await;
        let mut request = workflow(shard, &RULES);
        request.defer_secondary_keys = true;
        assert_eq!(create(&mut manager, request).await.rows_affected, 1);
        assert_eq!(update(&mut manager, set_state(State::Running)).await.unwrap().rows_affected, 1);
        managers.insert(shard, manager);
    }
    let copied = format!(
        "select count(*) from {}.copy_state where table_name = 'customer' and lastpk is not null",
        sidecar(&pair.target, "-80")
    );
    until("a part of customer copied", || async { pair.query::<u64>("-80", &copied).await[0] > 0 }).await;
    pair.primary("-80").kill().await;
    let rows: Vec<u64> = pair.query("-80", "select count(*) from customer").await;
    assert!((1..4_800).contains(&rows[0]), "{} rows", rows[0]);
    println!("killed after {} rows", rows[0]);
    disturb(&pair, 0).await;
    for pause in [150, 300, 450, 600] {
        pair.primary("-80").restart().await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        pair.primary("-80").kill().await;
    }
    pair.primary("-80").restart().await.unwrap();
    for round in 1..4 {
        disturb(&pair, round).await;
    }
    wait_for_source(&pair, &mut managers).await;
    expect_same_rows(&pair).await;

    pair.primary("80-").kill().await;
    disturb(&pair, 4).await;
    pair.primary("80-").restart().await.unwrap();
    disturb(&pair, 5).await;
    wait_for_source(&pair, &mut managers).await;
    expect_same_rows(&pair).await;
    expect_history(&pair).await;
    pair.finish().await;
}

/// The keys are back, nothing is left of the copy, and the log tells it in stock's words.
async fn expect_history(pair: &Pair) {
    for shard in SHARDS {
        let name = sidecar(&pair.target, shard);
        let create: Vec<(String, String)> = pair.query(shard, "show create table customer").await;
        assert!(
            create[0].1.contains("KEY `name_idx` (`name`)") && create[0].1.contains("UNIQUE KEY `both_idx`"),
            "{create:?}"
        );
        for table in ["copy_state", "post_copy_action"] {
            assert_eq!(pair.query::<u64>(shard, &format!("select count(*) from {name}.{table}")).await, [0]);
        }
        let log: Vec<(String, String, String)> =
            pair.query(shard, &format!("select type, state, message from {name}.vreplication_log order by id")).await;
        let has = |kind: &str, state: &str, message: &str| {
            log.iter().any(|row| row.0 == kind && row.1 == state && row.2.starts_with(message))
        };
        assert!(has("Stream Created", "Stopped", "{\"cell\":\"zone1\",\"component_throttled\":\"\","), "{log:?}");
        assert!(has("State Changed", "Running", ""), "{log:?}");
        assert!(has("Started Copy Phase", "Copying", "Copy phase started for 3 table(s)"), "{log:?}");
        assert!(
            has(
                "Started Copy Phase",
                "Copying",
                "Copy phase finished dropping secondary keys and saving post copy actions to restore them for 3 table(s)"
            ),
            "{log:?}"
        );
        assert!(has("Started Copy Phase", "Copying", "Executing 1 post copy action(s) for customer table"), "{log:?}");
        assert!(has("Ended Copy Phase", "Copying", "Copy phase completed at gtid "), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_stream_says_why_and_heals_or_ends() {
    let pair = Pair::start().await;
    for sql in [CUSTOMER, "insert into customer(id, shard_key) values (1, 1), (2, 4), (5, 5)"] {
        pair.on_source(sql).await;
    }
    pair.set_vindex(false).await;
    let mut manager = pair.primary("-80").manager().await.unwrap();
    apply_schema(&mut manager, CUSTOMER).await;
    create(&mut manager, workflow("-80", &RULES[..1])).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    update(&mut manager, set_state(State::Running)).await;
    until("the message of a missing vindex", || async {
        let (state, message) = pair.stream("-80").await;
        state == "Copying" && message == "vttablet: rpc error: code = Unknown desc = vindex commerce.hash not found"
    })
    .await;
    pair.set_vindex(true).await;
    until("a healed stream", || async { pair.stream("-80").await.0 == "Running" }).await;

    // a row that is in the way ends the stream for good
    pair.query::<u8>("-80", "insert into customer(id, shard_key) values (77, 1)").await;
    pair.on_source("insert into customer(id, shard_key) values (77, 1)").await;
    until("a terminal error", || async { pair.stream("-80").await.0 == "Error" }).await;
    let (_, message) = pair.stream("-80").await;
    assert!(message.starts_with("terminal error: error applying event"), "{message}");
    assert!(
        message.contains("Duplicate entry '77' for key 'PRIMARY' (errno 1062) (sqlstate 23000) during query: "),
        "{message}"
    );

    // and starts again when the row is gone
    pair.query::<u8>("-80", "delete from customer where id = 77").await;
    update(&mut manager, set_state(State::Running)).await;
    until("the row", || async { pair.query::<i64>("-80", "select id from customer where id = 77").await == [77] })
        .await;
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_source_tablet_reports_after_five_tries() {
    let pair = Pair::start().await;
    let mut manager = pair.primary("-80").manager().await.unwrap();
    apply_schema(&mut manager, CUSTOMER).await;
    let mut request = workflow("-80", &RULES[..1]);
    request.tablet_types = vec![3];
    create(&mut manager, request).await;
    update(&mut manager, set_state(State::Running)).await;
    until("the picker's message", || async {
        pair.stream("-80").await == ("Running".to_owned(), "Error picking tablet: context has expired".to_owned())
    })
    .await;
    let name = sidecar(&pair.target, "-80");
    let messages: Vec<u64> =
        pair.query("-80", &format!("select count(*) from {name}.vreplication_log where type = 'Message'")).await;
    assert_eq!(messages, [0]);
    pair.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_stops_or_passes_and_copies_may_end_the_stream() {
    let pair = Pair::start().await;
    for sql in [CUSTOMER, "insert into customer(id, shard_key) values (1, 1), (2, 4), (5, 5)"] {
        pair.on_source(sql).await;
    }
    let mut manager = pair.primary("-80").manager().await.unwrap();
    apply_schema(&mut manager, CUSTOMER).await;
    let mut request = workflow("-80", &RULES[..1]);
    request.binlog_source[0].stop_after_copy = true;
    request.binlog_source[0].on_ddl = 1;
    create(&mut manager, request).await;
    update(&mut manager, set_state(State::Running)).await;
    until("the end of the copy", || async {
        pair.stream("-80").await == ("Stopped".to_owned(), "Stopped after copy.".to_owned())
    })
    .await;
    let name = sidecar(&pair.target, "-80");
    pair::exec(
        &mut manager,
        &format!("update {name}.vreplication set source = replace(source, 'stop_after_copy:true', ''), state = 'Running', message = '' where id = 1"),
    )
    .await;
    until("a running stream", || async { pair.stream("-80").await.0 == "Running" }).await;
    pair.on_source("alter table customer add column extra int").await;
    until("a stop at the ddl", || async {
        pair.stream("-80").await
            == ("Stopped".to_owned(), "Stopped at DDL alter table customer add column extra int".to_owned())
    })
    .await;
    // EXEC runs the next one
    pair.query::<u8>("-80", "alter table customer add column extra int").await;
    let mut request = set_state(State::Running);
    request.on_ddl = Some(2);
    request.message = Some(String::new());
    update(&mut manager, request).await;
    until("a running stream", || async { pair.stream("-80").await.0 == "Running" }).await;
    pair.on_source(
        "alter table customer add column more int; insert into customer(id, shard_key, more) values (9, 1, 3)",
    )
    .await;
    until("the new column", || async {
        let columns =
            "select count(*) from information_schema.columns where table_schema = database() and column_name = 'more'";
        pair.query::<u64>("-80", columns).await == [1]
    })
    .await;
    until("the row", || async { pair.query::<i64>("-80", "select more from customer where id = 9").await == [3] })
        .await;
    pair.finish().await;
}
