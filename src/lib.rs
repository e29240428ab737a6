//! A vtctld that brings keyspaces from one Vitess cluster into another.
//!
//! # Layout
//! `main` parses flags and calls [`app`]; [`server`] is the wire edge; [`workflow`] plans and runs Mount and Migrate;
//! [`vdiff`] has the tablets compare what they moved; [`cluster`] has the commands around a migration;
//! [`topo`] and [`tablet`] are the ways to the clusters; [`key_range`] and [`sql`] are pure.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128

pub mod advise;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod context;
pub mod deadline;
pub mod error;
pub mod failpoint;
pub mod failure;
pub mod gtid;
pub mod guard;
pub mod health;
pub mod host;
pub mod http_get;
pub mod key_range;
pub mod meters;
pub mod server;
pub mod snappy;
pub mod sql;
pub mod tablet;
pub mod telemetry;
pub mod tls;
pub mod topo;
pub mod vdiff;
pub mod vschema;
pub mod watch;
pub mod watched_files;
pub mod way_back;
pub mod web;
pub mod workflow;
pub mod write_timeout;
