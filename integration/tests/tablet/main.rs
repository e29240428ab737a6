//! What the other tests stand on: programs and how they end, test clusters, and the tablet of `integration/tablet` on real MySQL
//! servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, too, may panic")]

mod cluster;
mod harness;
mod pair;
mod source_streams;
mod target_engine;
mod target_manager;
