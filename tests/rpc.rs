//! The RPCs around a migration: a real gRPC server on a free port, a topology in memory, tablets that answer as told.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "rpc/advisor.rs"]
mod advisor;
#[path = "rpc/backups.rs"]
mod backups;
#[path = "rpc/brought.rs"]
mod brought;
#[path = "rpc/calls.rs"]
mod calls;
#[path = "rpc/cancels.rs"]
mod cancels;
#[path = "rpc/cells.rs"]
mod cells;
#[path = "rpc/complete.rs"]
mod complete;
#[path = "rpc/complete_handover.rs"]
mod complete_handover;
#[path = "rpc/creates.rs"]
mod creates;
#[path = "rpc/decoders.rs"]
mod decoders;
#[path = "rpc/deletes.rs"]
mod deletes;
#[path = "rpc/denials.rs"]
mod denials;
#[path = "rpc/docs.rs"]
mod docs;
#[path = "rpc/earlier.rs"]
mod earlier;
#[path = "rpc/endings.rs"]
mod endings;
#[path = "rpc/fallback.rs"]
mod fallback;
#[path = "rpc/faulty_source.rs"]
mod faulty_source;
#[path = "rpc/guard.rs"]
mod guard;
#[path = "rpc/keys.rs"]
mod keys;
#[path = "rpc/keyspaces.rs"]
mod keyspaces;
#[path = "rpc/late_replicas.rs"]
mod late_replicas;
#[path = "rpc/legacy.rs"]
mod legacy;
#[path = "rpc/made_anew.rs"]
mod made_anew;
#[path = "rpc/many_rows.rs"]
mod many_rows;
#[path = "rpc/many_tablets.rs"]
mod many_tablets;
#[path = "rpc/meddled.rs"]
mod meddled;
#[path = "rpc/migrate_rig.rs"]
mod migrate_rig;
#[path = "rpc/migrate_tablet.rs"]
mod migrate_tablet;
#[path = "rpc/mount_users.rs"]
mod mount_users;
#[path = "rpc/names.rs"]
mod names;
#[path = "rpc/neighbours.rs"]
mod neighbours;
#[path = "rpc/other_clusters.rs"]
mod other_clusters;
#[path = "rpc/other_types.rs"]
mod other_types;
#[path = "rpc/ownership.rs"]
mod ownership;
#[path = "rpc/pki.rs"]
mod pki;
#[path = "rpc/primaries.rs"]
mod primaries;
#[path = "rpc/raw_call.rs"]
mod raw_call;
#[path = "rpc/reparents.rs"]
mod reparents;
#[path = "rpc/replaced.rs"]
mod replaced;
#[path = "rpc/replicas.rs"]
mod replicas;
#[path = "rpc/replication.rs"]
mod replication;
#[path = "rpc/routes.rs"]
mod routes;
#[path = "rpc/rules.rs"]
mod rules;
#[path = "rpc/schema_migrations.rs"]
mod schema_migrations;
#[path = "rpc/schemas.rs"]
mod schemas;
#[path = "rpc/sent_fields.rs"]
mod sent_fields;
#[path = "rpc/serving.rs"]
mod serving;
#[path = "rpc/shadow.rs"]
mod shadow;
#[path = "rpc/shards.rs"]
mod shards;
#[path = "rpc/source_load.rs"]
mod source_load;
#[path = "rpc/source_shards.rs"]
mod source_shards;
#[path = "rpc/spare_shards.rs"]
mod spare_shards;
#[path = "rpc/stock.rs"]
mod stock;
#[path = "rpc/support.rs"]
mod support;
#[path = "rpc/tablet.rs"]
mod tablet;
#[path = "rpc/tablets.rs"]
mod tablets;
#[path = "rpc/throttler.rs"]
mod throttler;
#[path = "rpc/topology.rs"]
mod topology;
#[path = "rpc/transactions.rs"]
mod transactions;
#[path = "rpc/unknown_fields.rs"]
mod unknown_fields;
#[path = "rpc/unreadable_records.rs"]
mod unreadable_records;
#[path = "rpc/validate.rs"]
mod validate;
#[path = "rpc/vdiff.rs"]
mod vdiff;
#[path = "rpc/vdiff_rig.rs"]
mod vdiff_rig;
#[path = "rpc/vdiff_show.rs"]
mod vdiff_show;
#[path = "rpc/vdiff_tablet.rs"]
mod vdiff_tablet;
#[path = "rpc/vschemas.rs"]
mod vschemas;
#[path = "rpc/vtadmin.rs"]
mod vtadmin;
#[path = "rpc/way_back.rs"]
mod way_back;
#[path = "rpc/way_back_closing.rs"]
mod way_back_closing;
#[path = "rpc/way_back_exact.rs"]
mod way_back_exact;
#[path = "rpc/way_back_handover.rs"]
mod way_back_handover;
#[path = "rpc/way_back_late.rs"]
mod way_back_late;
#[path = "rpc/way_back_left.rs"]
mod way_back_left;
#[path = "rpc/way_back_limits.rs"]
mod way_back_limits;
#[path = "rpc/way_back_seen.rs"]
mod way_back_seen;
#[path = "rpc/way_back_source.rs"]
mod way_back_source;
#[path = "rpc/way_back_stopped.rs"]
mod way_back_stopped;
#[path = "rpc/way_back_vdiff.rs"]
mod way_back_vdiff;
