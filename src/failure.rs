//! Failures of operations, on workflows and on the cluster around them. Where stock has a text, ours begins with it.

use crate::error::{Code, Explain, Reason, Violation};
use crate::{tablet, topo, vschema};

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

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
    Refused { code: Code, reason: Reason, text: String, help: String },
    /// A case of an RPC that is left to stock vtctlds; said before the first side effect.
    #[error("{text}")]
    NotServed { code: Code, reason: Reason, text: String, help: String },
    /// A failed create whose traces could not all be removed.
    #[error("{error}\nsome of what it had created could not be removed: {undo}")]
    HalfTakenBack { error: Box<Error>, undo: Box<Error>, help: String },
    /// A create that goes on and was interrupted again: nothing is taken back.
    #[error("{error}\nthe workflow, and what its streams have copied, are left as they are")]
    Interrupted { error: Box<Error>, help: String },
    /// A refusal after which streams were to run on that had been stopped to look.
    #[error("{refusal}\nits streams were stopped to check its tables, and could not be started again: {error}")]
    NotRestarted { refusal: Box<Error>, error: Box<Error> },
    /// A refusal with a list of what stands in the way.
    #[error("{text}")]
    Blocked { reason: Reason, text: String, help: String, violations: Vec<Violation> },
}

impl Error {
    /// An argument that cannot be served, of which the text says everything.
    pub fn bad_argument(text: impl Into<String>) -> Self {
        Self::invalid(Reason::BAD_ARGUMENT, text, "")
    }

    /// An argument that cannot be served.
    pub fn invalid(reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code: Code::InvalidArgument, reason, text: text.into(), help: help.into() }
    }

    /// Something that the user named and that is not there.
    pub fn not_found(reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code: Code::NotFound, reason, text: text.into(), help: help.into() }
    }

    /// Something that is there already.
    pub fn exists(reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code: Code::AlreadyExists, reason, text: text.into(), help: help.into() }
    }

    /// A state of things that must change first.
    pub fn precondition(reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code: Code::FailedPrecondition, reason, text: text.into(), help: help.into() }
    }

    /// Any other refusal.
    pub fn refused(code: Code, reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { code, reason, text: text.into(), help: help.into() }
    }

    /// A case that is forwarded when a fallback is named.
    pub fn not_served(reason: Reason, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::NotServed { code: Code::Unimplemented, reason, text: text.into(), help: help.into() }
    }

    /// The failure of a target shard's primary that gave no answer: its own text comes first, then the shard.
    pub fn of_silent(keyspace: &str, shard: &str, why: &tablet::Error) -> Self {
        let text = format!("{why} (primary of the target shard {keyspace}/{shard})");
        Self::Refused { code: why.code(), reason: why.reason(), text, help: why.help() }
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

    /// The same of calls, which have nothing to tell but that.
    ///
    /// # Errors
    /// Those of all calls together.
    pub fn all(done: Vec<Result<()>>) -> Result<()> {
        Self::several(done.into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
    }

    /// True when a tablet gave no answer, so that it is unknown whether it acted, and whether it is still at it.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::Tablet(error) => error.is_silent(),
            Self::While { inner, .. } => inner.is_silent(),
            Self::Several(errors) => errors.iter().any(Self::is_silent),
            _ => false,
        }
    }

    fn explained(&self) -> Option<&dyn Explain> {
        match self {
            Self::Topo(e) => Some(e),
            Self::Tablet(e) => Some(e),
            Self::VSchema(e) => Some(e),
            Self::While { inner, .. }
            | Self::HalfTakenBack { error: inner, .. }
            | Self::Interrupted { error: inner, .. }
            | Self::NotRestarted { refusal: inner, .. } => Some(inner.as_ref()),
            // the gravest code of all: the order of `Code` is from light to grave
            Self::Several(errors) => errors.iter().max_by_key(|e| e.code()).map(|e| e as &dyn Explain),
            Self::Refused { .. } | Self::NotServed { .. } | Self::Blocked { .. } => None,
        }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } | Self::NotServed { code, .. } => *code,
            Self::Blocked { .. } => Code::FailedPrecondition,
            other => other.explained().map_or(Code::Internal, Explain::code),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Refused { reason, .. } | Self::NotServed { reason, .. } | Self::Blocked { reason, .. } => *reason,
            other => other.explained().map_or(Reason::INTERNAL, Explain::reason),
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Refused { help, .. }
            | Self::NotServed { help, .. }
            | Self::Blocked { help, .. }
            | Self::HalfTakenBack { help, .. }
            | Self::Interrupted { help, .. } => help.clone(),
            other => other.explained().map(Explain::help).unwrap_or_default(),
        }
    }

    fn is_forwarded(&self) -> bool {
        match self {
            Self::NotServed { .. } => true,
            Self::While { inner, .. } => inner.is_forwarded(),
            _ => false,
        }
    }

    fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Blocked { violations, .. } => violations.clone(),
            other => other.explained().map(Explain::violations).unwrap_or_default(),
        }
    }
}

fn join(errors: &[Error]) -> String {
    let mut texts: Vec<String> = errors.iter().map(Error::to_string).collect();
    texts.sort();
    texts.join("\n")
}
