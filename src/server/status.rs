//! The one road from an error to a gRPC status.

use std::collections::HashMap;

use tonic::metadata::MetadataValue;
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt};

use crate::error::{Explain, Reason, Violation};

/// Longest error text, in bytes.
const MAX_TEXT: usize = 4096;
/// Longest help, in bytes: it travels three times, behind the text, which the details repeat, and by itself.
const MAX_HELP: usize = 2048;
/// Most bytes of the text and of the details as trailers: clients take 8 KiB of headers, as grpc-java does, or fail with another
/// error.
const MAX_TRAILERS: usize = 7 * 1024;
/// So much of a help is told before the text is cut, in bytes.
const MIN_HELP: usize = 512;
/// So much of a violation's subject, and of its text, is told before the help is cut, in bytes.
const MIN_VIOLATION: usize = 128;

/// Trailer by which a handler tells the router that this call is for the fallback. It never leaves the program.
pub(super) const FORWARD: &str = "vtmigrated-forward";

/// Leaves so much of something that is told.
type Shorten = fn(&mut StatusParts, usize);

/// Text, code and typed details (ErrorInfo, PreconditionFailure, Help) of an error.
///
/// The help follows the text on a line of its own: the stock client shows nothing but the text. VTAdmin and logs show the first
/// line only, so that one says what failed, whatever a tablet or a library has put line ends into.
///
/// Text and details together are never longer than clients take: what does not fit is cut, and texts say so.
pub fn status(error: &dyn Explain) -> Status {
    let mut status = StatusParts::of(error).fitting().status();
    if error.is_forwarded() {
        status.metadata_mut().insert(FORWARD, MetadataValue::from_static("1"));
    }
    status
}

/// What is told of an error.
#[derive(Clone)]
struct StatusParts {
    code: GrpcCode,
    reason: Reason,
    text: String,
    help: String,
    violations: Vec<Violation>,
}

impl StatusParts {
    fn of(error: &dyn Explain) -> Self {
        let mut told = Self {
            code: error.code().grpc(),
            reason: error.reason(),
            text: error.to_string(),
            help: error.help(),
            violations: error.violations(),
        };
        cut(&mut told.text, MAX_TEXT);
        cut(&mut told.help, MAX_HELP);
        told
    }

    fn status(&self) -> Status {
        let mut text = self.text.clone();
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason.as_str(), "vtmigrated", HashMap::new());
        if !self.help.is_empty() {
            text = format!("{text}\n{}", self.help);
            details.add_help_link(self.help.clone(), "");
        }
        let violation = |v: &Violation| PreconditionViolation::new(v.reason.as_str(), &v.subject, &v.text);
        let violations: Vec<PreconditionViolation> = self.violations.iter().map(violation).collect();
        if !violations.is_empty() {
            details.set_precondition_failure(violations);
        }
        Status::with_error_details(self.code, headed(text), details)
    }

    /// The same, short enough: first fewer violations, down to one, then a shorter one, a shorter help, and a shorter text.
    fn fitting(mut self) -> Self {
        let steps: [(usize, usize, Shorten); 4] = [
            (1, self.violations.len(), |told, most| told.violations.truncate(most)),
            (MIN_VIOLATION, MAX_HELP, |told, most| {
                for violation in &mut told.violations {
                    cut(&mut violation.subject, most);
                    cut(&mut violation.text, most);
                }
            }),
            (MIN_HELP, MAX_HELP, |told, most| cut(&mut told.help, most)),
            (0, MAX_TEXT, |told, most| cut(&mut told.text, most)),
        ];
        for (least, most, shorten) in steps {
            if self.fits() {
                break;
            }
            self = self.shortened((least, most), shorten);
        }
        self
    }

    /// That form between the least and the most of something that is the longest one to fit, or the least where none does.
    fn shortened(self, (mut least, mut most): (usize, usize), shorten: Shorten) -> Self {
        let form = |length| {
            let mut told = self.clone();
            shorten(&mut told, length);
            told
        };
        while least < most {
            let middle = most - (most - least) / 2;
            match form(middle).fits() {
                true => least = middle,
                false => most = middle - 1,
            }
        }
        form(least)
    }

    fn fits(&self) -> bool {
        let status = self.status();
        escaped(status.message()) + encoded(status.details()) <= MAX_TRAILERS
    }
}

/// Bytes of a text in the trailer `grpc-message`, as tonic writes it.
fn escaped(text: &str) -> usize {
    let is_plain = |byte: u8| {
        let special = matches!(byte, b' ' | b'"' | b'#' | b'%' | b'<' | b'>' | b'`' | b'?' | b'{' | b'}');
        byte.is_ascii() && !byte.is_ascii_control() && !special
    };
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

/// Bytes of details in the trailer `grpc-status-details-bin`: base64 without padding.
fn encoded(details: &[u8]) -> usize {
    (details.len() * 4).div_ceil(3)
}

/// Leaves the beginning of a text that is longer than some bytes.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" [truncated]");
    }
}

