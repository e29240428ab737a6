//! The way back: what is prepared before `complete`, and how a migration is reversed after it.

mod closing;
pub mod commands;
mod exact;
mod handover;
mod late;
mod left;
mod limits;
mod seen;
mod source;
mod stopped;
pub mod vdiff;
