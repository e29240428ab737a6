//! What the target's primaries say of their copies.

use std::collections::BTreeMap;

use futures::future::join_all;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::topodata::Tablet;

use super::super::super::streams::Keyspace;
use super::super::super::{Error, Result};
use super::super::progress::{self, Sizes};
use super::super::rows::{self, CopyStates};
use crate::context::Context;
use crate::tablet;

/// What one primary says of its copies.
pub(in crate::workflow::migrate) struct Copies {
    /// Tables left.
    pub states: CopyStates,
    /// When each stream began, epoch seconds.
    pub(super) starts: BTreeMap<i64, f64>,
    pub(super) sizes: Sizes,
}

/// What all primaries say of their copies: one wave.
pub(in crate::workflow::migrate) async fn copies(
    context: &Context,
    target: &Keyspace,
    needs_sizes: bool,
) -> Result<Vec<Copies>> {
    let primaries = target.primaries()?;
    let asked = primaries.iter().map(|(_, tablet)| copying(context, tablet, needs_sizes));
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

async fn copying(context: &Context, on: &Tablet, needs_sizes: bool) -> tablet::Result<Copies> {
    let states = context.tablets.v_replication_exec(on, rows::COPY_STATES.into());
    let starts = context.tablets.v_replication_exec(on, rows::COPY_STARTS.into());
    let sizes = async {
        if !needs_sizes {
            return Ok(Sizes::new());
        }
        // figures only: a tablet that cannot tell them still has a status
        Ok(progress::sizes(context, on).await.unwrap_or_else(|error| {
            tracing::warn!("no table sizes: {error}");
            Sizes::new()
        }))
    };
    let (states, starts, sizes): (QueryResult, QueryResult, Sizes) =
        futures::future::try_join3(states, starts, sizes).await?;
    Ok(Copies { states: rows::copy_states(&states), starts: rows::numbers(&starts), sizes })
}
