//! Inputs that are nearly real ones: parts of a sample left out, doubled, moved, renamed or of another kind; then bytes
//! changed, put in, or cut off; now and then bytes of nobody.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::MessageDescriptor;
use serde_json::{Value, json};
use vtmigrated::sql::rows as sql_rows;
use vtmigrated::topo::{json as topo_json, wire};
use vtmigrated_proto::query::{Field, QueryResult, Row};

/// Values where others are expected.
const ODD: [&str; 16] = [
    "",
    "-",
    "0",
    "-1",
    "-80",
    "80-80",
    "\0",
    "ä",
    "`",
    "'",
    "../..",
    "1e999",
    "18446744073709551616",
    "zone1-0000000100",
    "[[[[",
    "a very long text that nobody has a use for, and which goes on and on and on until it is longer than sixty-four",
];
/// Numbers of fields where others are expected.
const NUMBERS: [u32; 8] = [1, 2, 3, 4, 6, 9, 99, (1 << 29) - 1];
/// Numbers where others are expected.
const LARGE: [u64; 5] = [0, 1, i64::MAX as u64, i64::MIN as u64, u64::MAX];

/// One change of something that has parts, which may have parts themselves.
#[derive(Clone, Debug)]
struct Edit {
    path: Vec<Index>,
    other: Index,
    how: u8,
    bytes: Vec<u8>,
}

impl Edit {
    fn odd(&self) -> &'static str {
        ODD[self.other.index(ODD.len())]
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (vec(any::<Index>(), 5), any::<Index>(), any::<u8>(), vec(any::<u8>(), 0..12));
    vec(edit.prop_map(|(path, other, how, bytes)| Edit { path, other, how, bytes }), 0..5)
}

/// Changes of bytes, and where they are cut off.
type Smudges = (Vec<(Index, u8, u8)>, Option<Index>);

/// Mostly few or none.
fn smudges() -> impl Strategy<Value = Smudges> {
    let edits = vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..6);
    prop_oneof![Just(Smudges::default()), (edits, proptest::option::of(any::<Index>()))]
}

