//! What every error of this program can be asked: its code, whether trying again helps, and what to do next.
//!
//! Each module has its own error enum whose `Display` is the text that the client sees; the operations share one
//! (`failure.rs`). [`Explain`] is the one road from there to a gRPC status (`server/status.rs`).

pub mod check;
mod code;
mod reason;

pub use check::{CHECKS, Check, Severity};
pub use code::Code;
pub use reason::{REASONS, Reason};

/// Questions that are independent of an error's text.
pub trait Explain: std::error::Error {
    /// The gRPC code.
    fn code(&self) -> Code;

    /// A stable word in capitals for programs, such as `TOPO_NODE_MISSING`.
    fn reason(&self) -> Reason;

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

    /// What stands in the way, for `PreconditionFailure` details.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: Reason,
    /// What it is about: `shard customer/-80`, `table corder`.
    pub subject: String,
    pub text: String,
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
