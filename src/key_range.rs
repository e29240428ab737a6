//! Key ranges: parse, print, compare, intersect, and the proof that a set of ranges covers everything once.
//!
//! Keyspace ids compare bytewise with trailing zero bytes left out; an empty bound is open (Vitess 22.0.3).

use std::cmp::Ordering;

use vtmigrated_proto::topodata::KeyRange;

/// Why a text is not a key range, with stock's texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("malformed spec: doesn't define a range: \"{0}\"")]
    NotARange(String),
    #[error("malformed spec: shard limits should be in order: \"{0}\"")]
    OutOfOrder(String),
}

/// The range of a shard name: `0` and `-` are everything, else `<hex>-<hex>` with open ends.
pub fn parse(shard: &str) -> Result<KeyRange, Error> {
    let bad = || Error::NotARange(shard.to_owned());
    if shard == "0" {
        return Ok(KeyRange::default());
    }
    let (start, end) = shard.split_once('-').ok_or_else(bad)?;
    let range = KeyRange { start: unhex(start).ok_or_else(bad)?, end: unhex(end).ok_or_else(bad)? };
    if !trim(&range.end).is_empty() && trim(&range.start) >= trim(&range.end) {
        return Err(Error::OutOfOrder(shard.to_owned()));
    }
    Ok(range)
}

/// `<hex>-<hex>` in lower case; everything prints as `-`.
pub fn print(range: Option<&KeyRange>) -> String {
    let (start, end) = bounds(range);
    format!("{}-{}", hex(start), hex(end))
}

/// True for a missing range and for one that is open on both ends.
pub fn is_complete(range: Option<&KeyRange>) -> bool {
    let (start, end) = bounds(range);
    trim(start).is_empty() && end.is_empty()
}

/// Order by start, then by end; a missing range is everything.
pub fn compare(a: Option<&KeyRange>, b: Option<&KeyRange>) -> Ordering {
    let ((a_start, a_end), (b_start, b_end)) = (bounds(a), bounds(b));
    trim(a_start).cmp(trim(b_start)).then_with(|| compare_ends(a_end, b_end))
}

/// True when both are the same set of ids.
pub fn equal(a: Option<&KeyRange>, b: Option<&KeyRange>) -> bool {
    compare(a, b) == Ordering::Equal
}

/// True when some id lies in both.
pub fn intersects(a: Option<&KeyRange>, b: Option<&KeyRange>) -> bool {
    let ((a_start, a_end), (b_start, b_end)) = (bounds(a), bounds(b));
    before_end(a_start, b_end) && before_end(b_start, a_end)
}

/// True when the id lies in the range.
pub fn contains(range: Option<&KeyRange>, id: &[u8]) -> bool {
    let (start, end) = bounds(range);
    trim(start) <= trim(id) && before_end(id, end)
}

/// True when the second range begins where the first one ends.
pub fn contiguous(left: &KeyRange, right: &KeyRange) -> bool {
    !left.end.is_empty() && !right.start.is_empty() && trim(&left.end) == trim(&right.start)
}

/// Bytes as hex digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What Go says about a text that is not hex, if it is none.
pub fn hex_error(text: &str) -> Option<String> {
    if let Some(byte) = text.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        let shown = match char::from(byte) {
            c if c.is_control() => String::new(),
            c => format!(" '{c}'"),
        };
        return Some(format!("encoding/hex: invalid byte: U+{byte:04X}{shown}"));
    }
    (!text.len().is_multiple_of(2)).then(|| "encoding/hex: odd length hex string".into())
}

/// Proves that the ranges cover every id exactly once; else says where they do not.
pub fn partition<'a>(ranges: impl IntoIterator<Item = Option<&'a KeyRange>>) -> Result<(), String> {
    let mut sorted: Vec<Option<&KeyRange>> = ranges.into_iter().collect();
    sorted.sort_by(|a, b| compare(*a, *b));
    let Some(first) = sorted.first() else { return Err("there is no shard".into()) };
    if !trim(bounds(*first).0).is_empty() {
        return Err(format!("no shard holds the ids below {}", hex(bounds(*first).0)));
    }
    for pair in sorted.windows(2) {
        let (end, start) = (bounds(pair[0]).1, bounds(pair[1]).0);
        match compare_ends(end, if start.is_empty() { &[0] } else { start }) {
            Ordering::Equal => {}
            Ordering::Less => return Err(format!("no shard holds the ids from {} to {}", hex(end), hex(start))),
            Ordering::Greater => return Err(format!("the shards {} and {} overlap", print(pair[0]), print(pair[1]))),
        }
    }
    match sorted.last().map(|last| bounds(*last).1) {
        Some(end) if !end.is_empty() => Err(format!("no shard holds the ids from {}", hex(end))),
        _ => Ok(()),
    }
}

fn bounds(range: Option<&KeyRange>) -> (&[u8], &[u8]) {
    range.map_or((&[], &[]), |r| (r.start.as_slice(), r.end.as_slice()))
}

fn trim(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    bytes.get(..length).unwrap_or_default()
}

fn compare_ends(a: &[u8], b: &[u8]) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => trim(a).cmp(trim(b)),
    }
}

fn before_end(id: &[u8], end: &[u8]) -> bool {
    end.is_empty() || trim(id) < trim(end)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