fn smudged(mut bytes: Vec<u8>, (edits, cut): Smudges) -> Vec<u8> {
    for (at, byte, how) in edits {
        let at = at.index(bytes.len() + 1);
        match how {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    bytes
}

/// What `change` makes of a sample, with its bytes changed afterwards.
fn nearly(change: impl Fn(&[Edit]) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let made = (edits(), smudges()).prop_map(move |(edits, smudges)| smudged(change(&edits), smudges));
    prop_oneof![9 => made, 1 => vec(any::<u8>(), 0..200)]
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A message of that name.
pub fn message(name: &str, sample: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let of = topo_json::pool().unwrap().get_message_by_name(name).unwrap();
    nearly(move |edits| edits.iter().fold(sample.clone(), |message, edit| in_message(message, Some(&of), edit, 0)))
}

fn in_message(message: Vec<u8>, of: Option<&MessageDescriptor>, edit: &Edit, depth: usize) -> Vec<u8> {
    let fields = wire::fields(&Bytes::copy_from_slice(&message)).unwrap_or_default();
    let Some(place) = edit.path.get(depth).filter(|_| !fields.is_empty()) else { return message };
    let at = place.index(fields.len());
    let number = fields[at].number;
    let payload = fields[at].payload.clone().unwrap_or_default();
    let inner = of.and_then(|of| of.get_field(number)?.kind().as_message().cloned());
    let mut parts: Vec<Vec<u8>> = fields.iter().map(|field| field.whole.to_vec()).collect();
    let delimited = |number: u32, payload: &[u8]| {
        let mut part = Vec::new();
        wire::push(&mut part, number, payload);
        part
    };
    match (edit.how % 16, inner) {
        // most go into what has parts itself
        (0..10, Some(inner)) => {
            parts[at] = delimited(number, &in_message(payload.into(), Some(&inner), edit, depth + 1))
        }
        (0 | 10, _) => drop(parts.remove(at)),
        (1 | 11, _) => parts.push(parts[at].clone()),
        (2 | 12, _) => {
            let other = edit.other.index(parts.len());
            parts.swap(at, other);
        }
        (3 | 13, _) => parts[at] = delimited(NUMBERS[edit.other.index(NUMBERS.len())], &payload),
        (4 | 14, _) => parts[at] = delimited(number, edit.odd().as_bytes()),
        (5 | 15, _) => parts[at] = delimited(number, &edit.bytes),
        (6, _) => {
            // a length that says something else than there is
            let mut part = Vec::new();
            encode_key(number, WireType::LengthDelimited, &mut part);
            encode_varint(LARGE[edit.other.index(LARGE.len())], &mut part);
            part.extend_from_slice(&payload);
            parts[at] = part;
        }
        _ => {
            let mut part = Vec::new();
            encode_key(number, WireType::Varint, &mut part);
            encode_varint(LARGE[edit.other.index(LARGE.len())], &mut part);
            parts[at] = part;
        }
    }
    parts.concat()
}

/// JSON.
pub fn json(sample: &str) -> impl Strategy<Value = String> {
    let sample: Value = serde_json::from_str(sample).unwrap();
    let changed = nearly(move |edits| {
        let mut value = sample.clone();
        edits.iter().for_each(|edit| in_json(&mut value, edit, 0));
        value.to_string().into_bytes()
    });
    changed.prop_map(lossy)
}

fn in_json(value: &mut Value, edit: &Edit, depth: usize) {
    let place = edit.path.get(depth).copied();
    let child = match (value.as_array().map(Vec::len).or_else(|| value.as_object().map(|o| o.len())), place) {
        (Some(count), Some(place)) if count > 0 => Some(place.index(count)),
        _ => None,
    };
    match (&mut *value, child) {
        (Value::Array(parts), Some(at)) if edit.how < 160 => in_json(&mut parts[at], edit, depth + 1),
        (Value::Object(parts), Some(at)) if edit.how < 160 => {
            if let Some(part) = parts.values_mut().nth(at) {
                in_json(part, edit, depth + 1);
            }
        }
        (Value::Array(parts), Some(at)) if edit.how.is_multiple_of(2) => drop(parts.remove(at)),
        (Value::Array(parts), Some(at)) => parts.push(parts[at].clone()),
        (Value::Object(parts), Some(at)) if edit.how.is_multiple_of(3) => {
            let name = parts.keys().nth(at).cloned().unwrap_or_default();
            parts.remove(&name);
        }
        (Value::Object(parts), Some(at)) if edit.how % 3 == 1 => {
            let (name, part) = parts.iter().nth(at).map(|(name, part)| (name.clone(), part.clone())).unwrap();
            parts.remove(&name);
            parts.insert(edit.odd().to_owned(), part);
        }
        _ => *value = instead(value, edit),
    }
}

fn instead(value: &Value, edit: &Edit) -> Value {
    match edit.how % 8 {
        0 => Value::Null,
        1 => json!([value]),
        2 => json!({ edit.odd(): value }),
        3 => json!([]),
        4 => json!({}),
        5 => json!(LARGE[edit.other.index(LARGE.len())]),
        6 => json!(-1.5),
        _ => json!(edit.odd()),
    }
}

/// Text of words and signs; some of `words` may come in.
pub fn text(sample: &str, words: &'static [&'static str]) -> impl Strategy<Value = String> + use<> {
    let parts = parts(sample);
    nearly(move |edits| in_text(parts.clone(), words, edits)).prop_map(lossy)
}

/// Several such texts, all changed alike: what is changed takes longer to think out than to do.
pub fn texts(samples: &[(&str, &'static [&'static str])]) -> impl Strategy<Value = Vec<String>> + use<> {
    let samples: Vec<_> = samples.iter().map(|(sample, words)| (parts(sample), *words)).collect();
    let count = samples.len();
    let made = (edits(), smudges()).prop_map(move |(edits, smudges)| {
        let made = |(parts, words): &(Vec<String>, &'static [&'static str])| {
            lossy(smudged(in_text(parts.clone(), words, &edits), smudges.clone()))
        };
        samples.iter().map(made).collect::<Vec<String>>()
    });
    prop_oneof![9 => made, 1 => vec(any::<u8>(), 0..200).prop_map(move |bytes| vec![lossy(bytes); count])]
}

/// Words, and what is between them.
fn parts(sample: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for next in sample.chars() {
        match parts.last_mut() {
            Some(last) if next.is_alphanumeric() && last.ends_with(char::is_alphanumeric) => last.push(next),
            _ => parts.push(next.to_string()),
        }
    }
    parts
}

