//! Every kind of column: the copy and the binlog must tell the same text.

use vtmigrated_proto::{binlogdata::VEventType, query::Type};

use super::support::{Cells, Source, changes, kinds, texts};

const TABLE: &str = "create table kinds (
  id int not null primary key,
  i8 tinyint, u8 tinyint unsigned, i16 smallint, u16 smallint unsigned, i24 mediumint, u24 mediumint unsigned,
  i32 int, u32 int unsigned, i64 bigint, u64 bigint unsigned, z int(6) unsigned zerofill,
  d1 decimal(12,3), d2 decimal(30,0), d3 decimal(5,5), d4 decimal(65,30),
  f float, g double,
  b1 bit(1), b9 bit(9), b64 bit(64),
  c char(5), cl char(200), bin binary(4), vb varbinary(300), vc varchar(300), vl varchar(20) character set latin1,
  cb char(4) collate utf8mb4_bin,
  t tinytext, m mediumtext, bl blob, lb longblob,
  j json,
  dt date, t0 time, t6 time(6), t2 time(2), ts timestamp null, ts3 timestamp(3) null, ts6 timestamp(6) null,
  d0 datetime, dt1 datetime(1), d6 datetime(6), y year,
  e enum('a','b,c','it''s'), s set('x','y','z'),
  geo geometry,
  gv int as (i32 + 1) virtual, gs varchar(20) as (concat(c, '!')) stored
) default charset utf8mb4";

const COLUMNS: &str = "id, i8, u8, i16, u16, i24, u24, i32, u32, i64, u64, z, d1, d2, d3, d4, f, g, b1, b9, b64, c, cl, \
    bin, vb, vc, vl, cb, t, m, bl, lb, j, dt, t0, t6, t2, ts, ts3, ts6, d0, dt1, d6, y, e, s, geo";

const ROWS: [&str; 5] = [
    "1, -128, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, \
     18446744073709551615, 42, -1.5, 123456789012345678901234567890, 0.00001, -12345678901234567890.000000000000000000000000000001, \
     1.5, -2.25e-300, b'1', b'100000001', b'1000000000000000000000000000000000000000000000000000000000000001', \
     'ab ', 'x', 'a', x'00ff275c0a', 'it''s \\\\ \\n \\\"ü\\\" 😀', 'ü', 'aB', 'tiny', 'medium', x'0001', x'ff00', \
     '{\"b\": [1, 2.5, -3, 18446744073709551615, true, null, \"ü\\\\\"\\\\n\"], \"aa\": {}, \"a\": {\"x\": []}}', \
     '2024-02-29', '-838:59:59', '-00:00:00.000001', '12:34:56.78', '1970-01-01 00:00:01', '2001-09-09 01:46:40.123', \
     '2038-01-19 03:14:07.999999', '9999-12-31 23:59:59', '1000-01-01 00:00:00.5', '2024-01-02 03:04:05.000006', 2155, \
     'b,c', 'x,z', st_geomfromtext('point(1 2)')",
    "2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'0', 0, 0, '', '', '', '', '', '', '', '', '', '', '', '[]', \
     '0000-00-00', '00:00:00', 0, 0, '0000-00-00 00:00:00', 0, 0, '0000-00-00 00:00:00', 0, '2024-00-00', 0, '', '', null",
    "3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, \
     null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, \
     null, null, null, null, null, null, null",
    "4, -1, 128, -1, 32768, -1, 8388608, -1, 2147483648, -1, 9223372036854775808, 1234567, 999999999.999, -1, -0.99999, \
     0.1, 3.4e38, 1.7976931348623157e308, null, 255, 255, 'äöü', repeat('y', 200), x'0a000000', repeat('v', 300), \
     repeat('ü', 300), 'abc', 'A', 't', repeat('m', 70000), repeat('b', 300), repeat('l', 70000), \
     cast('{\"d\": 1}' as json), '0001-01-01', '838:59:59', '-23:59:59.999999', '10:00:00.01', '2024-03-31 01:30:00', \
     '2024-10-27 01:30:00.5', '2000-01-01 00:00:00', '0001-01-01 00:00:00', '2024-01-01 00:00:00.9', \
     '1999-12-31 23:59:59.999999', 1901, 'it''s', 'y', st_geomfromtext('linestring(0 0, 1 1)')",
    "5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100000000, 1, 0.5, 1e20, 16777216, 0.1, b'1', 1, 1, 'a\\0b', '\\'', x'00', x'00', \
     '', '', 'a ', ' ', ' ', ' ', ' ', json_object('when', timestamp '2024-01-02 03:04:05.6', 'day', date '2024-01-02', \
     'dec', 1.50, 'bits', b'101', 'list', json_array('a', 1e100, -0.1), 'time', time '01:02:03'), \
     '2000-01-01', '-100:00:00', '00:00:01', '-01:00:00', '2000-01-01 00:00:00', null, null, '2000-01-01 12:00:00', null, \
     null, 2000, 'a', 'x,y,z', st_geomfromtext('point(0 0)', 4326)",
];

