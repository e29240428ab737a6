//! Numbers for people.

use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a part of an address.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of a migration's page.
pub fn address(keyspace: &str, workflow: &str) -> String {
    format!("/app/{}/{}", part(keyspace), part(workflow))
}

/// A name as one part of an address.
pub fn part(name: &str) -> String {
    utf8_percent_encode(name, KEPT).to_string()
}

/// `1,234,567`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `17 B`, `1.2 GiB`.
pub fn bytes(number: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[allow(clippy::cast_precision_loss, reason = "rounded anyway")]
    let mut value = number.max(0) as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || value >= 100.0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

/// `12,300 rows/s`.
pub fn rate(rate: f64) -> String {
    if rate < 10.0 {
        return format!("{rate:.1} rows/s");
    }
    #[allow(clippy::cast_possible_truncation, reason = "rounded anyway")]
    let whole = rate.round() as i64;
    format!("{} rows/s", count(whole))
}

/// `45 s`, `2 min 5 s`, `3 h 20 min`, `12 d 4 h`.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let two = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {small}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// `63 %`; never rounded up to 100.
pub fn percent(percent: f64) -> String {
    format!("{:.0} %", percent.clamp(0.0, 100.0).floor())
}

/// A moment: the script turns it into its age.
pub fn moment(seconds: i64) -> Markup {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    let shown = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(time) title=(shown) data-at=(seconds) { (shown) } }
}

/// At most so many characters, with an ellipsis in the place of the rest.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// `1 stream`, `2 streams`.
pub fn several(number: usize, one: &str) -> String {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([count(0), count(999), count(1000), count(-1_234_567)], ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!([bytes(17), bytes(1536), bytes(250 << 20), bytes(-1)], ["17 B", "1.5 KiB", "250 MiB", "0 B"]);
        assert_eq!([rate(0.24), rate(12_345.6)], ["0.2 rows/s", "12,346 rows/s"]);
        let durations = [0, 59, 60, 125, 3600, 12_000, 86_400, 1_000_000].map(duration);
        assert_eq!(durations, ["0 s", "59 s", "1 min", "2 min 5 s", "1 h", "3 h 20 min", "1 d", "11 d 13 h"]);
        assert_eq!([percent(99.99), percent(100.0), percent(-1.0)], ["99 %", "100 %", "0 %"]);
        assert_eq!([several(1, "stream"), several(1200, "stream")], ["1 stream", "1,200 streams"]);
    }

    #[test]
    fn names_cannot_leave_their_part_of_an_address() {
        assert_eq!(address("a/b", "..?x#y\"<é>"), "/app/a%2Fb/..%3Fx%23y%22%3C%C3%A9%3E");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(
            moment(0).0,
            "<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01 00:00:00 UTC\" data-at=\"0\">1970-01-01 00:00:00 UTC</time>"
        );
    }
}
