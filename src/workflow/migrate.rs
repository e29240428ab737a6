//! Migrate: one file for each transition of a workflow's life.

pub mod cancel;
pub mod complete;
pub mod create;
pub mod dry_run;
