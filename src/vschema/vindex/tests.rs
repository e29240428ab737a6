use proptest::prelude::*;

use super::*;
use crate::vschema::tests::{keyspace, vindex};

fn refusal(type_name: &str, params: &[(&str, &str)]) -> String {
    check("v1", &vindex(type_name, params)).unwrap_err().to_string()
}

fn accepted(type_name: &str, params: &[(&str, &str)]) {
    assert_eq!(check("v1", &vindex(type_name, params)), Ok(()), "{type_name} {params:?}");
}

#[test]
fn the_catalogue_is_stocks() {
    assert_eq!(names().len(), 23);
    assert!(names().is_sorted());
    assert!(kind("Hash").is_none());
    let unique: Vec<&str> = names().into_iter().filter(|name| !kind(name).unwrap().unique).collect();
    let not_unique = ["consistent_lookup", "lookup", "lookup_cost", "lookup_hash", "lookup_unicodeloosemd5_hash"];
    assert_eq!(unique, not_unique);
    let multi: Vec<&str> = names().into_iter().filter(|name| kind(name).unwrap().multi_column).collect();
    assert_eq!(multi, ["multicol", "region_experimental", "region_json"]);
}

#[test]
fn costs_depend_on_params_for_two_types() {
    assert_eq!(cost(&vindex("lookup_cost", &[])), 5);
    assert_eq!(cost(&vindex("lookup_cost", &[("cost", "100")])), 100);
    assert_eq!(cost(&vindex("multicol", &[("column_count", "3"), ("column_vindex", "numeric, ,xxhash")])), 2);
    assert_eq!(cost(&vindex("lookup_unique", &[])), 10);
    assert_eq!(cost(&vindex("nosuch", &[])), 0);
}

#[test]
fn unknown_types_and_bad_booleans_are_refused() {
    assert_eq!(refusal("nosuch", &[]), "vindexType \"nosuch\" not found");
    assert_eq!(refusal("lookup", &[("autocommit", "yes")]), "autocommit value must be 'true' or 'false': 'yes'");
    assert_eq!(refusal("lookup_hash", &[("write_only", "")]), "write_only value must be 'true' or 'false': ''");
    assert_eq!(refusal("consistent_lookup", &[("read_lock", "x")]), "invalid read_lock value: x");
    accepted("lookup_unique", &[("no_verify", "true"), ("read_lock", "none")]);
    // params that the type does not know are not looked at
    accepted("consistent_lookup_unique", &[("autocommit", "yes")]);
}

#[test]
fn cfc_wants_rising_offsets() {
    accepted("cfc", &[]);
    accepted("cfc", &[("hash", "md5"), ("offsets", "[2,4]")]);
    assert_eq!(refusal("cfc", &[("hash", "sha")]), "invalid hash sha to CFC vindex v1");
    assert_eq!(refusal("cfc", &[("hash", "md5")]), "CFC vindex requires offsets when hash is defined");
    for offsets in ["[]", "[0]", "[2,2]", "[3,1]", "2", "[\"1\"]", "null"] {
        let text = format!("invalid offsets {offsets} to CFC vindex v1. expected sorted positive ints in brackets");
        assert_eq!(refusal("cfc", &[("hash", "xxhash64"), ("offsets", offsets)]), text);
    }
}

