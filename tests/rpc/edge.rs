//! What holds for many RPCs: how calls are routed, named, recorded and passed on; the other services.

mod advisor;
mod docs;
mod fallback;
mod legacy;
mod names;
mod routes;
mod sent_fields;
mod shadow;
mod unknown_fields;
mod unreadable_records;
mod vtadmin;
