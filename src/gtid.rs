//! Positions of streams: decompress, parse, print, compare, in every flavour that Vitess 22.0.3 stores, and in that of
//! MySQL 8.3 and later (tagged GTIDs).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Largest position that is decompressed, in bytes.
const MAX_POSITION: u64 = 64 << 20;

/// A place in the changes of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    Gtids(GtidSet),
    /// MariaDB: by domain, the server and the number of the last transaction.
    Domains(BTreeMap<u32, (u32, u64)>),
    /// A place in the binlogs of one server (flavour `FilePos`); on another server it means nothing.
    File {
        name: String,
        offset: u64,
    },
    /// The text of what this program does not understand.
    Unknown(String),
}

impl Position {
    /// Reads `<flavour>/<position>`; without a flavour it is a set of GTIDs.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let known = match text.split_once('/') {
            None | Some(("MySQL56", _)) => GtidSet::parse(text).ok().map(Self::Gtids),
            Some(("MariaDB", domains)) => parse_domains(domains).map(Self::Domains),
            Some(("FilePos", place)) => parse_place(place),
            Some(_) => None,
        };
        known.unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }

    /// Reads a position as `_vt.vreplication` has it: perhaps compressed.
    pub fn stored(position: &[u8]) -> Self {
        match stored(position) {
            Ok(text) => Self::parse(&text),
            Err(_) => Self::Unknown(String::from_utf8_lossy(position).into_owned()),
        }
    }

    /// Whether everything in `other` is in here; `None` when that cannot be told. Of two places in binlogs that is true on
    /// one server only: whether they are of one is for the caller to know.
    pub fn contains(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Gtids(have), Self::Gtids(wanted)) => Some(have.contains(wanted)),
            (Self::Domains(have), Self::Domains(wanted)) => {
                let reached = |(domain, (_, number)): (&u32, &(u32, u64))| {
                    have.get(domain).is_some_and(|(_, reached)| reached >= number)
                };
                Some(wanted.iter().all(reached))
            }
            (Self::File { name: a, offset: have }, Self::File { name: b, offset: wanted }) => {
                let ((base_a, a), (base_b, b)) = (numbered(a)?, numbered(b)?);
                (base_a == base_b).then(|| (a, have) >= (b, wanted))
            }
            _ => None,
        }
    }

    /// The transactions in here that `other` lacks, of servers of which it has some: those that are lost where it is what a
    /// source has now. Nothing where one of the two is no set of GTIDs.
    pub fn lost_in(&self, other: &Self) -> GtidSet {
        match (self, other) {
            (Self::Gtids(have), Self::Gtids(other)) => have.lost_in(other),
            _ => GtidSet::default(),
        }
    }

    /// True when there is nothing in it, which no server that writes binlogs tells of itself.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Gtids(set) => *set == GtidSet::default(),
            Self::Domains(domains) => domains.is_empty(),
            Self::File { name, .. } => name.is_empty(),
            Self::Unknown(text) => text.is_empty(),
        }
    }
}

impl std::fmt::Display for Position {
    /// As stock prints it: without the flavour.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gtids(set) => set.fmt(f),
            Self::Domains(domains) => {
                for (at, (domain, (server, number))) in domains.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{domain}-{server}-{number}")?;
                }
                Ok(())
            }
            Self::File { name, offset } => write!(f, "{name}:{offset}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

/// `<domain>-<server>-<number>[,…]`; the highest number of a domain counts.
fn parse_domains(text: &str) -> Option<BTreeMap<u32, (u32, u64)>> {
    let mut found: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut pieces = part.split('-');
        let (domain, server) = (pieces.next()?.parse().ok()?, pieces.next()?.parse().ok()?);
        let number = pieces.next()?.parse().ok()?;
        if pieces.next().is_some() {
            return None;
        }
        let known = found.entry(domain).or_insert((server, number));
        if number > known.1 {
            *known = (server, number);
        }
    }
    Some(found)
}

/// `<file>:<offset>`.
fn parse_place(text: &str) -> Option<Position> {
    let (name, offset) = text.split_once(':')?;
    Some(Position::File { name: name.to_owned(), offset: offset.trim().parse().ok()? })
}

/// `binlog.000012` as its base and its number.
fn numbered(file: &str) -> Option<(&str, u64)> {
    let (base, number) = file.rsplit_once('.')?;
    Some((base, number.parse().ok()?))
}

/// Server, and tag (empty: none).
type Origin = (String, String);

