//! The vindex types of Vitess 22.0.3 and the params that each of them takes.

use std::collections::HashMap;

use vtmigrated_proto::vschema::{Keyspace, Vindex};

use super::Error;

/// A vindex type.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// At most one keyspace id for a value; needed of a table's first vindex.
    pub unique: bool,
    /// Cost of a look-up as the planner counts it; see [`cost`] for the types whose params change it.
    pub cost: u32,
    /// Asks a table for the keyspace ids.
    pub lookup: bool,
    /// Takes several columns.
    pub multi_column: bool,
    pub known_params: &'static [&'static str],
    /// Can be a part of a `multicol` vindex.
    hashing: bool,
}

/// The type of that name, which is case-sensitive.
pub fn kind(type_name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == type_name)
}

/// Names of all types, ascending.
pub fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// The cost with the vindex's params taken into account; 0 for an unknown type.
pub fn cost(vindex: &Vindex) -> u32 {
    let param = |name: &str| vindex.params.get(name);
    match vindex.r#type.as_str() {
        "lookup_cost" => param("cost").and_then(|cost| cost.parse().ok()).unwrap_or(5),
        "multicol" => {
            let columns = param("column_count").and_then(|count| count.parse().ok()).unwrap_or(0);
            parts(&vindex.params, columns).iter().filter_map(|part| kind(part)).map(|part| part.cost).sum()
        }
        other => kind(other).map_or(0, |kind| kind.cost),
    }
}

