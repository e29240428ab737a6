//! VDiff: the tablets' part of it, and the whole of it through the server.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

#[path = "vdiff/life.rs"]
mod life;
#[path = "vdiff/support.rs"]
mod support;
#[path = "vdiff/tablet.rs"]
mod tablet;
