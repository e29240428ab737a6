//! What every error of this program can be asked: its code, whether trying again helps, and what to do next.
//!
//! Each module has its own error enum whose `Display` is the text that the client sees. [`Explain`] is the one road from
//! there to a gRPC status (`server/status.rs`).

use std::fmt;

/// Meaning of a failure, in the terms of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Questions that are independent of an error's text.
pub trait Explain: std::error::Error {
    /// The gRPC code.
    fn code(&self) -> Code;

    /// A stable word in capitals for programs, such as `TOPO_NODE_MISSING`.
    fn reason(&self) -> &'static str;

    /// What the user can do next, as one sentence or a command; empty when the text says it all.
    fn help(&self) -> String {
        String::new()
    }

    /// True when the same call may succeed later without anything being changed.
    fn retryable(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Aborted)
    }

    /// True when a stock vtctld serves this case: with `--fallback-vtctld-server` the call is forwarded to it. Only before
    /// the first side effect.
    fn is_forwarded(&self) -> bool {
        false
    }

    /// Ids of what stands in the way, for `PreconditionFailure` details: (type, subject, description).
    fn violations(&self) -> Vec<(String, String, String)> {
        Vec::new()
    }
}

/// An error's text followed by its innermost cause, which carries what the operating system said.
pub fn with_cause(text: &str, error: &dyn std::error::Error) -> String {
    let mut source = error.source();
    let mut innermost = None;
    while let Some(cause) = source {
        innermost = Some(cause.to_string());
        source = cause.source();
    }
    match innermost {
        Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
        _ => text.to_owned(),
    }
}
