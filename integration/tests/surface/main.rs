//! The program as people and other programs have it: its flags, files and signals, the older commands, HTTP pages, the status page in
//! a browser, metrics, traces, clients that read much, and the demonstration.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

mod demo;
mod legacy;
mod metrics;
mod page;
mod pages;
mod reading;
mod server;
mod traces;
