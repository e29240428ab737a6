//! Whether complete has begun.

use super::Facts;
use crate::workflow::streams::{ShardWorkflow, any_frozen};

/// True when complete has begun, by the streams or by their record.
pub fn has_begun<'r>(rows: impl IntoIterator<Item = &'r ShardWorkflow>, facts: Option<&Facts>) -> bool {
    any_frozen(rows) || facts.is_some_and(|facts| facts.completing)
}
