//! Failures of the files that guard the server.

use std::path::PathBuf;

/// Why a certificate, password or role file cannot be used. Never holds what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no usable {what}: {detail}", path.display())]
    Bad { path: PathBuf, what: &'static str, detail: String },
    #[error("{0}")]
    Flags(String),
}

/// What the functions of this module answer.
pub type Result<T> = std::result::Result<T, Error>;
