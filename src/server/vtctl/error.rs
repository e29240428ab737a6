//! Failures of commands.

use super::flags;
use crate::error::{Code, Explain};
use crate::{cluster, topo, workflow};

/// Why a command failed. Where stock has a text, ours begins with it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Workflow(#[from] workflow::Error),
    #[error(transparent)]
    Flags(#[from] flags::Error),
    /// Arguments that cannot be served.
    #[error("{text}")]
    Usage { text: String, help: String },
    /// A command, or an action of one, that is left to stock vtctlds.
    #[error("{text}")]
    NotServed { text: String, help: String },
    /// Something happened that the client should know of as a failure.
    #[error("{text}")]
    Failed { code: Code, reason: &'static str, text: String, help: String },
}

impl Error {
    /// Arguments that cannot be served.
    pub fn usage(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { text: text.into(), help: help.into() }
    }

    /// What is forwarded when a fallback is named.
    pub fn not_served(text: impl Into<String>) -> Self {
        let help = "see help for what is served here; name a stock vtctld of the same cluster with \
                    --fallback-vtctld-server, which everything else is then forwarded to";
        Self::NotServed { text: text.into(), help: help.into() }
    }

    fn explained(&self) -> Option<&dyn Explain> {
        match self {
            Self::Cluster(error) => Some(error),
            Self::Workflow(error) => Some(error),
            _ => None,
        }
    }
}

impl From<topo::Error> for Error {
    fn from(error: topo::Error) -> Self {
        Self::Cluster(error.into())
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::NotServed { .. } => Code::Unimplemented,
            Self::Failed { code, .. } => *code,
            other => other.explained().map_or(Code::InvalidArgument, Explain::code),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NotServed { .. } => "COMMAND_NOT_SERVED",
            Self::Failed { reason, .. } => reason,
            other => other.explained().map_or("BAD_ARGUMENT", Explain::reason),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Usage { help, .. } | Self::NotServed { help, .. } | Self::Failed { help, .. } => help.clone(),
            other => other.explained().map(Explain::help).unwrap_or_default(),
        }
    }

    fn is_forwarded(&self) -> bool {
        matches!(self, Self::NotServed { .. }) || self.explained().is_some_and(Explain::is_forwarded)
    }

    fn violations(&self) -> Vec<(String, String, String)> {
        self.explained().map(Explain::violations).unwrap_or_default()
    }
}
