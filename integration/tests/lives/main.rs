//! Migrations on real etcds and MySQL servers with the tablets of `integration/tablet`: whole lives, what `create` takes and refuses, the
//! checks, VDiff, and the first election of a shard.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod columns;
mod election;
mod generations;
mod life;
mod mappings;
mod options;
mod preflight;
mod refusals;
mod vdiff;
