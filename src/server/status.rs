//! The one road from an error to a gRPC status.

use std::collections::HashMap;

use tonic::metadata::MetadataValue;
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt};

use crate::error::{Code, Explain};

/// Longest error text, in bytes.
const MAX_TEXT: usize = 4096;
/// Longest help, in bytes: it travels twice, behind the text and by itself.
const MAX_HELP: usize = 2048;

/// Trailer by which a handler tells the router that this call is for the fallback. It never leaves the program.
pub(super) const HAND_ON: &str = "vtmigrated-hand-on";

/// Text, code and typed details (ErrorInfo, PreconditionFailure, Help) of an error.
///
/// The help follows the text on a line of its own: the stock client shows nothing but the text. VTAdmin and logs show the first
/// line only, so that one says what failed, whatever a tablet or a library has put line ends into.
pub fn status(error: &dyn Explain) -> Status {
    let help = cut(error.help(), MAX_HELP);
    let mut text = cut(error.to_string(), MAX_TEXT);
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason(), "vtmigrated", HashMap::new());
    if !help.is_empty() {
        text = format!("{text}\n{help}");
        details.add_help_link(help, "");
    }
    let text = headed(text);
    let violations: Vec<PreconditionViolation> = error
        .violations()
        .into_iter()
        .map(|(kind, subject, text)| PreconditionViolation::new(kind, subject, text))
        .collect();
    if !violations.is_empty() {
        details.set_precondition_failure(violations);
    }
    let mut status = Status::with_error_details(grpc(error.code()), text, details);
    if error.handed_on() {
        status.metadata_mut().insert(HAND_ON, MetadataValue::from_static("1"));
    }
    status
}

/// The beginning of a text that is longer than some bytes.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str(" [truncated]");
    }
    text
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
    tracing::warn!(error.code = %error.code(), error.reason = error.reason(), detail = %error, "call failed");
    status(error)
}

/// The same code on the wire.
pub(super) fn grpc(code: Code) -> GrpcCode {
    match code {
        Code::Cancelled => GrpcCode::Cancelled,
        Code::Unknown => GrpcCode::Unknown,
        Code::InvalidArgument => GrpcCode::InvalidArgument,
        Code::DeadlineExceeded => GrpcCode::DeadlineExceeded,
        Code::NotFound => GrpcCode::NotFound,
        Code::AlreadyExists => GrpcCode::AlreadyExists,
        Code::PermissionDenied => GrpcCode::PermissionDenied,
        Code::ResourceExhausted => GrpcCode::ResourceExhausted,
        Code::FailedPrecondition => GrpcCode::FailedPrecondition,
        Code::Aborted => GrpcCode::Aborted,
        Code::Unimplemented => GrpcCode::Unimplemented,
        Code::Internal => GrpcCode::Internal,
        Code::Unavailable => GrpcCode::Unavailable,
        Code::DataLoss => GrpcCode::DataLoss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Error;

    #[test]
    fn long_texts_and_long_helps_are_cut() {
        let short = status(&Error::precondition("X", "y".repeat(MAX_TEXT), "é".repeat(MAX_HELP / 2)));
        assert!(!short.message().contains("[truncated]"));
        let long = status(&Error::precondition("X", "y".repeat(MAX_TEXT + 1), "é".repeat(MAX_HELP)));
        assert_eq!(long.message().matches(" [truncated]").count(), 2);
        assert_eq!(long.message().chars().filter(|c| *c == 'é').count(), MAX_HELP / 2);
        let details = long.get_error_details();
        let lengths: Vec<usize> = details.help().unwrap().links.iter().map(|link| link.description.len()).collect();
        assert_eq!(lengths, [MAX_HELP + " [truncated]".len()]);
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
        let refused = status(&Error::precondition("X", "it is not so:", "make it so"));
        assert_eq!(refused.message(), "it is not so: make it so");
        let refused = status(&Error::precondition("X", "it is not so", "make it so"));
        assert_eq!(refused.message(), "it is not so\nmake it so");
    }
}
