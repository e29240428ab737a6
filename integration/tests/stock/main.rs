//! Migrations between clusters of Vitess's own programs, driven by the stock client. Tests of one process share a pair of clusters
//! (`stock::pair`), but for those of `versions`.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod data;
mod life;
mod names;
mod versions;
mod way_back;
