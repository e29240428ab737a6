//! Failures of commands.

use super::flags;
use crate::error::{Code, Explain, Reason, Violation};
use crate::{failure, topo};

/// Why a command failed. Where stock has a text, ours begins with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Failure(#[from] failure::Error),
    #[error(transparent)]
    Flags(#[from] flags::Error),
}

impl Error {
    /// Arguments that cannot be served.
    pub fn usage(text: impl Into<String>, help: impl Into<String>) -> Self {
        failure::Error::invalid(Reason::BAD_ARGUMENT, text, help).into()
    }

    /// A command, or an action of one, that is forwarded when a fallback is named.
    pub fn not_served(text: impl Into<String>) -> Self {
        let help = "see help for what is served here; to forward everything else, name a stock vtctld of the same \
            cluster with --fallback-vtctld-server";
        failure::Error::not_served(Reason::COMMAND_NOT_SERVED, text, help).into()
    }

    /// Something happened that the client should know of as a failure.
    pub fn failed(code: Code, reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        failure::Error::refused(code, reason, text, help).into()
    }

    fn failure(&self) -> Option<&failure::Error> {
        match self {
            Self::Failure(error) => Some(error),
            Self::Flags(_) => None,
        }
    }
}

impl From<topo::Error> for Error {
    fn from(error: topo::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        self.failure().map_or(Code::InvalidArgument, Explain::code)
    }

    fn reason(&self) -> Reason {
        self.failure().map_or(Reason::BAD_ARGUMENT, Explain::reason)
    }

    fn help(&self) -> String {
        self.failure().map(Explain::help).unwrap_or_default()
    }

    fn is_forwarded(&self) -> bool {
        self.failure().is_some_and(Explain::is_forwarded)
    }

    fn violations(&self) -> Vec<Violation> {
        self.failure().map(Explain::violations).unwrap_or_default()
    }
}