fn in_text(mut parts: Vec<String>, words: &[&str], edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = edit.path[0].index(parts.len() + 1);
        let word = words[edit.other.index(words.len())];
        match edit.how % 6 {
            0 if at < parts.len() => drop(parts.remove(at)),
            1 if at < parts.len() => parts.insert(at, parts[at].clone()),
            2 if at < parts.len() => {
                let other = edit.other.index(parts.len());
                parts.swap(at, other);
            }
            3 => parts.insert(at, edit.odd().to_owned()),
            4 if at < parts.len() => word.clone_into(&mut parts[at]),
            _ => parts.insert(at, word.to_owned()),
        }
    }
    parts.concat().into_bytes()
}

type Values = Vec<Option<Vec<u8>>>;

/// An answer of MySQL as it should be.
pub struct Sample {
    fields: Vec<Field>,
    rows: Vec<Values>,
}

/// Changes of the parts of an answer, and of the bytes of some of its values.
type Changes = (Vec<Edit>, Vec<(Index, Smudges)>);

fn changes() -> impl Strategy<Value = Changes> {
    (edits(), vec((any::<Index>(), smudges()), 0..3))
}

impl Sample {
    /// With these columns and rows; an empty text is NULL.
    pub fn new(columns: &[&str], rows: &[&[&str]]) -> Self {
        let field = |name: &&str| Field { name: (*name).to_owned(), ..Field::default() };
        let value = |text: &&str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        let rows = rows.iter().map(|row| row.iter().map(value).collect()).collect();
        Self { fields: columns.iter().map(field).collect(), rows }
    }

    fn changed(&self, (edits, smudges): &Changes) -> QueryResult {
        let mut all = self.rows.clone();
        for (at, smudge) in smudges {
            let mut values: Vec<&mut Vec<u8>> = all.iter_mut().flatten().flatten().collect();
            let at = at.index(values.len().max(1));
            if let Some(value) = values.get_mut(at) {
                **value = smudged(std::mem::take(*value), smudge.clone());
            }
        }
        edits.iter().for_each(|edit| in_rows(&mut all, edit));
        let mut result = QueryResult { fields: self.fields.clone(), ..QueryResult::default() };
        result.rows = all.iter().map(|row| sql_rows::row(row.iter().map(Option::as_deref))).collect();
        edits.iter().for_each(|edit| in_result(&mut result, edit));
        result
    }
}

/// An answer that is nearly one with these columns and rows; an empty text of a sample is NULL.
pub fn rows(columns: &[&str], rows: &[&[&str]]) -> impl Strategy<Value = QueryResult> + use<> {
    let sample = Sample::new(columns, rows);
    changes().prop_map(move |changes| sample.changed(&changes))
}

/// Several answers, all changed alike.
pub fn answers(samples: Vec<Sample>) -> impl Strategy<Value = Vec<QueryResult>> {
    changes().prop_map(move |changes| samples.iter().map(|sample| sample.changed(&changes)).collect::<Vec<_>>())
}

fn in_rows(all: &mut Vec<Values>, edit: &Edit) {
    if all.is_empty() {
        return;
    }
    let at = edit.path[0].index(all.len());
    let column = edit.path[1].index(all[at].len().max(1));
    match edit.how % 12 {
        0 => drop(all.remove(at)),
        1 => all.push(all[at].clone()),
        2 if column < all[at].len() => drop(all[at].remove(column)),
        3 if column < all[at].len() => {
            let value = all[at][column].clone();
            all[at].push(value);
        }
        4 if column < all[at].len() => {
            let other = edit.other.index(all[at].len());
            all[at].swap(column, other);
        }
        5 | 6 if column < all[at].len() => all[at][column] = None,
        7 | 8 if column < all[at].len() => all[at][column] = Some(edit.odd().into()),
        9 if column < all[at].len() => all[at][column] = Some(edit.bytes.clone()),
        _ => {}
    }
}

/// Lengths may say anything of the values, and columns have any names.
fn in_result(result: &mut QueryResult, edit: &Edit) {
    let place = |count: usize| (count > 0).then(|| edit.path[2].index(count));
    match edit.how % 7 {
        0 => {
            let Some(at) = place(result.rows.len()) else { return };
            let Row { lengths, values } = &mut result.rows[at];
            if let Some(length) = lengths.get_mut(edit.path[3].index(8)) {
                *length = LARGE[edit.other.index(LARGE.len())].cast_signed();
            }
            values.truncate(edit.path[4].index(values.len() + 1));
        }
        1 => {
            if let Some(at) = place(result.fields.len()) {
                edit.odd().clone_into(&mut result.fields[at].name);
            }
        }
        2 => {
            if let Some(at) = place(result.fields.len()) {
                result.fields.remove(at);
            }
        }
        _ => {}
    }
}
