//! Sets of MySQL GTIDs and the positions that Vitess writes, `MySQL56/<uuid>:1-5:7,<uuid>:1`.

use std::{collections::BTreeMap, fmt};

use mysql_async::{GnoInterval, Sid};
use uuid::Uuid;

/// Why a text is no position. The text is that of Vitess 22.0.3.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("parse error: unknown GTIDSet flavor {0:?}")]
    Flavor(String),
    #[error("invalid MySQL 5.6 GTID set ({0:?}): {1}")]
    Set(String, String),
}

/// Executed GTIDs: per server a sorted list of inclusive intervals that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    servers: BTreeMap<Uuid, Vec<(u64, u64)>>,
}

impl GtidSet {
    /// Reads a set with or without `MySQL56/`; blanks, upper case, unsorted and overlapping intervals are accepted, an
    /// interval whose end is before its start is dropped.
    ///
    /// # Errors
    /// Another flavour, or no GTID set.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let set = match text.split_once('/') {
            Some(("MySQL56", set)) => set,
            Some((flavor, _)) => return Err(Error::Flavor(flavor.to_owned())),
            None => text,
        };
        let mut parsed = Self::default();
        for server in set.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            parsed.parse_server(server).map_err(|why| Error::Set(set.to_owned(), why))?;
        }
        Ok(parsed)
    }

    /// Reads a position, whose flavour is mandatory; the empty text is the position before everything.
    ///
    /// # Errors
    /// As [`GtidSet::parse`].
    pub fn parse_position(text: &str) -> Result<Self, Error> {
        if !text.is_empty() && !text.contains('/') {
            return Err(Error::Flavor(String::new()));
        }
        Self::parse(text)
    }

    /// The set with its flavour: `MySQL56/…`.
    #[must_use]
    pub fn position(&self) -> String {
        format!("MySQL56/{self}")
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub fn add(&mut self, server: Uuid, gno: u64) {
        self.add_interval(server, (gno, gno));
    }

    /// Whether every GTID of `other` is in this set ("at least" of two positions).
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.servers.iter().all(|(server, wanted)| {
            let Some(have) = self.servers.get(server) else { return false };
            wanted.iter().all(|&(first, last)| have.iter().any(|&(from, to)| from <= first && last <= to))
        })
    }

    /// The set as the binlog protocol takes it, with exclusive ends.
    #[must_use]
    pub fn sids(&self) -> Vec<Sid<'static>> {
        let sid = |(server, intervals): (&Uuid, &Vec<(u64, u64)>)| {
            let intervals = intervals.iter().map(|&(first, last)| GnoInterval::new(first, last + 1)).collect();
            Sid::new(server.into_bytes()).with_intervals(intervals)
        };
        self.servers.iter().map(sid).collect()
    }

    fn parse_server(&mut self, text: &str) -> Result<(), String> {
        let mut parts = text.split(':').map(str::trim);
        let server = parts.next().unwrap_or_default();
        let uuid = Uuid::try_parse(server).ok().filter(|_| server.len() == 36);
        let uuid = uuid.ok_or_else(|| format!("invalid MySQL 5.6 SID {server:?}"))?;
        for part in parts {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u64>().ok().filter(|&n| n > 0 && n < i64::MAX as u64);
            match (number(first), number(last)) {
                (Some(first), Some(last)) if last < first => {}
                (Some(first), Some(last)) => self.add_interval(uuid, (first, last)),
                _ => return Err(format!("invalid MySQL 5.6 GTID set interval {part:?}")),
            }
        }
        Ok(())
    }

    fn add_interval(&mut self, server: Uuid, (mut first, mut last): (u64, u64)) {
        let intervals = self.servers.entry(server).or_default();
        intervals.retain(|&(from, to)| {
            let apart = to + 1 < first || last + 1 < from;
            if !apart {
                first = first.min(from);
                last = last.max(to);
            }
            apart
        });
        let at = intervals.partition_point(|&(from, _)| from < first);
        intervals.insert(at, (first, last));
    }
}

impl fmt::Display for GtidSet {
    /// Without flavour, sorted by the servers' bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (server, intervals)) in self.servers.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{server}")?;
            for (first, last) in intervals {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e699c6f-c73b-11f0-a4a1-0242ac110002";
    const B: &str = "00000000-0000-0000-0000-000000000001";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).expect("a set")
    }

    #[test]
    fn prints_sorted_and_merged() {
        let text = format!("MySQL56/{}:7-9:1-5:5-6 , {B}:3:9-2", A.to_uppercase());
        assert_eq!(set(&text).position(), format!("MySQL56/{B}:3,{A}:1-9"));
        assert_eq!(set("").position(), "MySQL56/");
    }

    #[test]
    fn refuses_what_is_no_position() {
        assert_eq!(GtidSet::parse_position("1-2"), Err(Error::Flavor(String::new())));
        assert_eq!(Error::Flavor(String::new()).to_string(), "parse error: unknown GTIDSet flavor \"\"");
        assert_eq!(GtidSet::parse("MariaDB/0-1-2"), Err(Error::Flavor("MariaDB".to_owned())));
        assert!(GtidSet::parse("MySQL56/xyz:1").is_err());
        assert!(GtidSet::parse(&format!("{A}:0")).is_err());
        assert!(GtidSet::parse(&format!("{A}:x")).is_err());
    }

    #[test]
    fn adds_joins_and_compares() {
        let mut have = set(&format!("{A}:1-3:5"));
        let three = have.clone();
        have.add(Uuid::try_parse(A).expect("a UUID"), 4);
        assert_eq!(have.to_string(), format!("{A}:1-5"));
        assert!(have.contains(&three) && !three.contains(&have));
        have = set(&format!("{have},{B}:2,{A}:9-10"));
        assert_eq!(have.to_string(), format!("{B}:2,{A}:1-5:9-10"));
        assert!(have.contains(&GtidSet::default()));
        assert!(!have.contains(&set(&format!("{A}:5-9"))));
        assert_eq!(have.sids().iter().map(ToString::to_string).collect::<Vec<_>>().join(","), have.to_string());
    }
}
