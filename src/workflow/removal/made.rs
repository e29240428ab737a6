//! When tables were made, as a tablet's MySQL tells it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::topodata::Tablet;

use super::{CreatedObjects, Removal, Tables};
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::record::Stored;
use crate::workflow::record::made_at::{self, MadeAt, Then};
use crate::workflow::{Error, Result};

/// Tables named in one statement.
const AT_ONCE: usize = 1_000;
const MICROS: i64 = 1_000_000;
/// What clocks may differ by within a second.
const MARGIN: Duration = Duration::from_millis(5);

/// Tables that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// By name the second since the epoch at which each was made, where MySQL tells it.
    pub tables: BTreeMap<String, Option<i64>>,
    /// The time of that MySQL when it told, in microseconds since the epoch; `None` where no table is there.
    now: Option<i64>,
}

/// Asks which of some tables are there, and when they were made: one wave.
///
/// # Errors
/// The tablet's.
pub async fn read(context: &Context, on: &Tablet, tables: &[String]) -> tablet::Result<Made> {
    let mut made = Made::default();
    for some in tables.chunks(AT_ONCE) {
        let query = format!(
            "select table_name, unix_timestamp(create_time), unix_timestamp(now(6)) from information_schema.tables \
             where table_schema = database() and table_name in ({})",
            quote::literals(some.iter().map(String::as_str))
        );
        made.add(&context.tablets.read(on, query, some.len() as u64).await?);
    }
    Ok(made)
}

/// What tells some tables, in their order, from those that anybody makes once this has answered: one wave. It waits until the
/// second is over in which the last of them was made.
///
/// # Errors
/// The tablet's.
async fn then(context: &Context, on: &Tablet, tables: &[String]) -> tablet::Result<Vec<Then>> {
    let made = read(context, on, tables).await?;
    if let Some(rest) = made.rest() {
        tokio::time::sleep(rest).await;
    }
    Ok(tables.iter().map(|table| made.then(table)).collect())
}

impl Removal<'_> {
    /// When the tables were made that the record names.
    pub(super) async fn made_at(&self) -> Result<MadeAt> {
        let Some(Stored { facts, .. }) = &self.traces.mark else { return Ok(MadeAt::new()) };
        let shards = &self.target().keyspace.shards;
        let asked = shards.iter().map(|shard| async move {
            let then = then(self.context, shard.primary()?, &facts.tables).await?;
            Ok::<_, Error>((shard.name.clone(), then))
        });
        let (mut noted, mut errors) = (Vec::new(), Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(shard) => noted.push(shard),
                Err(error) => errors.push(error),
            }
        }
        Error::several(errors).map_or_else(|| Ok(made_at::note(&noted)), Err)
    }
}

impl CreatedObjects {
    /// Notes when tables were made that may be taken away from now on. What is not there is not taken.
    pub(super) fn note(&mut self, made_at: MadeAt) {
        let Self { mark, tables, .. } = self;
        let Some(Stored { facts, .. }) = mark else { return };
        facts.made_at = made_at;
        for (shard, tables) in tables {
            let noted = facts.noted_on(shard);
            let Tables { drop, drop_empty, empty, .. } = tables;
            for tables in [drop, drop_empty, empty] {
                tables.retain(|table| !noted.was_absent(table));
            }
        }
    }
}

impl Made {
    fn add(&mut self, result: &QueryResult) {
        for row in rows::texts(result) {
            let mut row = row.into_iter();
            let (Some(table), made, now) = (row.next().flatten(), row.next().flatten(), row.next().flatten()) else {
                continue;
            };
            let made = made.and_then(|made| micros(&made)).map(|made| made / MICROS);
            // the epoch itself is how MySQL says that it does not know
            self.tables.insert(table, made.filter(|made| *made > 0));
            self.now = now.and_then(|now| micros(&now)).max(self.now);
        }
    }

    fn second(&self) -> Option<i64> {
        self.now.map(|now| now / MICROS)
    }

    /// The rest of the second in which a table was made, when that is the present one.
    fn rest(&self) -> Option<Duration> {
        let second = self.second()?;
        let left = u64::try_from(MICROS - self.now? % MICROS).ok()?;
        let is_new = self.tables.values().any(|made| *made == Some(second));
        is_new.then(|| Duration::from_micros(left) + MARGIN)
    }

    fn then(&self, table: &str) -> Then {
        match (self.tables.get(table), self.second()) {
            (None, _) => Then::Absent,
            (Some(Some(made)), Some(second)) if *made <= second => Then::Made(*made),
            // by a clock that was ahead of this one
            (Some(_), _) => Then::Unclear,
        }
    }
}

/// Seconds with a fraction, in microseconds.
fn micros(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(MICROS)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(table: &[[Option<&str>; 3]]) -> Made {
        let row = |values: &[Option<&str>; 3]| rows::row(values.iter().map(|value| value.map(str::as_bytes)));
        let mut made = Made::default();
        made.add(&QueryResult { rows: table.iter().map(row).collect(), ..QueryResult::default() });
        made
    }

    #[test]
    fn tables_are_told_apart_by_the_second_in_which_they_were_made() {
        let now = Some("90.250000");
        let made = made(&[
            [Some("old"), Some("70"), now],
            [Some("unknown"), None, now],
            [Some("zero"), Some("0"), now],
            [Some("ahead"), Some("91"), now],
        ]);
        let then = ["old", "gone", "unknown", "zero", "ahead"].map(|table| made.then(table));
        assert_eq!(then, [Then::Made(70), Then::Absent, Then::Unclear, Then::Unclear, Then::Unclear]);
        assert_eq!(made.rest(), None);
        assert_eq!(Made::default().rest(), None);
    }

    #[test]
    fn a_second_that_is_not_over_is_waited_for() {
        let rows = [[Some("old"), Some("70"), Some("90.25")], [Some("new"), Some("90"), Some("90.25")]];
        assert_eq!(made(&rows).rest(), Some(Duration::from_millis(755)));
        assert_eq!(made(&rows).then("new"), Then::Made(90));
        // a later statement was answered in a later second
        let rows = [[Some("new"), Some("90"), Some("90.9")], [Some("old"), Some("70"), Some("91.1")]];
        assert_eq!(made(&rows).rest(), None);
    }

    #[test]
    fn times_have_any_number_of_digits() {
        assert_eq!(micros("17"), Some(17_000_000));
        assert_eq!(micros("17.5"), Some(17_500_000));
        assert_eq!(micros("17.1234567"), Some(17_123_456));
        for bad in ["", "x", "1.x", "99999999999999999999", "9999999999999999.0"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_told_of_times_is_read(
            at in "-?[0-9]{0,19}(\\.\\PC{0,8})?",
            now in "-?[0-9]{0,19}(\\.\\PC{0,8})?",
        ) {
            let made = made(&[[Some("t"), Some(&at), Some(&now)], [Some("u"), Some(&now), Some(&at)]]);
            prop_assert_ne!(made.then("t"), Then::Absent);
            prop_assert!(made.rest().is_none_or(|rest| rest <= Duration::from_secs(3)));
        }
    }
}
