//! Who may talk to the server, and over what: TLS of the listeners, callers' names, roles.
//!
//! Files are named by flags, read at the start (a mistake in one ends the start) and read again when they change (a mistake
//! then is logged, and what was read before stays in force).

mod answers;
mod auth;
mod authority;
mod frames;
mod gate;
pub mod listen;
mod options;
mod places;
mod roles;
mod subject;
pub mod tls;
mod turns;
mod unread;

pub use crate::files::{Error, Result, Watched};
pub use answers::{Answer, Answers};
pub use auth::{Auth, Caller, Mode, Refusal};
pub use gate::{Denial, Gate};
pub use options::Options;
pub use places::{Place, Places};
pub use roles::{Role, Roles};
