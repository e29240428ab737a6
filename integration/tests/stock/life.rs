//! Whole lives of migrations between clusters of Vitess's own programs, driven by the stock client.

mod commands;
mod defaults;
mod older_mysql;
mod operations;
mod refusals;
mod replicas;
mod schemas;
mod servers;
mod shards;
