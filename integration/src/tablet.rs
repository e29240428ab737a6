//! A tablet on a real MySQL server: what vreplication and vtctld can see of vttablet 22.0.3, and no more; where 23 and 24
//! differ, as its [`generation`] says.
//!
//! # Layout
//! - what the tablet is and what its parts share: [`options`], [`generation`], [`shared`]
//! - MySQL facts: [`gtid`], [`schema`], [`value`]
//! - the source of a stream: [`vindex`], [`filter`], [`row_stream`], [`event_stream`], [`query_service`]
//! - the target of a stream: [`sidecar`], [`prototext`], [`picker`], [`engine`]
//! - comparing both sides: [`vdiff`]
//! - what vtctld calls: [`manager`]; its records: [`records`]; all of it together: [`run`], over [`connection`]

pub mod connection;
pub mod engine;
pub mod event_stream;
pub mod filter;
pub mod generation;
pub mod gtid;
pub mod manager;
pub mod options;
pub mod picker;
pub mod prototext;
pub mod query_service;
pub mod records;
pub mod row_stream;
pub mod run;
pub mod schema;
pub mod shared;
pub mod sidecar;
pub mod value;
pub mod vdiff;
pub mod vindex;
