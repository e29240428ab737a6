//! Failures of tablet calls.

use std::sync::OnceLock;

use regex::Regex;

use crate::error::{Code, Explain};

/// Why a tablet call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The tablet answered with an error: its own text, which names method and tablet already.
    #[error("{message}")]
    Answered { alias: String, method: &'static str, code: Code, message: String },
    /// There is no answer.
    #[error("tablet {alias} at {address} cannot be reached for {method}: {detail}")]
    Unreachable { alias: String, address: String, method: &'static str, detail: String },
    /// The answer took too long.
    #[error("context deadline exceeded: tablet {alias} at {address} did not answer {method} within {seconds} s")]
    Slow { alias: String, address: String, method: &'static str, seconds: u64 },
}

impl Error {
    /// The tablet's alias.
    pub fn alias(&self) -> &str {
        match self {
            Self::Answered { alias, .. } | Self::Unreachable { alias, .. } | Self::Slow { alias, .. } => alias,
        }
    }

    /// True when MySQL said that a table is not there (errors 1146 and 1051). Vitess carries that in the text only.
    pub fn is_missing_table(&self) -> bool {
        static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
        let pattern = PATTERN.get_or_init(|| Regex::new(r"\(errno (1146|1051)\) \(sqlstate [0-9A-Z]{5}\)").ok());
        pattern.as_ref().is_some_and(|pattern| pattern.is_match(&self.to_string()))
    }

    /// True when the tablet gave no answer, so that it is unknown whether it acted.
    pub fn is_silent(&self) -> bool {
        !matches!(self, Self::Answered { .. })
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            // tablets answer UNKNOWN for everything
            Self::Answered { code: Code::Unknown, .. } => Code::Internal,
            Self::Answered { code, .. } => *code,
            Self::Unreachable { .. } => Code::Unavailable,
            Self::Slow { .. } => Code::DeadlineExceeded,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "TABLET_ERROR",
            Self::Unreachable { .. } => "TABLET_UNREACHABLE",
            Self::Slow { .. } => "TABLET_SLOW",
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Answered { .. } => String::new(),
            _ => format!("check that the vttablet {} runs, then run the command again", self.alias()),
        }
    }
}
