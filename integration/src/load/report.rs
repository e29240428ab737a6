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

/// A table in Markdown of the medians of all figures that are not zero, a line for each server, and of ratios to the last server
/// when there are several: median, and lowest to highest of all rounds.
///
/// `rounds` has, for each round, a turn of each server.
#[must_use]
pub fn table(title: &str, servers: &[&str], rounds: &[Vec<Turn>]) -> String {
    let of =
        |server: usize, figure: fn(&Turn) -> f64| rounds.iter().filter_map(move |turns| turns.get(server).map(figure));
    let zero = |figure: fn(&Turn) -> f64| (0..servers.len()).all(|server| of(server, figure).all(|value| value <= 0.0));
    let shown: Vec<&Figure> = FIGURES.iter().filter(|(_, figure)| !zero(*figure)).collect();
    let mut lines = vec![cells("", shown.iter().map(|(name, _)| (*name).to_owned()))];
    for (number, server) in servers.iter().enumerate() {
        lines.push(cells(server, shown.iter().map(|(_, figure)| format!("{:.3}", median(of(number, *figure))))));
    }
    if let Some((last, others)) = servers.split_last() {
        for (number, server) in others.iter().enumerate() {
            let ratios = shown.iter().map(|(_, figure)| ratio(of(number, *figure).zip(of(others.len(), *figure))));
            lines.push(cells(&format!("{server} / {last}"), ratios));
        }
    }
    format!("### {title}\n\n{}", markdown(&lines))
}

/// A line of a table, with its name.
fn cells(name: &str, others: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(others).collect()
}

/// Ratios of values beside each other: their median, and the lowest and highest.
fn ratio(pairs: impl Iterator<Item = (f64, f64)>) -> String {
    let ratios: Vec<f64> = pairs.filter(|(_, other)| *other > 0.0).map(|(one, other)| one / other).collect();
    let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), r| (low.min(*r), high.max(*r)));
    if ratios.is_empty() { "-".to_owned() } else { format!("{:.2} [{low:.2}–{high:.2}]", median(ratios)) }
}

/// A table in Markdown that can be read as it is. The first line is its head.
fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, width) in widths.iter().copied().enumerate() {
            let cell = line.get(column).map_or("", String::as_str);
            let _ = if column == 0 { write!(text, "| {cell:width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().copied().enumerate() {
                text.push_str(if column == 0 { "|-" } else { "|" });
                text.push_str(&"-".repeat(width + 1));
                text.push_str(if column == 0 { "" } else { ":" });
            }
            text.push_str("|\n");
        }
    }
    text
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
        assert!(text.starts_with("### MountShow\n\n|              |"), "{text}");
        assert!(text.contains("\n| ours         |") && text.contains("\n| ours / stock |"), "{text}");
        assert!(text.contains("3.00 [2.00–3.00]"), "{text}");
        // half a millisecond, then a third of one, against one
        assert!(text.contains("0.50 [0.33–0.50]"), "{text}");
        assert!(!text.contains("mysql"), "{text}");
    }

    #[test]
    fn tables_are_aligned() {
        let line = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = markdown(&[line(["", "ms"]), line(["ours", "0.5 [1–2]"])]);
        assert_eq!(text, "|      |        ms |\n|------|----------:|\n| ours | 0.5 [1–2] |\n");
    }
}
