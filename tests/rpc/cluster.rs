//! The RPCs around a migration: one file for each kind of thing that they are about.

mod backups;
mod calls;
mod cells;
mod deletes;
mod keyspaces;
mod reparents;
mod replication;
mod rules;
mod schema_migrations;
mod schemas;
mod serving;
mod shards;
mod tablets;
mod throttler;
mod topology;
mod transactions;
mod validate;
mod vschemas;
