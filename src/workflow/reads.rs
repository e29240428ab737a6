//! What is read of both clusters: all I/O that gathers what the checks judge. Nothing is changed here.

pub mod clusters;
pub mod columns;
pub mod copy_states;
pub(in crate::workflow) mod denial;
pub(in crate::workflow) mod diffs;
pub(in crate::workflow) mod filled;
pub(in crate::workflow) mod found;
mod in_use;
pub mod journal;
pub(in crate::workflow) mod maxima;
pub(in crate::workflow) mod mount;
pub mod overrides;
pub mod reference_tables;
pub mod replicas;
pub(in crate::workflow) mod sequences;
pub mod servers;
pub(in crate::workflow) mod situation;
pub(in crate::workflow) mod sizes;
pub mod sizes_now;
pub mod source;
pub mod tablets;