/// A set of executed transactions: for each server and tag, sorted intervals that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(BTreeMap<Origin, Vec<(u64, u64)>>);

impl GtidSet {
    /// Parses `[MySQL56/]<uuid>[:<tag>]:<a>[-<b>][:…][,…]`; a tag holds for the intervals behind it. Empty text is the empty
    /// set.
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
        let mut found: BTreeMap<Origin, Vec<(u64, u64)>> = BTreeMap::new();
        for part in set.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let mut pieces = part.split(':').map(str::trim);
            let server = pieces.next().unwrap_or_default().to_ascii_lowercase();
            if server.len() != 36 || !server.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                return Err(format!("parse error: bad server id in {part:?}"));
            }
            let mut tag = String::new();
            for piece in pieces {
                if is_tag(piece) {
                    tag = piece.to_ascii_lowercase();
                    continue;
                }
                let (start, end) = piece.split_once('-').unwrap_or((piece, piece));
                let number =
                    |text: &str| text.trim().parse::<u64>().map_err(|e| format!("parse error: {piece:?}: {e}"));
                let (start, end) = (number(start)?, number(end)?);
                if start > 0 && start <= end {
                    found.entry((server.clone(), tag.clone())).or_default().push((start, end));
                }
            }
        }
        found.values_mut().for_each(normalize);
        Ok(Self(found))
    }

    /// True when everything in `other` is in here.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|(origin, wanted)| {
            let have = self.0.get(origin).map(Vec::as_slice).unwrap_or_default();
            // intervals that do not touch: only the last one that begins before may hold it
            let holds = |(start, end): &(u64, u64)| {
                let begun = have.partition_point(|(first, _)| first <= start);
                begun.checked_sub(1).and_then(|at| have.get(at)).is_some_and(|(_, last)| end <= last)
            };
            wanted.iter().all(holds)
        })
    }

    /// What is in here and not in `other`, of servers of which that has some.
    fn lost_in(&self, other: &Self) -> Self {
        let known: BTreeSet<&str> = other.0.keys().map(|(server, _)| server.as_str()).collect();
        let of_known = self.0.iter().filter(|((server, _), _)| known.contains(server.as_str()));
        let lost = of_known.map(|(origin, have)| {
            let there = other.0.get(origin).map(Vec::as_slice).unwrap_or_default();
            (origin.clone(), without(have, there))
        });
        Self(lost.filter(|(_, intervals)| !intervals.is_empty()).collect())
    }

    /// The same without the transactions of one server.
    #[must_use]
    pub fn without_server(mut self, server: &str) -> Self {
        self.0.retain(|(origin, _), _| !origin.eq_ignore_ascii_case(server));
        self
    }
}

