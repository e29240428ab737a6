//! VSchemas of keyspaces: read, replace, alter.

use bytes::Bytes;
use vtmigrated_proto::vschema::Keyspace;

use super::rules::Rebuild;
use super::{Error, Result};
use crate::context::Context;
use crate::topo::{self, Expect, Record, keyspace, paths, srv_vschema, vschema as records};
use crate::vschema::{self, ddl, validate, vindex};

/// A change of a VSchema.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub keyspace: String,
    /// Replaces the VSchema; else `sql` changes it.
    pub vschema: Option<Keyspace>,
    /// The same as it was sent: what is not known of it is stored, too.
    pub sent: Option<Bytes>,
    pub sql: String,
    /// Write nothing.
    pub dry_run: bool,
    /// Refuse params that their vindex's type does not know.
    pub strict: bool,
    pub rebuild: Rebuild,
}

/// The VSchema that a change made, or would make, and the params that are not known, by vindex.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    pub vschema: Keyspace,
    pub unknown_params: Vec<(String, Vec<String>)>,
}

/// A keyspace's VSchema.
pub async fn get(context: &Context, keyspace: &str) -> Result<Keyspace> {
    paths::check_name(keyspace)?;
    Ok(records::get(context.topo.global(), keyspace).await?.value)
}

/// Replaces or alters a VSchema and rebuilds the SrvVSchemas. No lock is taken, as in stock: an alteration that loses
/// against another one is done again on what the other left.
pub async fn apply(context: &Context, change: Change) -> Result<Changed> {
    let (global, name) = (context.topo.global(), &change.keyspace);
    keyspace::get(global, name).await.map_err(|error| match error.is_no_node() {
        true => error.wrap(format!("keyspace({name}) doesn't exist, check if the keyspace is initialized")),
        false => error.wrap(format!("GetKeyspace({name})")),
    })?;
    if change.vschema.is_some() != change.sql.is_empty() {
        return Err(Error::bad_argument("must pass exactly one of req.VSchema and req.Sql"));
    }
    let changed = loop {
        let old = match change.vschema {
            Some(_) => None,
            None => records::find(global, name).await?,
        };
        let changed = changed(&change, old.as_ref())?;
        if change.dry_run {
            return Ok(changed);
        }
        let cells = change.rebuild.cells(context).await.map_err(|error| error.doing("RebuildSrvVSchema"))?;
        match save(context, &change, old.as_ref(), &changed.vschema).await {
            Err(error) if error.is_conflict() => continue,
            other => other.map_err(|error| error.wrap(format!("SaveVSchema({name})")))?,
        };
        if let Some(cells) = cells {
            srv_vschema::rebuild(global, &cells).await.map_err(|error| error.wrap("RebuildSrvVSchema"))?;
        }
        break changed;
    };
    Ok(changed)
}

fn changed(change: &Change, old: Option<&Record<Keyspace>>) -> Result<Changed> {
    let vschema = match &change.vschema {
        Some(vschema) => vschema.clone(),
        None => ddl::apply(&change.keyspace, &old.map(|old| old.value.clone()).unwrap_or_default(), &change.sql)?,
    };
    validate::build(&change.keyspace, &vschema)?;
    let unknown_params = vindex::unknown_params(&vschema);
    if change.strict && !unknown_params.is_empty() {
        let listed: Vec<String> =
            unknown_params.iter().map(|(name, params)| format!("{name} ({})", params.join(", "))).collect();
        return Err(vschema::Error::UnknownParams(listed.join("; ")).into());
    }
    Ok(Changed { vschema, unknown_params })
}

async fn save(
    context: &Context,
    change: &Change,
    old: Option<&Record<Keyspace>>,
    vschema: &Keyspace,
) -> topo::Result<i64> {
    let global = context.topo.global();
    match (old, &change.vschema) {
        (Some(old), _) => records::replace(global, old, vschema).await,
        (None, Some(_)) => records::put_sent(global, &change.keyspace, vschema, change.sent.as_ref()).await,
        (None, None) => records::put(global, &change.keyspace, vschema, Expect::Absent, None).await,
    }
}
