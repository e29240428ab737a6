//! The streams of a source tablet on a real MySQL server.

mod copying;
mod events;
mod service;
mod support;
mod values;
