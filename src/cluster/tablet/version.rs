//! The version that a tablet runs.

use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use super::get;
use crate::cluster::Result;
use crate::context::Context;

/// A tablet's version as it tells it on its page of variables: `{<host> <user> <time> <revision>}` of its build.
pub async fn version(context: &Context, alias: &TabletAlias) -> Result<String> {
    of_tablet(context, &get(context, alias).await?).await
}

/// The same of a tablet whose record was read.
pub async fn of_tablet(context: &Context, tablet: &Tablet) -> Result<String> {
    Ok(context.tablets.version(tablet).await?)
}
