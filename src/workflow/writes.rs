//! What is changed on either side by more than one operation: locks, denied tables and who has heard of them, streams that are stopped for
//! good, run on, or are deleted. Each can be repeated.

pub(in crate::workflow) mod delete;
pub(in crate::workflow) mod denied;
pub(in crate::workflow) mod freeze;
pub(in crate::workflow) mod locks;
pub mod refresh;
pub(in crate::workflow) mod streams;
pub mod thaw;