/// The same text, a first line that only leads to the next one joined with it.
fn headed(mut text: String) -> String {
    let leads_on = |line: &str| line.is_empty() || line.ends_with([':', '{', '[', '(', ',']);
    while let Some((first, rest)) = text.split_once('\n').filter(|(first, _)| leads_on(first.trim_end())) {
        text = format!("{} {}", first.trim_end(), rest.trim_start()).trim_start().to_owned();
    }
    text
}

/// The same, told in the log.
pub fn logged(error: &dyn Explain) -> Status {
    tracing::warn!(error.code = %error.code(), error.reason = error.reason().as_str(), detail = %error, "call failed");
    status(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Error;

    #[test]
    fn long_texts_and_long_helps_are_cut() {
        let short = status(&Error::precondition(Reason::BAD_ARGUMENT, "y".repeat(1000), "é".repeat(200)));
        assert!(!short.message().contains("[truncated]"));
        let long = status(&Error::precondition(Reason::BAD_ARGUMENT, "y".repeat(MAX_TEXT + 1), "é".repeat(MAX_HELP)));
        assert_eq!(long.message().matches(" [truncated]").count(), 2);
        assert_eq!(long.message().chars().filter(|c| *c == 'é').count(), MIN_HELP / 2);
        let details = long.get_error_details();
        let lengths: Vec<usize> = details.help().unwrap().links.iter().map(|link| link.description.len()).collect();
        assert_eq!(lengths, [MIN_HELP + " [truncated]".len()]);
    }

    /// A refusal of these lengths, in some unit, for so many streams.
    fn refusal(unit: &str, text: usize, help: usize, streams: usize) -> crate::failure::Error {
        let violation = |id: usize| Violation {
            reason: Reason::COPYING,
            subject: format!("customer/{id:02x} stream {id}"),
            text: unit.repeat(100),
        };
        crate::failure::Error::Blocked {
            reason: Reason::WORKFLOW_NOT_DONE,
            text: format!("cannot complete workflow import: {}", unit.repeat(text)),
            help: format!("COPYING: {}", unit.repeat(help)),
            violations: (0..streams).map(violation).collect(),
        }
    }

    /// Bytes of the text and of the details as they are sent.
    fn trailers(status: &Status) -> usize {
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let sent = ["grpc-message", "grpc-status-details-bin"].map(|name| headers.get(name).unwrap().len());
        assert_eq!(sent, [escaped(status.message()), encoded(status.details())]);
        sent.iter().sum()
    }

    #[test]
    fn the_longest_refusals_fit_into_the_headers_that_clients_take() {
        for unit in ["y", "a b ", "% ", "é", "表", "\u{1}"] {
            for (text, help, streams) in
                [(10, 10, 1), (10, 10, 64), (500, 300, 64), (10, 2000, 64), (5000, 10, 1), (5000, 5000, 64)]
            {
                let told = status(&refusal(unit, text, help, streams));
                let bytes = trailers(&told);
                assert!(bytes <= MAX_TRAILERS, "{bytes} bytes of {unit:?} {text} {help} {streams}");
                assert!(told.message().starts_with("cannot complete workflow import: "), "{told:?}");
                let details = told.get_error_details();
                assert_eq!(details.error_info().unwrap().reason, "WORKFLOW_NOT_DONE");
                assert!(details.help().unwrap().links[0].description.starts_with("COPYING: "));
                let violation = &details.precondition_failure().unwrap().violations[0];
                assert_eq!(
                    (violation.r#type.as_str(), violation.subject.as_str()),
                    ("COPYING", "customer/00 stream 0")
                );
            }
        }
    }

    #[test]
    fn the_list_of_what_blocks_is_shortened_first_then_the_help_then_the_text() {
        let shown = |text: usize, help: usize, streams: usize| {
            let told = status(&refusal("y", text, help, streams));
            let details = told.get_error_details();
            let is_cut = |text: &str| text.ends_with(" [truncated]");
            let help = &details.help().unwrap().links[0].description;
            let listed = details.precondition_failure().unwrap().violations.len();
            (listed, is_cut(help), is_cut(told.message().lines().next().unwrap()))
        };
        assert_eq!(shown(10, 10, 12), (12, false, false));
        let (listed, help, text) = shown(1000, 200, 64);
        assert!((2..64).contains(&listed) && !help && !text, "{listed}");
        assert_eq!(shown(1000, 2000, 64), (1, true, false));
        assert_eq!(shown(4000, 2000, 64), (1, true, true));
    }

    #[test]
    fn the_first_line_stands_alone() {
        for (text, shown) in [
            ("one line", "one line"),
            ("it failed\nfor two reasons", "it failed\nfor two reasons"),
            ("it failed:\n  because\nof this", "it failed: because\nof this"),
            ("result: {\n  \"a\": [\n    1\n  ]\n}", "result: { \"a\": [ 1\n  ]\n}"),
            ("\n\nlate", "late"),
            (":\n:\n", ": : "),
        ] {
            assert_eq!(headed(text.to_owned()), shown);
        }
        let refused = status(&Error::precondition(Reason::BAD_ARGUMENT, "it is not so:", "make it so"));
        assert_eq!(refused.message(), "it is not so: make it so");
        let refused = status(&Error::precondition(Reason::BAD_ARGUMENT, "it is not so", "make it so"));
        assert_eq!(refused.message(), "it is not so\nmake it so");
    }
}
