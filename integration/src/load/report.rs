//! What the turns of one call came to: medians, and ratios of turns beside each other with their spread.

use std::fmt::Write;

use super::turn::Turn;

/// A figure of a turn.
type Figure = (&'static str, fn(&Turn) -> f64);

static FIGURES: [Figure; 12] = [
    ("calls/s", Turn::throughput),
    ("p50 ms", |turn| turn.within(0.5)),
    ("p99 ms", |turn| turn.within(0.99)),
    ("cpu ms", |turn| turn.cpu_per_call("server")),
    ("etcd ms", |turn| turn.cpu_per_call("etcd")),
    ("farm ms", |turn| turn.cpu_per_call("farm")),
    ("mysql ms", |turn| turn.cpu_per_call("mysql")),
    ("mysql source ms", |turn| turn.cpu_per_call("mysql source")),
    ("tablet ms", |turn| turn.cpu_per_call("tablet")),
    ("KiB/call", Turn::kibibytes_per_call),
    ("MiB", |turn| mebibytes(turn.resident)),
    ("files", |turn| f64::from(u32::try_from(turn.files).unwrap_or(u32::MAX))),
];

#[allow(clippy::cast_precision_loss, reason = "memory in bytes is far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A table of the medians of all figures that are not zero, a line for each server, and of ratios to the last server when
/// there are several: median, and lowest to highest of all rounds.
///
/// `rounds` has, for each round, a turn of each server.
#[must_use]
pub fn table(title: &str, servers: &[&str], rounds: &[Vec<Turn>]) -> String {
    let of =
        |server: usize, figure: fn(&Turn) -> f64| rounds.iter().filter_map(move |turns| turns.get(server).map(figure));
    let zero = |figure: fn(&Turn) -> f64| (0..servers.len()).all(|server| of(server, figure).all(|value| value <= 0.0));
    let shown: Vec<&Figure> = FIGURES.iter().filter(|(_, figure)| !zero(*figure)).collect();
    let width = servers.iter().map(|name| name.len()).max().unwrap_or_default().max("ratio".len());
    let mut text = format!("{title}\n{:width$}", "");
    for (name, _) in &shown {
        let _ = write!(text, " {name:>18}");
    }
    for (number, server) in servers.iter().enumerate() {
        let _ = write!(text, "\n{server:width$}");
        for (_, figure) in &shown {
            let _ = write!(text, " {:>18.3}", median(of(number, *figure)));
        }
    }
    let last = servers.len().saturating_sub(1);
    for server in 0..last {
        let _ = write!(text, "\n{:width$}", "ratio");
        for (_, figure) in &shown {
            let pairs = of(server, *figure).zip(of(last, *figure)).filter(|(_, other)| *other > 0.0);
            let ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
            let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), r| (low.min(*r), high.max(*r)));
            let spread = if ratios.is_empty() {
                "-".to_owned()
            } else {
                format!("{:.2} [{low:.2}–{high:.2}]", median(ratios))
            };
            let _ = write!(text, " {spread:>18}");
        }
    }
    text + "\n"
}

/// The value in the middle; 0 of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use hdrhistogram::Histogram;

    use super::*;

    fn turn(calls: u64, millis: u64) -> Turn {
        let mut times = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        times.record_n(1000, calls).unwrap();
        let cpu = BTreeMap::from([("server".to_owned(), Duration::from_millis(millis))]);
        Turn { times, seconds: 2.0, bytes: 0, cpu, resident: 1 << 20, files: 7 }
    }

    #[test]
    fn ratios_are_of_turns_beside_each_other() {
        let rounds = vec![vec![turn(200, 100), turn(100, 100)], vec![turn(300, 100), turn(100, 100)]];
        let text = table("MountShow", &["ours", "stock"], &rounds);
        assert!(text.contains("ours "), "{text}");
        assert!(text.contains("3.00 [2.00–3.00]"), "{text}");
        // half a millisecond, then a third of one, against one
        assert!(text.contains("0.50 [0.33–0.50]"), "{text}");
        assert!(!text.contains("mysql"), "{text}");
    }
}
