//! Checks that find out before anything is changed whether an operation can work, and dry runs that tell its steps.
//!
//! A check is a pure function from gathered facts to [`Finding`](crate::workflow::findings::Finding)s; gathering is apart ([`gather`]). The operations
//! themselves run the same checks: what blocks here is what they refuse, with the same words.

mod cells;
pub mod definitions;
pub mod foreign;
pub mod gather;
mod keyspaces;
mod mount;
pub mod names;
pub mod replicas;
mod runs;
pub mod sequences;
pub mod servers;
pub mod streaming;
pub mod tables;
pub mod unstreamed;
pub mod vschema;
mod workflows;

pub use mount::{examine as mount, mounted};
pub use runs::{cancel, complete, create};

pub(in crate::workflow) use cells::{aliases_left_out, left_out, passed_over, told};
pub(in crate::workflow) use keyspaces::{same_keyspace, without_primary};
pub(in crate::workflow) use mount::{any_newer, probe, too_old, versions};
pub(crate) use servers::few;
pub(in crate::workflow) use servers::{STATEMENTS_AT_ONCE, auto_increments, gently};
pub(in crate::workflow) use workflows::{
    denied_already, leftover_copy_states, leftover_record, mount_changed, others_on_tables,
};
