//! Plans and runs Mount and Migrate; derives the state of workflows from topology and tablets.

mod error;
pub mod mount;
pub mod record;
pub mod streams;

pub use error::Error;

/// Result of a workflow operation.
pub type Result<T> = std::result::Result<T, Error>;
