//! Servers on a farm of light tablets: lives under faults, and what a server holds after many calls.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod faults;
mod memory;
