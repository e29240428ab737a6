//! Positions of streams: decompress, parse, print, compare (MySQL 5.6 GTID sets, as Vitess 22.0.3 stores them).

use std::collections::BTreeMap;
use std::io::Read;

/// Largest position that is decompressed, in bytes.
const MAX_POSITION: u64 = 64 << 20;

/// A set of executed transactions: for each server, sorted intervals that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(BTreeMap<String, Vec<(u64, u64)>>);

impl GtidSet {
    /// Parses `[MySQL56/]<uuid>:<a>[-<b>][:…][,…]`; empty text is the empty set.
    ///
    /// # Errors
    /// Stock's text for other flavours, else what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let set = match text.split_once('/') {
            None => text,
            Some(("MySQL56", set)) => set,
            Some((flavor, _)) => return Err(format!("parse error: unknown GTIDSet flavor \"{flavor}\"")),
        };
        let mut found: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for part in set.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut pieces = part.split(':').map(str::trim);
            let server = pieces.next().unwrap_or_default().to_ascii_lowercase();
            if server.len() != 36 || !server.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                return Err(format!("parse error: bad server id in {part:?}"));
            }
            let intervals = found.entry(server).or_default();
            for piece in pieces {
                let (start, end) = piece.split_once('-').unwrap_or((piece, piece));
                let number =
                    |text: &str| text.trim().parse::<u64>().map_err(|e| format!("parse error: {piece:?}: {e}"));
                let (start, end) = (number(start)?, number(end)?);
                if start > 0 && start <= end {
                    intervals.push((start, end));
                }
            }
        }
        found.values_mut().for_each(normalize);
        found.retain(|_, intervals| !intervals.is_empty());
        Ok(Self(found))
    }

    /// True when everything in `other` is in here.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(server, wanted)| {
            let have = self.0.get(server).map(Vec::as_slice).unwrap_or_default();
            wanted.iter().all(|(start, end)| have.iter().any(|(a, b)| a <= start && end <= b))
        })
    }
}

impl std::fmt::Display for GtidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (server, intervals)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{server}")?;
            for (start, end) in intervals {
                if start == end { write!(f, ":{start}")? } else { write!(f, ":{start}-{end}")? }
            }
        }
        Ok(())
    }
}

/// The text of a stored position, which may be the output of MySQL's `compress()`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn stored(position: &[u8]) -> Result<String, String> {
    if let Some((head, body)) = position.split_first_chunk::<4>() {
        let length = u64::from(u32::from_le_bytes(*head));
        if length > 0 && length <= MAX_POSITION && body.first() == Some(&0x78) {
            let mut text = String::new();
            let read = flate2::read::ZlibDecoder::new(body).take(length + 1).read_to_string(&mut text);
            if read.is_ok_and(|read| read as u64 == length) {
                return Ok(text);
            }
        }
    }
    String::from_utf8(position.to_vec())
        .map_err(|_| "parse error: the position is neither text nor compressed text".into())
}

fn normalize(intervals: &mut Vec<(u64, u64)>) {
    intervals.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(intervals.len());
    for (start, end) in intervals.drain(..) {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    *intervals = merged;
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "65250e20-e60c-11f1-a657-02fc00000001";

    #[test]
    fn parses_and_prints_in_canonical_form() {
        let set = GtidSet::parse(&format!("MySQL56/{B}:7-9:1-5:6, {}:3", A.to_uppercase())).unwrap();
        assert_eq!(set.to_string(), format!("{A}:3,{B}:1-9"));
        assert_eq!(GtidSet::parse("").unwrap(), GtidSet::default());
        assert_eq!(GtidSet::parse("x/1").unwrap_err(), "parse error: unknown GTIDSet flavor \"x\"");
        assert!(GtidSet::parse("nonsense:1").is_err());
    }

    #[test]
    fn containment_is_by_interval() {
        let set = |text: &str| GtidSet::parse(text).unwrap();
        assert!(set(&format!("{A}:1-10,{B}:1")).contains(&set(&format!("{A}:3-4:9"))));
        assert!(!set(&format!("{A}:1-10")).contains(&set(&format!("{A}:10-11"))));
        assert!(!set(&format!("{A}:1-10")).contains(&set(&format!("{B}:1"))));
        assert!(set("").contains(&set("")));
    }

    #[test]
    fn compressed_positions_are_read() {
        let text = format!("MySQL56/{A}:1-5");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(text.as_bytes()).unwrap();
        let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(zlib.finish().unwrap());
        assert_eq!(stored(&bytes).unwrap(), text);
        assert_eq!(stored(text.as_bytes()).unwrap(), text);
        assert!(stored(&[0xff, 0xfe, 0xfd, 0xfc, 0x78, 1, 2]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_positions_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,60}") {
            let _ = stored(&bytes);
            if let Ok(set) = GtidSet::parse(&text) {
                prop_assert_eq!(GtidSet::parse(&set.to_string()).unwrap(), set);
            }
        }
    }
}
