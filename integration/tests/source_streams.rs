//! The streams of a source tablet on a real MySQL server.

#![allow(clippy::expect_used, reason = "helpers of tests")]

#[path = "source_streams/copying.rs"]
mod copying;
#[path = "source_streams/events.rs"]
mod events;
#[path = "source_streams/service.rs"]
mod service;
#[path = "source_streams/support.rs"]
mod support;
#[path = "source_streams/values.rs"]
mod values;
