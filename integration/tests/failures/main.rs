//! Servers that die at every side effect, rivals, broken neighbours, mounts and records: commands that are repeated come to a clean
//! end. On real etcds and MySQL servers with the tablets of `integration/tablet`; most tests begin with the clusters of `rig`.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod garbage;
mod kills;
mod mounts;
mod neighbours;
mod parts;
mod rig;
mod rivals;
mod verdict;
mod way_back;
