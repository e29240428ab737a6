//! Who may talk to the server, and over what: TLS of the listeners, callers' names, roles.
//!
//! Files are named by flags, read at the start (a mistake in one ends the start) and read again when they change (a mistake
//! then is logged, and what was read before stays in force).

mod auth;
mod frames;
pub mod listen;
mod options;
mod roles;
mod subject;
pub mod tls;

pub use crate::files::{Error, Result, Watched};
pub use auth::{Auth, Caller, Mode, Refusal};
pub use options::Options;
pub use roles::{Role, Roles, class};
