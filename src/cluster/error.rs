//! Failures of operations on the cluster. Where stock has a text, ours begins with it.

use crate::error::{Code, Explain};
use crate::{tablet, topo, vschema};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Topo(#[from] topo::Error),
    #[error(transparent)]
    Tablet(#[from] tablet::Error),
    #[error(transparent)]
    VSchema(#[from] vschema::Error),
    /// A failure while something named was done: `doing: inner`, as stock wraps.
    #[error("{doing}: {inner}")]
    While { doing: String, inner: Box<Error> },
    /// Several things failed at the same time; texts are sorted and joined by line ends, as stock does.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
    /// The request, or the state of things, does not allow it.
    #[error("{text}")]
    Refused { code: Code, reason: &'static str, text: String, help: String },
    /// A case of an RPC that is left to stock vtctlds; said before the first side effect.
    #[error("{text}")]
    NotServed { reason: &'static str, text: String, help: String },
}

impl Error {
    /// An argument that cannot be served.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::refused(Code::InvalidArgument, "BAD_ARGUMENT", text, "")
    }

    /// A state of things that must change first.
    pub fn precondition(reason: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::refused(Code::FailedPrecondition, reason, text, help)
    }

    /// Any other refusal.
    pub fn refused(code: Code, reason: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code, reason, text: text.into(), help: help.into() }
    }

    /// A case that is forwarded when a fallback is named.
    pub fn not_served(reason: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::NotServed { reason, text: text.into(), help: help.into() }
    }

    /// The same error under a text that says what was being done.
    pub fn doing(self, doing: impl Into<String>) -> Self {
        Self::While { doing: doing.into(), inner: Box::new(self) }
    }

    /// One error out of those of parallel work: itself when it is alone.
    pub fn several(mut errors: Vec<Error>) -> Option<Self> {
        match errors.len() {
            0 => None,
            1 => errors.pop(),
            _ => Some(Self::Several(errors)),
        }
    }

    fn explained(&self) -> Option<&dyn Explain> {
        match self {
            Self::Topo(error) => Some(error),
            Self::Tablet(error) => Some(error),
            Self::VSchema(error) => Some(error),
            Self::While { inner, .. } => Some(inner.as_ref()),
            // the gravest code of all: the order of `Code` is from light to grave
            Self::Several(errors) => errors.iter().max_by_key(|e| e.code()).map(|e| e as &dyn Explain),
            Self::Refused { .. } | Self::NotServed { .. } => None,
        }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NotServed { .. } => Code::Unimplemented,
            other => other.explained().map_or(Code::Internal, Explain::code),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Refused { reason, .. } | Self::NotServed { reason, .. } => reason,
            other => other.explained().map_or("INTERNAL", Explain::reason),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Refused { help, .. } | Self::NotServed { help, .. } => help.clone(),
            other => other.explained().map(Explain::help).unwrap_or_default(),
        }
    }

    fn is_forwarded(&self) -> bool {
        matches!(self, Self::NotServed { .. }) || self.explained().is_some_and(Explain::is_forwarded)
    }
}

fn join(errors: &[Error]) -> String {
    let mut texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    texts.sort();
    texts.join("\n")
}