#[test]
fn static_maps_want_one_source_of_numbers() {
    let neither = "NumericStaticMap: Could not find either `json_path` or `json` params in vschema";
    assert_eq!(refusal("numeric_static_map", &[]), neither);
    let both = "NumericStaticMap: Found both `json` and `json_path` params in vschema";
    assert_eq!(refusal("numeric_static_map", &[("json", "{}"), ("json_path", "x")]), both);
    assert!(refusal("numeric_static_map", &[("json", "[]")]).contains("bad `json` param"));
    assert!(refusal("numeric_static_map", &[("json", r#"{"a":1}"#)]).contains("invalid syntax"));
    let fallback = [("json", "{}"), ("fallback_type", "nosuch")];
    assert_eq!(refusal("numeric_static_map", &fallback), "vindexType \"nosuch\" not found");
    accepted("numeric_static_map", &[("json", r#"{"1":2}"#), ("fallback_type", "xxhash")]);
    accepted("numeric_static_map", &[("json_path", "/somewhere/of/the/vtgate")]);
}

#[test]
fn regions_want_one_or_two_bytes() {
    assert_eq!(refusal("region_experimental", &[]), "region_experimental missing region_bytes param");
    assert_eq!(refusal("region_experimental", &[("region_bytes", "3")]), "region_bytes must be 1 or 2: 3");
    assert_eq!(refusal("region_json", &[("region_bytes", "3")]), "region_bytes must be 1 or 2: 3");
    assert_eq!(refusal("region_json", &[]), "strconv.Atoi: parsing \"\": invalid syntax");
    accepted("region_experimental", &[("region_bytes", "1")]);
    accepted("region_json", &[("region_bytes", "2"), ("region_map", "/x")]);
}

#[test]
fn multicol_checks_counts_bytes_and_parts() {
    assert_eq!(refusal("multicol", &[]), "number of columns not provided in the parameter 'column_count'");
    let range = "number of columns should be between 1 and 8 in the parameter 'column_count'";
    for count in ["0", "9", "-1"] {
        assert_eq!(refusal("multicol", &[("column_count", count)]), range);
    }
    let huge = refusal("multicol", &[("column_count", "99999999999999999999")]);
    assert_eq!(huge, "strconv.Atoi: parsing \"99999999999999999999\": value out of range");
    let bytes = refusal("multicol", &[("column_count", "2"), ("column_bytes", "7,2")]);
    assert!(bytes.starts_with("column bytes count exceeds the keyspace id length"), "{bytes}");
    let bytes = refusal("multicol", &[("column_count", "1"), ("column_bytes", "1,1")]);
    assert!(bytes.starts_with("number of column bytes provided are more"), "{bytes}");
    let more = refusal("multicol", &[("column_count", "1"), ("column_vindex", "hash,hash")]);
    assert!(more.starts_with("number of vindex function provided are more"), "{more}");
    let part = refusal("multicol", &[("column_count", "1"), ("column_vindex", "lookup")]);
    assert!(part.ends_with("passed vindex 'lookup' is invalid"), "{part}");
    assert_eq!(refusal("multicol", &[("column_count", "1"), ("column_vindex", "no")]), "vindexType \"no\" not found");
    accepted("multicol", &[("column_count", "3"), ("column_bytes", "1,,3"), ("column_vindex", "hash, binary")]);
}

#[test]
fn unknown_params_are_sorted_and_multicol_has_none() {
    let vschema = keyspace(
        true,
        vec![
            ("z", vindex("lookup_cost", &[("cost", "1")])),
            ("lookup1", vindex("lookup", &[("hello", "world"), ("goodbye", "world"), ("table", "t")])),
            ("m", vindex("multicol", &[("column_count", "1"), ("anything", "1")])),
            ("h", vindex("hash", &[])),
            ("n", vindex("lookup_hash", &[("no_verify", "true")])),
        ],
        vec![],
    );
    let found = unknown_params(&vschema);
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let wanted = [("lookup1", vec!["goodbye", "hello"]), ("n", vec!["no_verify"]), ("z", vec!["cost"])];
    assert_eq!(found, wanted.map(|(name, params)| (name.to_owned(), strings(&params))).to_vec());
}

proptest! {
    #[test]
    fn hostile_params_never_panic(at in 0usize..23, name in ".*", params in proptest::collection::hash_map(
        prop_oneof![
            Just("column_count".to_owned()), Just("column_bytes".to_owned()), Just("column_vindex".to_owned()),
            Just("json".to_owned()), Just("offsets".to_owned()), Just("hash".to_owned()), Just("cost".to_owned()), ".*"
        ],
        prop_oneof!["[0-9,-]{0,20}", Just("md5".to_owned()), ".*"], 0..6))
    {
        let vindex = Vindex { r#type: names()[at].into(), params, owner: String::new() };
        let _ = check(&name, &vindex);
        let _ = cost(&vindex);
    }
}
