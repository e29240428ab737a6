//! The RPCs around a migration: a real gRPC server on a free port, a topology in memory, tablets that answer as told.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cluster;
mod decoders;
mod edge;
mod guard;
mod migrate;
mod support;
mod vdiff;
mod way_back;
