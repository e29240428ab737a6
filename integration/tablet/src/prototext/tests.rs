use vtmigrated_proto::{
    binlogdata::{Filter, OnDdlAction, Rule},
    query::{Field, Row, Type},
};

use super::*;

fn rule(table: &str, filter: &str) -> Rule {
    Rule { r#match: table.into(), filter: filter.into(), ..Rule::default() }
}

#[test]
fn source_is_written_as_stock_writes_it() {
    let source = BinlogSource {
        keyspace: "commerce".into(),
        shard: "0".into(),
        filter: Some(Filter {
            rules: vec![rule("corder", "select * from corder"), rule("customer", "select * from customer")],
            ..Filter::default()
        }),
        on_ddl: OnDdlAction::Exec.into(),
        stop_after_copy: true,
        external_cluster: "ext1".into(),
        ..BinlogSource::default()
    };
    let text = encode(&source).unwrap();
    assert_eq!(
        text,
        r#"keyspace:"commerce" shard:"0" filter:{rules:{match:"corder" filter:"select * from corder"} rules:{match:"customer" filter:"select * from customer"}} on_ddl:EXEC stop_after_copy:true external_cluster:"ext1""#
    );
    assert_eq!(decode::<BinlogSource>(text.as_bytes()).unwrap(), source);
}

#[test]
fn both_spellings_of_nested_messages_are_read() {
    let spaced = r#"keyspace:"c"  shard:"0" filter { rules { match: "a, b {" filter:"select * from `a`" } }"#;
    let source: BinlogSource = decode(spaced.as_bytes()).unwrap();
    assert_eq!(source.filter.clone().unwrap().rules[0].r#match, "a, b {");
    assert_eq!(decode::<BinlogSource>(encode(&source).unwrap().as_bytes()).unwrap(), source);
}

#[test]
fn last_keys_survive_with_their_bytes() {
    let result = QueryResult {
        fields: vec![Field {
            name: "id".into(),
            r#type: Type::Int64.into(),
            charset: 63,
            flags: 49667,
            ..Field::default()
        }],
        rows: vec![Row { lengths: vec![1, -1, 3], values: b"8\x00\xff\"".to_vec() }],
        ..QueryResult::default()
    };
    let text = encode(&result).unwrap();
    assert!(
        text.starts_with(
            r#"fields:{name:"id" type:INT64 charset:63 flags:49667} rows:{lengths:1 lengths:-1 lengths:3"#
        ),
        "{text}"
    );
    assert_eq!(decode::<QueryResult>(text.as_bytes()).unwrap(), result);
}

#[test]
fn nonsense_is_refused() {
    assert!(decode::<BinlogSource>(b"keyspace=commerce").is_err());
    assert!(decode::<BinlogSource>(b"nosuchfield:1").is_err());
}