/// The parts of intervals that are in none of some others; both are sorted and do not touch.
fn without(intervals: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    for (start, end) in intervals {
        let mut next = Some(*start); // not accounted for; none when that would be past the greatest
        let near = others.iter().skip(others.partition_point(|of| of.1 < *start)).take_while(|of| of.0 <= *end);
        for (first, last) in near {
            if let Some(from) = next.filter(|from| from < first) {
                left.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        left.extend(next.filter(|from| from <= end).map(|from| (from, *end)));
    }
    left
}

/// A letter or an underscore, then up to 31 of these and digits (MySQL 8.3).
fn is_tag(piece: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    piece.len() <= 32 && piece.bytes().all(word) && piece.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

impl std::fmt::Display for GtidSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut last: Option<&str> = None;
        for ((server, tag), intervals) in &self.0 {
            if last != Some(server.as_str()) {
                let comma = if last.is_none() { "" } else { "," };
                write!(f, "{comma}{server}")?;
                last = Some(server);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
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
    fn what_a_source_has_lost_is_told_by_the_servers_that_it_knows() {
        let lost = |have: &str, other: &str| Position::parse(have).lost_in(&Position::parse(other));
        let of = |have: &str, other: &str| lost(have, other).to_string();
        assert_eq!(of(&format!("{A}:1-100,{B}:1-3"), &format!("{A}:1-80,{B}:1-9")), format!("{A}:81-100"));
        assert_eq!(of(&format!("{A}:1-9:20-30:40"), &format!("{A}:3-5:25-50")), format!("{A}:1-2:6-9:20-24"));
        assert_eq!(of(&format!("{A}:1-9"), &format!("{A}:1-9:11")), "");
        assert_eq!(of(&format!("{A}:5:blue:1-2"), &format!("{A}:1-9")), format!("{A}:blue:1-2"));
        // transactions of a replica's own are known to nobody else
        assert_eq!(of(&format!("{A}:1-9,{B}:1"), &format!("{A}:1-9")), "");
        assert_eq!(of(&format!("{A}:1-9"), "MariaDB/0-1-5"), "");
        let most = u64::MAX;
        assert_eq!(of(&format!("{A}:7-{most}"), &format!("{A}:8-{most}")), format!("{A}:7"));
        assert_eq!(lost(&format!("{A}:1-9"), &format!("{A}:1")).without_server(&A.to_uppercase()), GtidSet::default());
    }

    #[test]
    fn tags_are_origins_of_their_own() {
        let text = format!("{A}:1-5:blue:1-3:5:green:2,{B}:7");
        let set = GtidSet::parse(&format!("MySQL56/{B}:7,{A}:Blue:5:1-3:green:2,{A}:1-5")).unwrap();
        assert_eq!(set.to_string(), text);
        let part = |text: String| GtidSet::parse(&text).unwrap();
        assert!(set.contains(&part(format!("{A}:blue:2-3"))));
        assert!(!set.contains(&part(format!("{A}:blue:4"))));
        assert!(!set.contains(&part(format!("{A}:red:1"))));
        assert!(!part(format!("{A}:1-5")).contains(&part(format!("{A}:blue:1"))));
    }

    #[test]
    fn every_flavour_is_shown_and_compared_with_its_own() {
        let of = |text: &str| Position::parse(text);
        assert_eq!(of("MariaDB/1-7-4,0-1-5").to_string(), "0-1-5,1-7-4");
        assert_eq!(of("MariaDB/0-1-5,1-7-4").contains(&of("MariaDB/0-2-5")), Some(true));
        assert_eq!(of("MariaDB/0-1-5").contains(&of("MariaDB/0-1-6")), Some(false));
        assert_eq!(of("MariaDB/0-1-5").contains(&of("MariaDB/2-1-1")), Some(false));
        assert_eq!(of("FilePos/binlog.000009:44").to_string(), "binlog.000009:44");
        assert_eq!(of("FilePos/binlog.1000000:4").contains(&of("FilePos/binlog.999999:9")), Some(true));
        assert_eq!(of("FilePos/binlog.000009:44").contains(&of("FilePos/binlog.000009:45")), Some(false));
        assert_eq!(of("FilePos/binlog.000009:44").contains(&of("FilePos/other.000009:4")), None);
        assert_eq!(of("Newer/x").contains(&of("Newer/x")), None);
        assert_eq!(of("Newer/x").to_string(), "Newer/x");
        assert_eq!(of(&format!("MySQL56/{A}:1-5")).contains(&of("MariaDB/0-1-5")), None);
        assert_eq!(of(&format!("{A}:1-5")).contains(&of(&format!("{A}:5"))), Some(true));
        assert_eq!(Position::stored(&[0xff, 0xfe, 0xfd, 0xfc, 0x78, 1]).contains(&of("")), None);
        assert!(of("MySQL56/").is_empty() && !of("FilePos/a.1:4").is_empty());
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

    /// A set of intervals, given by their beginnings and lengths, and the numbers in it.
    fn of_intervals(intervals: &[(u64, u64)]) -> (GtidSet, BTreeSet<u64>) {
        let pieces: String = intervals.iter().map(|(start, more)| format!(":{start}-{}", start + more)).collect();
        let numbers = intervals.iter().flat_map(|(start, more)| *start..=start + more).collect();
        (GtidSet::parse(&format!("{A}{pieces}")).unwrap(), numbers)
    }

    proptest! {
        #[test]
        fn containment_is_that_of_the_numbers(
            have in proptest::collection::vec((1..60_u64, 0..8_u64), 0..30),
            wanted in proptest::collection::vec((1..60_u64, 0..4_u64), 0..4),
        ) {
            let ((have, numbers), (wanted, wanted_numbers)) = (of_intervals(&have), of_intervals(&wanted));
            prop_assert_eq!(have.contains(&wanted), wanted_numbers.is_subset(&numbers));
        }

        #[test]
        fn hostile_positions_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,60}") {
            let _ = Position::stored(&bytes).to_string();
            let position = Position::parse(&text);
            prop_assert_eq!(Position::parse(&text), position);
            if let Ok(set) = GtidSet::parse(&text) {
                prop_assert_eq!(GtidSet::parse(&set.to_string()).unwrap(), set);
            }
        }
    }
}
