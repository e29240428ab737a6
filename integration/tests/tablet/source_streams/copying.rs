//! Row streams: order, resuming, keys, filters, snapshots.

use integration_tablet::{GtidSet, value};
use tonic::Code;
use vtmigrated_proto::query::Row;

use super::support::{Copied, Source, texts};

fn row(values: &[Option<&str>]) -> Row {
    value::to_row(&values.iter().map(|v| v.map(|v| v.as_bytes().to_vec())).collect::<Vec<_>>())
}

fn column(copied: &Copied, n: usize) -> Vec<String> {
    copied.rows.iter().map(|row| texts(row)[n].clone()).collect()
}

#[tokio::test]
async fn a_copy_resumes_after_any_key() {
    let source = Source::start(
        "create table pair (a int, b varchar(10), v int, primary key (b, a)) default charset utf8mb4;\
         insert into pair values (1, 'a', 1), (2, 'B', 2), (1, 'B', 3), (1, 'c', 4), (1, 'Ö', 5);\
         create table word (w varchar(20) character set latin1 primary key);\
         insert into word values ('b'), ('A'), ('c'), ('ü'), ('Z');\
         create table ranked (e enum('z','a','m') primary key); insert into ranked values ('a'), ('m'), ('z');\
         create table raw (k varbinary(10) primary key); insert into raw values (x'00'), (x'27'), (x'5cff'), (x'ff');\
         create table nokey (a int, b varchar(10));\
         insert into nokey values (2, 'x'), (1, 'y'), (null, 'z'), (null, null), (1, null);\
         create table uni (p varchar(30) not null, q int not null, n int, unique key byname (p), unique key bynull (n), \
           unique key byq (q)); insert into uni values ('b', 2, null), ('a', 1, null);",
    )
    .await;
    for table in ["pair", "word", "ranked", "raw", "nokey", "uni"] {
        let query = format!("select * from {table}");
        let all = source.copy(&query, None).await.expect(table);
        let keys: Vec<usize> = all
            .pkfields
            .iter()
            .map(|key| all.fields.iter().position(|field| field.name == key.name).expect("a column"))
            .collect();
        for (n, last) in all.rows.iter().enumerate() {
            let lastpk = value::to_row(keys.iter().map(|&key| &last[key]));
            let rest = source.copy(&query, Some(lastpk)).await.expect(table);
            assert_eq!(rest.rows, all.rows[n + 1..], "{table} after {:?}", texts(last));
        }
        assert_eq!(all.lastpk.as_ref(), all.rows.last().map(|r| value::to_row(keys.iter().map(|&k| &r[k]))).as_ref());
    }
    let order = |copied: &Copied| column(copied, 0).join("");
    assert_eq!(order(&source.copy("select * from ranked", None).await.expect("a copy")), "zam");
    let unique = source.copy("select * from uni", None).await.expect("a copy");
    assert_eq!(
        unique.pkfields.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(),
        ["q"],
        "the cheapest unique key"
    );
    let wrong = source.copy("select * from pair", Some(row(&[Some("1")]))).await.expect_err("one of two values");
    assert_eq!(wrong.code(), Code::Unknown);
    assert!(wrong.message().starts_with("cannot build a row streamer plan for the pair table as a lastpk value was"));
}

#[tokio::test]
async fn a_copy_selects_rows_and_columns() {
    let source = Source::start(
        "create table customer (customer_id bigint primary key, email varchar(20));\
         insert into customer values (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five'), (6, 'six');\
         create table loose (id int primary key, k int); insert into loose values (1, 1), (2, null);",
    )
    .await;
    let copy = async |range: &str| {
        let query = format!("select * from customer where in_keyrange(customer_id, 'commerce.hash', '{range}')");
        source.copy(&query, None).await.expect("a copy")
    };
    let low = copy("-80").await;
    assert_eq!(column(&low, 0), ["1", "2", "3", "5"]);
    assert_eq!(low.lastpk, Some(row(&[Some("6")])), "the last row looked at, not the last one sent");
    assert_eq!(column(&copy("80-").await, 0), ["4", "6"]);
    let none = copy("00-01").await;
    assert_eq!((none.rows.len(), none.packets), (0, 0));
    let some = source.copy("select email from customer where customer_id > 4 order by customer_id asc", None).await;
    let some = some.expect("a copy");
    assert_eq!((column(&some, 0).join(" "), some.fields.len()), ("five six".to_owned(), 1));
    assert_eq!(some.pkfields[0].name, "customer_id");
    let refused = async |query: &str| {
        let status = source.copy(query, None).await.expect_err(query);
        (status.code(), status.message().to_owned())
    };
    let unknown = |text: &str| (Code::Unknown, text.to_owned());
    assert_eq!(refused("select * from nosuch").await, unknown("table nosuch not found in vttablet schema"));
    let query = "select * from customer where in_keyrange(customer_id, 'commerce.nosuch', '-80')";
    assert_eq!(refused(query).await, unknown("vindex commerce.nosuch not found"));
    let query = "select * from loose where in_keyrange(k, 'commerce.hash', '-80')";
    let text = "could not map [NULL] to a keyspace id, got destination DestinationNone()";
    assert_eq!(refused(query).await, unknown(text), "after packet 0");
}

#[tokio::test]
async fn large_tables_come_in_packets_of_one_snapshot() {
    let source = Source::start("create table big (id int primary key, v text)").await;
    let values: Vec<String> = (0..100).map(|id| format!("({id}, repeat('v', 20000))")).collect();
    source.run(&format!("insert into big values {}", values.join(","))).await;
    let before = source.position().await;
    let copied = source.copy("select * from big", None).await.expect("a copy");
    assert_eq!(copied.rows.len(), 100);
    assert_eq!(copied.packets, 8, "13 rows of 20,000 bytes each fill a packet");
    assert_eq!(copied.gtid, GtidSet::parse(&before).expect("a position").position());
}