/// Checks type and params of a vindex.
///
/// The files that `json_path` and `region_map` name are not read: they are the vtgates' (stock reads its own).
///
/// # Errors
/// [`Error::UnknownVindexType`] and [`Error::BadParams`].
pub fn check(name: &str, vindex: &Vindex) -> Result<(), Error> {
    check_params(name, &vindex.r#type, &vindex.params)
}

/// Params that their vindex's type does not know: vindexes and params ascending, vindexes without such params left out.
pub fn unknown_params(keyspace: &Keyspace) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (name, vindex) in super::vindexes(keyspace) {
        // the params that multicol does not know go to its parts
        let Some(kind) = kind(&vindex.r#type).filter(|kind| kind.name != "multicol") else { continue };
        let known = |param: &&String| !kind.known_params.contains(&param.as_str());
        let mut unknown: Vec<String> = vindex.params.keys().filter(known).cloned().collect();
        unknown.sort();
        if !unknown.is_empty() {
            found.push((name.to_owned(), unknown));
        }
    }
    found
}

type Params = HashMap<String, String>;

const NONE: &[&str] = &[];
const LOOKUP: &[&str] = &[
    "table",
    "from",
    "to",
    "ignore_nulls",
    "batch_lookup",
    "read_lock",
    "autocommit",
    "multi_shard_autocommit",
    "no_verify",
    "write_only",
];
const LOOKUP_HASH: &[&str] = &[
    "table",
    "from",
    "to",
    "ignore_nulls",
    "batch_lookup",
    "read_lock",
    "autocommit",
    "multi_shard_autocommit",
    "write_only",
];
const CONSISTENT: &[&str] = &["table", "from", "to", "ignore_nulls", "batch_lookup", "read_lock", "write_only"];

/// Ascending by name.
static KINDS: &[Kind] = &[
    hashing("binary", 0, NONE),
    hashing("binary_md5", 1, NONE),
    functional("cfc", 1, &["hash", "offsets"]),
    lookup("consistent_lookup", false, 20, CONSISTENT),
    lookup("consistent_lookup_unique", true, 10, CONSISTENT),
    hashing("hash", 1, NONE),
    lookup("lookup", false, 20, LOOKUP),
    lookup("lookup_cost", false, 5, LOOKUP),
    lookup("lookup_hash", false, 20, LOOKUP_HASH),
    lookup("lookup_hash_unique", true, 10, LOOKUP_HASH),
    lookup("lookup_unicodeloosemd5_hash", false, 20, LOOKUP_HASH),
    lookup("lookup_unicodeloosemd5_hash_unique", true, 10, LOOKUP_HASH),
    lookup("lookup_unique", true, 10, LOOKUP),
    multi("multicol", &["column_count", "column_bytes", "column_vindex"]),
    functional("null", 100, NONE),
    hashing("numeric", 0, NONE),
    hashing("numeric_static_map", 1, &["json", "json_path", "fallback_type"]),
    multi("region_experimental", &["region_bytes"]),
    multi("region_json", &["region_bytes", "region_map"]),
    hashing("reverse_bits", 1, NONE),
    hashing("unicode_loose_md5", 1, NONE),
    hashing("unicode_loose_xxhash", 1, NONE),
    hashing("xxhash", 1, NONE),
];

const fn functional(name: &'static str, cost: u32, known_params: &'static [&'static str]) -> Kind {
    Kind { name, unique: true, cost, lookup: false, multi_column: false, known_params, hashing: false }
}

const fn hashing(name: &'static str, cost: u32, known_params: &'static [&'static str]) -> Kind {
    Kind { name, unique: true, cost, lookup: false, multi_column: false, known_params, hashing: true }
}

const fn lookup(name: &'static str, unique: bool, cost: u32, known_params: &'static [&'static str]) -> Kind {
    Kind { name, unique, cost, lookup: true, multi_column: false, known_params, hashing: false }
}

const fn multi(name: &'static str, known_params: &'static [&'static str]) -> Kind {
    Kind { name, unique: true, cost: 1, lookup: false, multi_column: true, known_params, hashing: false }
}

fn check_params(name: &str, type_name: &str, params: &Params) -> Result<(), Error> {
    let kind = kind(type_name).ok_or_else(|| Error::UnknownVindexType(type_name.to_owned()))?;
    match kind.name {
        "cfc" => check_cfc(name, params),
        "multicol" => check_multicol(params),
        "numeric_static_map" => check_static_map(name, params),
        "region_experimental" => match params.get("region_bytes").map(String::as_str) {
            None => bad("region_experimental missing region_bytes param"),
            Some("1" | "2") => Ok(()),
            Some(other) => bad(format!("region_bytes must be 1 or 2: {other}")),
        },
        "region_json" => match integer(params.get("region_bytes").map_or("", String::as_str))? {
            1 | 2 => Ok(()),
            other => bad(format!("region_bytes must be 1 or 2: {other}")),
        },
        _ if kind.lookup => check_lookup(kind, params),
        _ => Ok(()),
    }
}

fn check_lookup(kind: &Kind, params: &Params) -> Result<(), Error> {
    let booleans = ["autocommit", "multi_shard_autocommit", "write_only", "no_verify", "ignore_nulls", "batch_lookup"];
    for param in booleans.into_iter().filter(|param| kind.known_params.contains(param)) {
        match params.get(param).map(String::as_str) {
            None | Some("true" | "false") => {}
            Some(other) => return bad(format!("{param} value must be 'true' or 'false': '{other}'")),
        }
    }
    match params.get("read_lock").map(String::as_str) {
        None | Some("exclusive" | "shared" | "none") => Ok(()),
        Some(other) => bad(format!("invalid read_lock value: {other}")),
    }
}

fn check_cfc(name: &str, params: &Params) -> Result<(), Error> {
    match params.get("hash").map_or("", String::as_str) {
        "" => return Ok(()),
        "md5" | "xxhash64" => {}
        other => return bad(format!("invalid hash {other} to CFC vindex {name}")),
    }
    let text = params.get("offsets").map_or("", String::as_str);
    if text.is_empty() {
        return bad("CFC vindex requires offsets when hash is defined");
    }
    let offsets: Vec<i64> = serde_json::from_str(text).unwrap_or_default();
    let rising = offsets.windows(2).all(|pair| pair[0] < pair[1]);
    if rising && offsets.first().is_some_and(|first| *first > 0) {
        return Ok(());
    }
    bad(format!("invalid offsets {text} to CFC vindex {name}. expected sorted positive ints in brackets"))
}

fn check_static_map(name: &str, params: &Params) -> Result<(), Error> {
    match (params.get("json"), params.contains_key("json_path")) {
        (None, false) => return bad("NumericStaticMap: Could not find either `json_path` or `json` params in vschema"),
        (Some(_), true) => return bad("NumericStaticMap: Found both `json` and `json_path` params in vschema"),
        (Some(json), false) => {
            let map: HashMap<String, u64> = serde_json::from_str(json)
                .map_err(|error| Error::BadParams(format!("NumericStaticMap: bad `json` param: {error}")))?;
            if let Some(key) = map.keys().find(|key| key.parse::<u64>().is_err()) {
                return bad(format!("strconv.ParseUint: parsing {key:?}: invalid syntax"));
            }
        }
        (None, true) => {}
    }
    match params.get("fallback_type") {
        Some(fallback) => check_params(&format!("{name}_hash"), fallback, &Params::new()),
        None => Ok(()),
    }
}

fn check_multicol(params: &Params) -> Result<(), Error> {
    let Some(count) = params.get("column_count") else {
        return bad("number of columns not provided in the parameter 'column_count'");
    };
    let columns = match usize::try_from(integer(count)?) {
        Ok(columns @ 1..=8) => columns,
        _ => return bad("number of columns should be between 1 and 8 in the parameter 'column_count'"),
    };
    check_column_bytes(params, columns)?;
    let given = params.get("column_vindex").map_or(0, |list| list.split(',').count());
    if given > columns {
        return bad("number of vindex function provided are more than column count in the parameter 'column_vindex'");
    }
    let own = ["column_count", "column_bytes", "column_vindex"];
    let rest = params.iter().filter(|(param, _)| !own.contains(&param.as_str()));
    let rest: Params = rest.map(|(param, value)| (param.clone(), value.clone())).collect();
    for part in parts(params, columns) {
        check_params(&part, &part, &rest)?;
        if !kind(&part).is_some_and(|kind| kind.hashing) {
            return bad(format!(
                "multicol vindex supports vindexes that exports hashing function, are unique and are non-lookup vindex, \
                 passed vindex '{part}' is invalid"
            ));
        }
    }
    Ok(())
}

fn check_column_bytes(params: &Params, columns: usize) -> Result<(), Error> {
    let texts: Vec<&str> = params.get("column_bytes").map(|list| list.split(',').collect()).unwrap_or_default();
    if texts.len() > columns {
        return bad("number of column bytes provided are more than column count in the parameter 'column_bytes'");
    }
    let (mut used, mut left) = (0i64, columns);
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        used = used.saturating_add(integer(text)?);
        left -= 1;
    }
    if i64::try_from(left).unwrap_or(i64::MAX) > 8i64.saturating_sub(used) {
        return bad(
            "column bytes count exceeds the keyspace id length (total bytes count cannot exceed 8 bytes) in the \
             parameter 'column_bytes'",
        );
    }
    Ok(())
}

/// The type of each column's part of a `multicol` vindex: `hash` where none is given.
fn parts(params: &Params, columns: usize) -> Vec<String> {
    let given: Vec<&str> = params.get("column_vindex").map(|list| list.split(',').collect()).unwrap_or_default();
    let part = |at: usize| given.get(at).map(|part| part.trim()).filter(|part| !part.is_empty()).unwrap_or("hash");
    (0..columns.min(8)).map(|at| part(at).to_owned()).collect()
}

fn integer(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Error::BadParams(format!("strconv.Atoi: parsing {text:?}: {why}"))
    })
}

fn bad(text: impl Into<String>) -> Result<(), Error> {
    Err(Error::BadParams(text.into()))
}

#[cfg(test)]
mod tests;
