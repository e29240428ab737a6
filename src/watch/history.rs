//! What is remembered of a migration between rounds: lags, and what the rates are made of.

use std::collections::{BTreeMap, VecDeque};

use super::snapshot::Point;

/// Points of a stream's lag that are kept.
const POINTS: usize = 120;
/// Points of all streams of a migration together.
const ALL_POINTS: usize = 65_536;
/// Rates are those of so many milliseconds.
const WINDOW: i64 = 60_000;
/// Points of a window that are kept.
const RATES: usize = 16;

/// Names a stream: target shard, source shard, id.
pub type StreamKey = (String, String, i32);

/// History of one migration.
#[derive(Clone, Debug, Default)]
pub struct History {
    lags: BTreeMap<StreamKey, VecDeque<Point>>,
    rows: BTreeMap<String, VecDeque<(i64, i64)>>,
    all_rows: VecDeque<(i64, i64)>,
}

impl History {
    /// Notes the lags of all streams that there are and forgets the others.
    pub fn note_lags(&mut self, at: i64, lags: impl Iterator<Item = (StreamKey, Option<i64>)>) {
        let mut kept = BTreeMap::new();
        for (key, lag) in lags {
            let mut points = self.lags.remove(&key).unwrap_or_default();
            if let Some(lag) = lag {
                points.push_back(Point { at, lag });
            }
            kept.insert(key, points);
        }
        let most = (ALL_POINTS / kept.len().max(1)).clamp(2, POINTS);
        for points in kept.values_mut() {
            while points.len() > most {
                points.pop_front();
            }
        }
        self.lags = kept;
    }

    /// The lags of a stream, oldest first.
    pub fn lags(&self, key: &StreamKey) -> Vec<Point> {
        self.lags.get(key).map(|points| points.iter().copied().collect()).unwrap_or_default()
    }

    /// Notes the rows of a table and answers its rate; `None` until there is one. `now` is in milliseconds.
    pub fn rate(&mut self, table: &str, now: i64, rows: i64) -> Option<f64> {
        rate(self.rows.entry(table.to_owned()).or_default(), now, rows)
    }

    /// Forgets a table that is not being copied.
    pub fn rest(&mut self, table: &str) {
        self.rows.remove(table);
    }

    /// The rate of all tables together.
    pub fn rate_of_all(&mut self, now: i64, rows: i64) -> Option<f64> {
        rate(&mut self.all_rows, now, rows)
    }
}

/// Rows in a second over the window that ends now.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn rate(points: &mut VecDeque<(i64, i64)>, now: i64, rows: i64) -> Option<f64> {
    if points.back().is_some_and(|(at, seen)| *at >= now || *seen > rows) {
        // another copy, or a clock that was set back
        points.clear();
    }
    points.push_back((now, rows));
    // the oldest one is at or before the beginning of the window
    while points.len() > RATES || points.get(1).is_some_and(|(at, _)| *at <= now - WINDOW) {
        points.pop_front();
    }
    let (at, seen) = *points.front()?;
    let (seconds, grown) = ((now - at) as f64 / 1000.0, (rows - seen) as f64);
    (seconds >= 0.5 && grown > 0.0).then(|| grown / seconds)
}

/// Seconds that the rest takes at a rate; `None` past a year.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate of at most a year")]
pub fn seconds_left(rest: i64, rate: Option<f64>) -> Option<i64> {
    let left = (rest.max(0) as f64 / rate.filter(|rate| *rate > 0.0)?).ceil();
    (left < 365.0 * 86_400.0).then_some(left as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: i32) -> StreamKey {
        ("-80".into(), "0".into(), id)
    }

    #[test]
    fn lags_are_bounded_and_those_of_gone_streams_forgotten() {
        let mut memory = History::default();
        for at in 0..500 {
            memory.note_lags(at, [(key(1), Some(at)), (key(2), None)].into_iter());
        }
        let lags = memory.lags(&key(1));
        assert_eq!((lags.len(), lags[0].at, lags[POINTS - 1].lag), (POINTS, 380, 499));
        assert!(memory.lags(&key(2)).is_empty());
        memory.note_lags(500, std::iter::once((key(2), Some(1))));
        assert!(memory.lags(&key(1)).is_empty());
        let many = || (0..10_000).map(|id| (key(id), Some(1)));
        for at in 0..20 {
            memory.note_lags(at, many());
        }
        assert_eq!(memory.lags(&key(7)).len(), ALL_POINTS / 10_000);
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let mut memory = History::default();
        assert_eq!(memory.rate("t", 0, 0), None);
        assert_eq!(memory.rate("t", 10_000, 1000), Some(100.0));
        for step in 2..20 {
            memory.rate("t", step * 10_000, 1000 + (step - 1) * 500);
        }
        assert_eq!(memory.rate("t", 200_000, 10_500), Some(50.0));
        // it stands still
        for step in 21..40 {
            memory.rate("t", step * 10_000, 10_500);
        }
        assert_eq!(memory.rate("t", 400_000, 10_500), None);
        // it began anew
        assert_eq!(memory.rate("t", 410_000, 10), None);
        memory.rest("t");
        assert_eq!(memory.rate("t", 420_000, 20), None);
    }

    #[test]
    fn time_left_is_none_without_a_rate() {
        assert_eq!(seconds_left(100, Some(30.0)), Some(4));
        assert_eq!(seconds_left(100, None), None);
        assert_eq!(seconds_left(i64::MAX, Some(0.001)), None);
        assert_eq!(seconds_left(-1, Some(1.0)), Some(0));
    }
}
