//! What `Mount register` would prove, and how a mount is.

use vtmigrated_proto::topodata::TopoConfig;

use crate::context::Context;
use crate::topo::{Topo, paths};
use crate::workflow::findings::Report;
use crate::workflow::reads::clusters;
use crate::workflow::reads::mount::probe;

/// What `Mount register` would prove of a topology, without writing it.
pub async fn examine(context: &Context, config: &TopoConfig) -> Report {
    let dialer = std::sync::Arc::clone(context.topo.dialer());
    match Topo::open(dialer, &config.topo_type, &config.server, &config.root).await {
        Ok(topo) => report(context, &topo).await,
        Err(error) => Report::of(&error.into(), format!("mount {}", config.server)),
    }
}

/// The same for a mount that is registered.
pub async fn mounted(context: &Context, name: &str) -> Report {
    let opened = async {
        let record = clusters::mount(context, name).await?;
        clusters::open(context, name, &record.value).await
    };
    match opened.await {
        Ok(topo) => report(context, &topo).await,
        Err(error) => Report::of(&error, format!("mount {name}")),
    }
}

async fn report(context: &Context, topo: &Topo) -> Report {
    let probed = probe(topo).await;
    let mut report = probed.check(topo.global().endpoint(), &topo.global().full(paths::KEYSPACES));
    if report.is_clear() {
        report.extend(probed.dial(context).await);
    }
    report
}
