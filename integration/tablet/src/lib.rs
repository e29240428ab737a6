//! A tablet on a real MySQL server: what vreplication and vtctld can see of vttablet 22.0.3, and no more; where 23 and 24
//! differ, as its [`Generation`] says.
//!
//! # Layout
//! - what the tablet is and what its parts share: `options`, `generation`, `shared`
//! - MySQL facts: `gtid`, `schema`, `sql`, [`value`]
//! - the source of a stream: [`vindex`], `filter`, `row_stream`, `event_stream`, `query_service`
//! - the target of a stream: `sidecar`, `prototext`, `picker`, `engine`
//! - comparing both sides: `vdiff`
//! - what vtctld calls: `manager`; its records: `records`; all of it together: `run`, over `connection`

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128

mod connection;
mod engine;
mod event_stream;
mod filter;
mod generation;
mod gtid;
mod manager;
mod options;
mod picker;
mod prototext;
mod query_service;
mod records;
mod row_stream;
mod run;
mod schema;
mod shared;
mod sidecar;
mod sql;
pub mod value;
mod vdiff;
pub mod vindex;

pub use engine::Tuning;
pub use generation::Generation;
pub use gtid::GtidSet;
pub use options::Options;
pub use query_service::QueryService;
pub use run::{Error, Tablet};
pub use shared::Shared;