/// The text of a column as both streams must tell it; numbers with a floating point by value.
fn comparable(kind: Type, cell: &Option<Vec<u8>>) -> String {
    let Some(bytes) = cell else { return "NULL".to_owned() };
    let text = String::from_utf8_lossy(bytes).into_owned();
    match kind {
        // MySQL prints six digits of a float; the binlog has all of it.
        Type::Float32 => format!("{:.5e}", text.parse::<f64>().expect("a number")),
        Type::Float64 => format!("{:e}", text.parse::<f64>().expect("a number")),
        Type::Json => text,
        _ => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn by_id(mut rows: Vec<Cells>) -> Vec<Cells> {
    rows.sort_by_key(|row| texts(row)[0].parse::<i64>().expect("an id"));
    rows
}

async fn assert_same(source: &Source, told: Vec<Cells>) {
    let copied = source.copy("select * from kinds", None).await.expect("a copy");
    assert_eq!(copied.rows.len(), told.len());
    for (copied_row, told_row) in copied.rows.iter().zip(by_id(told)) {
        assert_eq!(copied_row.len(), told_row.len());
        for (n, field) in copied.fields.iter().enumerate() {
            let kind = field.r#type();
            let (copied, told) = (comparable(kind, &copied_row[n]), comparable(kind, &told_row[n]));
            assert_eq!(told, copied, "column {} of row {}", field.name, texts(copied_row)[0]);
        }
    }
}

#[tokio::test]
async fn copy_and_binlog_tell_the_same_text() {
    let source = Source::start(&format!("set sql_mode = ''; {TABLE}")).await;
    let start = source.position().await;
    for row in ROWS {
        source
            .run(&format!("set sql_mode = '', time_zone = '+00:00'; insert into kinds ({COLUMNS}) values ({row})"))
            .await;
    }
    let mut events = source.events(&start, &[("/.*/", "")]).await.expect("a stream");
    let mut told = Vec::new();
    while told.len() < ROWS.len() {
        told.extend(changes(&events.next().await.expect("events")).into_iter().filter_map(|(_, after)| after));
    }
    assert_same(&source, told.clone()).await;
    source.run("update kinds set id = id + 10, i8 = 7, c = 'new', t = null, j = json_set(j, '$.n', 1)").await;
    let (mut updated, mut ended) = (Vec::new(), false);
    while !ended {
        let part = events.next().await.expect("an update");
        ended = kinds(&part).contains(&VEventType::Commit);
        updated.extend(changes(&part));
    }
    let (before, after): (Vec<_>, Vec<_>) = updated.into_iter().unzip();
    assert!(by_id(before.into_iter().flatten().collect()) == by_id(told), "images before are those of the inserts");
    assert_same(&source, after.into_iter().flatten().collect()).await;
    source.run("delete from kinds where id = 11").await;
    let deleted = changes(&events.next().await.expect("a delete"));
    assert!(matches!(deleted.as_slice(), [(Some(row), None)] if texts(row)[0] == "11"));
}

#[tokio::test]
async fn fields_are_described_as_vitess_does() {
    let source = Source::start(
        "create table customer (customer_id bigint not null auto_increment primary key, name varchar(10), \
         note text character set latin1, data blob, kind enum('a','b') not null, longer varchar(11) as (concat(name, 1)))",
    )
    .await;
    let copied = source.copy("select * from customer", None).await.expect("a copy");
    assert_eq!((copied.rows.len(), copied.packets), (0, 0), "packet 0 is all of an empty table");
    let id = &copied.fields[0];
    assert_eq!((id.r#type(), id.charset, id.flags, id.column_length), (Type::Int64, 63, 49667, 20));
    assert_eq!(
        (id.table.as_str(), id.database.as_str(), id.column_type.as_str()),
        ("customer", "vt_commerce", "bigint(20)")
    );
    assert_eq!((id.org_table.as_str(), id.org_name.as_str()), ("customer", "customer_id"));
    let name = &copied.fields[1];
    assert_eq!((name.r#type(), name.charset, name.column_type.as_str()), (Type::Varchar, 255, "varchar(10)"));
    let kinds: Vec<Type> = copied.fields[2..].iter().map(|field| field.r#type()).collect();
    assert_eq!(kinds, [Type::Text, Type::Blob, Type::Enum, Type::Varchar]);
    assert_eq!(copied.fields[2].charset, 8, "latin1_swedish_ci");
    let [key] = copied.pkfields.as_slice() else { panic!("one key column") };
    assert_eq!((key.name.as_str(), key.r#type(), key.charset, key.flags), ("customer_id", Type::Int64, 63, 49667));
    assert!(key.table.is_empty() && key.column_type.is_empty(), "key fields are short");
}
