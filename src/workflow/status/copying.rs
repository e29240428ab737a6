//! What the target's primaries say of their copies.

use std::collections::BTreeMap;

use futures::future::{join_all, join4};
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::tablet;
use crate::workflow::progress::Sizes;
use crate::workflow::reads::{copy_states, sizes_now};
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::Keyspace;
use crate::workflow::{Error, Result};

/// What one primary says of its copies.
pub(in crate::workflow) struct ShardCopies {
    /// Tables left.
    pub states: CopyStates,
    /// Those that streams had left which are gone.
    pub orphaned: CopyStates,
    /// When each stream began, epoch seconds.
    pub(super) starts: BTreeMap<i64, f64>,
    pub(super) sizes: Sizes,
}

/// What all primaries say of the copies of a workflow, or of all workflows when `workflow` is empty: one wave.
pub(super) async fn copies(
    context: &Context,
    target: &Keyspace,
    workflow: &str,
    needs_sizes: bool,
) -> Result<Vec<ShardCopies>> {
    let primaries = target.primaries()?;
    let asked = primaries.iter().map(|(_, tablet)| copying(context, tablet, workflow, needs_sizes));
    let mut read = Vec::new();
    let mut errors = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => read.push(answer),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    Error::several(errors).map_or(Ok(read), Err)
}

async fn copying(context: &Context, on: &Tablet, workflow: &str, needs_sizes: bool) -> tablet::Result<ShardCopies> {
    // besides the states these are figures only: a tablet that cannot tell them still has a status
    let sizes = async {
        if !needs_sizes {
            return Sizes::new();
        }
        sizes_now::sizes(context, on).await.unwrap_or_else(|error| {
            tracing::warn!("no table sizes: {error}");
            Sizes::new()
        })
    };
    let states = copy_states::of(context, on, workflow);
    let orphaned = copy_states::orphaned(context, on);
    let starts = copy_states::starts(context, on, workflow);
    let (states, orphaned, starts, sizes) = join4(states, orphaned, starts, sizes).await;
    Ok(ShardCopies { states: states?, orphaned: orphaned?, starts, sizes })
}
