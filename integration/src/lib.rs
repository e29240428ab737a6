//! Test clusters, programs of the tests, and the demonstration.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128

pub mod client;
pub mod cluster;
pub mod collector;
pub mod demo;
pub mod etcd;
pub mod farm;
pub mod life;
pub mod load;
pub mod mysqld;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod server;
pub mod stock;
pub mod writer;
pub mod zookeeper;
