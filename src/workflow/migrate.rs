//! Migrate: one file for each transition of a workflow's life.

pub mod cancel;
pub(super) mod cleanup;
pub mod complete;
pub(crate) mod copy_states;
pub mod create;
mod found;
pub(crate) mod gather;
pub mod observe;
pub mod progress;
pub(in crate::workflow) mod readiness;
pub mod recheck;
pub mod rows;
mod shared;
mod sizes;
pub mod status;
pub mod thaw;

pub(super) use create::locks;
pub(super) use found::Found;

/// The name under which stock takes the locks of create.
pub(crate) const CREATE_ACTION: &str = "MoveTablesCreate";
/// The name under which stock takes the locks of complete.
pub(crate) const COMPLETE_ACTION: &str = "MoveTablesComplete";
/// The name under which stock takes the locks of cancel.
pub(crate) const DELETE_ACTION: &str = "WorkflowDelete";
