//! What a server holds while time goes by: memory, files, connections. Flat is what does not grow over the second half.

use std::{fmt, io};

use super::{process, report::median};

/// Growth that is none: memory is counted in pages of several threads, connections come and go.
const MEMORY: f64 = (8 << 20) as f64;
const FILES: f64 = 16.0;
/// And this part of what there was.
const PART: f64 = 0.1;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Resident memory in bytes.
    pub resident: u64,
    pub files: usize,
    pub sockets: usize,
}

impl Held {
    /// What it holds now.
    ///
    /// # Errors
    /// It does not run.
    pub fn now(pid: u32) -> io::Result<Self> {
        Ok(Self {
            resident: process::resident(pid)?,
            files: process::open_files(pid)?,
            sockets: process::sockets(pid)?,
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB, {} files, {} sockets", self.resident / 1024, self.files, self.sockets)
    }
}

type Figure = fn(&Held) -> f64;

/// What has grown from the third quarter of a series to the last one, by medians, and by more than a little; in words.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "memory in bytes is far below 2^52")]
pub fn grown(series: &[Held]) -> Vec<String> {
    let figures: [(&str, f64, Figure); 3] = [
        ("bytes resident", MEMORY, |held| held.resident as f64),
        ("files", FILES, |held| held.files as f64),
        ("sockets", FILES, |held| held.sockets as f64),
    ];
    let (third, last) = (series.len() / 2, series.len() * 3 / 4);
    let growth = |(what, little, figure): (&str, f64, Figure)| {
        let before = median(series[third..last].iter().map(figure));
        let after = median(series[last..].iter().map(figure));
        (after > before * (1.0 + PART) + little).then(|| format!("{after:.0} {what} after {before:.0}"))
    };
    figures.into_iter().filter_map(growth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(resident: impl Fn(u64) -> u64, files: impl Fn(usize) -> usize) -> Vec<Held> {
        (0..40).map(|at| Held { resident: resident(at), files: files(at as usize), sockets: 9 }).collect()
    }

    #[test]
    fn what_grows_in_the_second_half_is_told() {
        let mebibytes = |count: u64| count << 20;
        // it has what it needs after the first half
        assert_eq!(grown(&series(|at| mebibytes(at.min(20)), |_| 50)), Vec::<String>::new());
        assert_eq!(grown(&series(|at| mebibytes(at * 2), |_| 50)).len(), 1);
        assert_eq!(grown(&series(|_| mebibytes(20), |at| at * 4)), ["140 files after 100"]);
        assert!(grown(&[]).is_empty());
    }

    #[test]
    fn this_process_holds_something() {
        let held = Held::now(std::process::id()).unwrap();
        assert!(held.resident > 0 && held.files > 0, "{held}");
    }
}
