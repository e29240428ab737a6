//! Which tables are reference tables on a side.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::clusters;
use crate::context::Context;
use crate::workflow::settle::Reference;
use crate::workflow::streams::Origin;
use crate::workflow::{Error, Result};
use crate::{deadline, topo};

/// Bound of what is asked of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The reference tables of both sides; none on a side that cannot be read.
pub async fn reference(context: &Context, keyspace: &str, origin: &Origin) -> Reference {
    let of_source = async {
        let topo = match origin.mount.as_str() {
            "" => context.topo.clone(),
            mount => clusters::open(context, mount, &clusters::mount(context, mount).await?.value).await?,
        };
        Ok::<_, Error>(topo::vschema::find(topo.global(), &origin.keyspace).await?)
    };
    let of_source = tokio::time::timeout(deadline::remaining(SOURCE_TIMEOUT), of_source);
    let (source, target) = join(of_source, topo::vschema::find(context.topo.global(), keyspace)).await;
    let source = source.ok().and_then(Result::ok).flatten();
    Reference {
        source: source.map(|record| references(&record.value)).unwrap_or_default(),
        target: target.ok().flatten().map(|record| references(&record.value)).unwrap_or_default(),
    }
}

fn references(vschema: &VSchema) -> BTreeSet<String> {
    let is_reference = |table: &vtmigrated_proto::vschema::Table| table.r#type == "reference";
    let named = vschema.tables.iter().filter(|entry| entry.value.as_ref().is_some_and(is_reference));
    named.map(|entry| entry.key.clone()).collect()
}
