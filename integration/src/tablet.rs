//! A tablet on a real MySQL server: what vreplication and vtctld can see of vttablet 22.0.3, and no more.
//!
//! # Layout
//! - what the tablet is and what its parts share: [`options`], [`shared`]
//! - MySQL facts: [`gtid`], [`schema`], [`value`]
//! - the source of a stream: [`vindex`], [`filter`], [`row_stream`], [`event_stream`], [`query_service`]

pub mod event_stream;
pub mod filter;
pub mod gtid;
pub mod options;
pub mod query_service;
pub mod row_stream;
pub mod schema;
pub mod shared;
pub mod value;
pub mod vindex;
