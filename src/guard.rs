//! Who may talk to the server, and over what: TLS of the listeners, callers' names, roles.
//!
//! Files are named by flags, read at the start (a mistake in one ends the start) and read again when they change (a mistake
//! then is logged, and what was read before stays in force).

mod answers;
mod auth;
mod authority;
mod call_slots;
mod certificate_subject;
mod frame_budget;
mod gate;
pub mod listen;
mod options;
mod roles;
mod slot_queue;
pub mod tls;
mod unread;

pub use crate::watched_files::{Error, Result, Watched};
pub use answers::{Answer, Answers};
pub use auth::{Auth, Caller, Mode, Refusal};
pub use call_slots::{CallSlot, CallSlots};
pub use gate::{Denial, Gate};
pub use options::Options;
pub use roles::{Role, Roles};
