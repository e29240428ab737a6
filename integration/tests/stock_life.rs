//! Whole lives of migrations between clusters of Vitess's own programs, driven by the stock client.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

#[path = "stock_life/commands.rs"]
mod commands;
#[path = "stock_life/data.rs"]
mod data;
#[path = "stock_life/defaults.rs"]
mod defaults;
#[path = "stock_life/older_mysql.rs"]
mod older_mysql;
#[path = "stock_life/operations.rs"]
mod operations;
#[path = "stock_life/refusals.rs"]
mod refusals;
#[path = "stock_life/replicas.rs"]
mod replicas;
#[path = "stock_life/schemas.rs"]
mod schemas;
#[path = "stock_life/servers.rs"]
mod servers;
#[path = "stock_life/shards.rs"]
mod shards;
