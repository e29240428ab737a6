//! Migrations there and back again: on Vitess's own programs with a writer that remembers every row that was acknowledged, and on
//! our own tablets with servers that die at every step, or at some.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]
#![allow(dead_code, reason = "the rig is for several files")]

#[path = "way_back/kills.rs"]
mod kills;
#[path = "way_back/ledger.rs"]
mod ledger;
#[path = "way_back/life.rs"]
mod life;
#[path = "support/rig.rs"]
mod rig;
