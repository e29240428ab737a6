use vtmigrated_proto::vschema::{Table, Vindex as Definition, keyspace, srv_v_schema};

use super::*;

fn id(vindex: Vindex, value: &str) -> String {
    let signed = value.starts_with('-');
    let id = vindex.keyspace_id(Some(value.as_bytes()), signed).expect("no error");
    id.map_or("none".to_owned(), |id| id.iter().map(|b| format!("{b:02x}")).collect())
}

#[test]
fn ids_are_those_of_vitess() {
    use Vindex::*;
    let cases = [
        (Hash, "0", "8ca64de9c1b123a7"),
        (Hash, "1", "166b40b44aba4bd6"),
        (Hash, "4", "d2fd8867d50d2dfe"),
        (Hash, "-1", "355550b2150e2451"),
        (Hash, "18446744073709551615", "355550b2150e2451"),
        (Hash, "9223372036854775807", "f77d48aadda1f1bb"),
        (Hash, "-9223372036854775808", "95f8a5e5dd31d900"),
        (Hash, "a", "none"),
        (XxHash, "", "99e9d85137db46ef"),
        (XxHash, "test1", "d01ab7e4d6978f0b"),
        (XxHash, "testaverylongvaluetomakesurethisworks", "81d8c38e0d850e6a"),
        (XxHash, "-1", "d8e2a6a7c8c7623d"),
        (Binary, "abc", "616263"),
        (BinaryMd5, "test1", "5a105e8b9d40e1329780d62ea2265d8a"),
        (BinaryMd5, "TEST", "033bd94b1168d7e4f0d644c3c95e35bf"),
        (Numeric, "8", "0000000000000008"),
        (Numeric, "1.1", "none"),
        (Numeric, "-1", "none"),
        (ReverseBits, "5", "a000000000000000"),
        (ReverseBits, "6", "6000000000000000"),
        (Null, "x", "00"),
        (UnicodeLooseMd5, "Test", "0b5edbb401fd7524393690491d64f1f5"),
        (UnicodeLooseMd5, "TEST ", "0b5edbb401fd7524393690491d64f1f5"),
        (UnicodeLooseMd5, "Tést", "0b5edbb401fd7524393690491d64f1f5"),
        (UnicodeLooseMd5, "Te\u{301}st", "0b5edbb401fd7524393690491d64f1f5"),
        (UnicodeLooseMd5, "Bést", "c2b2332e4f73d00741026249706f2fb6"),
        (UnicodeLooseMd5, " Test", "a2e3515c7e8df1ffd2ccfc11c6b19dd1"),
        (UnicodeLooseMd5, "Test\t", "82456dd87a9c7a02b1c2056b5abaa272"),
        (UnicodeLooseMd5, "TéstLooong", "9683e12b80430cd453f5dfdfba81c9a5"),
        (UnicodeLooseXxHash, "Tést", "42d21361087a4c07"),
        (UnicodeLooseXxHash, "TéstLooong", "d3ea873942b484a7"),
        (UnicodeLooseXxHash, "T", "f81c3be2d501fe18"),
    ];
    for (vindex, value, want) in cases {
        assert_eq!(id(vindex, value), want, "{vindex:?} of {value:?}");
    }
}

#[test]
fn null_has_an_id_only_where_text_is_hashed() {
    let null = |vindex: Vindex| vindex.keyspace_id(None, false).expect("no error").map(|id| id.len());
    assert_eq!([Vindex::Hash, Vindex::Numeric, Vindex::ReverseBits].map(null), [None; 3]);
    assert_eq!(null(Vindex::Binary), Some(0));
    assert_eq!(null(Vindex::XxHash), Some(8));
    assert_eq!(null(Vindex::BinaryMd5), Some(16));
}

#[test]
fn characters_without_a_known_weight_are_refused() {
    let error = Vindex::UnicodeLooseMd5.keyspace_id(Some("日".as_bytes()), false).expect_err("no weight");
    assert_eq!(error.to_string(), "UnicodeLooseMD5.Map: the weight of U+65E5 is not known to this tablet");
    assert!(Vindex::UnicodeLooseXxHash.keyspace_id(Some(&[0xff]), false).is_err());
}

#[test]
fn ranges_hold_ids_by_bytes_without_trailing_zeros() {
    let holds = |range: &str, id: &[u8]| KeyRange::parse(range).expect(range).contains(id);
    assert!(holds("-", &[]) && holds("0", &[0xff]) && holds("-80", &[]));
    assert!(holds("-80", &[0x7f, 0xff]) && !holds("-80", &[0x80]) && !holds("-80", &[0x80, 0]));
    assert!(holds("8000-", &[0x80]) && holds("80-c0", &[0x80, 1]) && !holds("80-c0", &[0xc0]));
    assert_eq!(KeyRange::parse("8"), Err(Error::NoRange("8".to_owned())));
    assert_eq!(KeyRange::parse("8-"), Err(Error::NoRange("8-".to_owned())));
    assert_eq!(KeyRange::parse("80-40"), Err(Error::RangeOrder("80-40".to_owned())));
}

#[test]
fn vindexes_are_found_by_keyspace_by_name_or_by_type() {
    let keyspace = |name: &str, vindexes: &[(&str, &str)]| srv_v_schema::KeyspacesEntry {
        key: name.to_owned(),
        value: Some(Keyspace {
            vindexes: vindexes
                .iter()
                .map(|(name, kind)| keyspace::VindexesEntry {
                    key: (*name).to_owned(),
                    value: Some(Definition { r#type: (*kind).to_owned(), ..Definition::default() }),
                })
                .collect(),
            tables: vec![keyspace::TablesEntry {
                key: "t".to_owned(),
                value: Some(Table {
                    column_vindexes: vec![ColumnVindex {
                        column: "id".to_owned(),
                        name: "h".to_owned(),
                        columns: vec![],
                    }],
                    ..Table::default()
                }),
            }],
            ..Keyspace::default()
        }),
    };
    let vschema = SrvVSchema {
        keyspaces: vec![
            keyspace("a", &[("h", "hash"), ("both", "hash"), ("l", "lookup")]),
            keyspace("b", &[("both", "hash")]),
        ],
        ..SrvVSchema::default()
    };
    assert_eq!(find(&vschema, "a.h"), Ok(Vindex::Hash));
    assert_eq!(find(&vschema, "b.h").expect_err("not in b").to_string(), "vindex b.h not found");
    assert_eq!(find(&vschema, "h"), Ok(Vindex::Hash));
    assert_eq!(find(&vschema, "both").expect_err("twice").to_string(), "ambiguous vindex reference: both");
    assert_eq!(find(&vschema, "xxhash"), Ok(Vindex::XxHash));
    let lookup = find(&vschema, "a.l").expect_err("not unique").to_string();
    assert_eq!(lookup, "vindex must be Unique to be used for VReplication: a.l");
    assert_eq!(of_table(&vschema, "a", "t"), Ok((vec!["id".to_owned()], Vindex::Hash)));
    assert_eq!(of_table(&vschema, "c", "t").expect_err("no keyspace").to_string(), "keyspace c not found in vschema");
    assert_eq!(of_table(&vschema, "a", "u").expect_err("no table").to_string(), "table u not found");
}
