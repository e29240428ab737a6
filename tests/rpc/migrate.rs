//! Migrations: create, complete, cancel and status, and what stands around one.

mod brought;
mod cancels;
pub mod complete;
mod complete_handover;
mod creates;
mod cut_off;
mod denials;
mod earlier;
mod endings;
mod keys;
mod late_replicas;
mod made_anew;
mod many_rows;
mod many_tablets;
mod mount_users;
mod neighbours;
mod other_clusters;
mod other_types;
pub mod ownership;
mod primaries;
mod replaced;
mod replicas;
mod source_load;
mod source_shards;
mod spare_shards;
