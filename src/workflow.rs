//! Plans and runs Mount and Migrate; derives the state of workflows from topology and tablets.

pub mod checks;
pub mod findings;
pub mod foreign;
pub mod leftovers;
pub mod migrate;
pub mod mount;
pub mod names;
pub mod overrides;
pub mod plan;
pub mod progress;
mod readiness;
pub mod reads;
pub mod record;
mod removal;
pub mod rows;
pub mod settle;
pub mod show;
pub mod status;
pub mod streams;
pub mod tablet_types;
pub mod traffic;
pub mod update;
pub mod vdiff_summary;
pub mod way_back;
pub mod writes;

pub use crate::failure::{Error, Result};
