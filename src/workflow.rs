//! Plans and runs Mount and Migrate; derives the state of workflows from topology and tablets.

mod denial;
pub mod findings;
pub mod foreign;
pub mod leftovers;
pub mod migrate;
pub mod mount;
pub mod names;
pub mod overrides;
pub mod plan;
pub mod preflight;
mod reads;
pub mod record;
pub mod refresh;
pub mod settle;
pub mod show;
pub mod streams;
pub mod tablet_types;
pub mod traffic;
pub mod update;
pub mod vdiff_summary;
pub mod verdict;
pub mod way_back;

pub use crate::failure::{Error, Result};
