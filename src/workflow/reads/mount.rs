//! What a cluster that is to be mounted says.

use std::time::Duration;

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::PingRequest;

use crate::context::Context;
use crate::topo::{self, Topo, paths};
use crate::workflow::checks::mount::{Dialled, Probed, unreachable, versions};
use crate::workflow::findings::Finding;
use crate::{deadline, tablet};

/// Bound of each round of what is asked of the other cluster.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bound of what is asked of its tablets.
const TABLET_TIMEOUT: Duration = Duration::from_secs(3);

/// Tablets that are dialled.
const MAX_TABLETS: usize = 64;

/// Reads a cluster's root, then its cells' tablets: two waves, three when the root holds nothing.
pub async fn probe(topo: &Topo) -> Probed {
    let asked = join(topo.global().list_dir(paths::KEYSPACES), topo.cells());
    let (kind, server, root) = topo.global().endpoint();
    let read = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok((Ok(keyspaces), Ok(cells))) => Ok((keyspaces, cells)),
        Ok((Err(error), _) | (_, Err(error))) => Err(error),
        Err(_) => {
            let detail = format!("no answer within {} s", TIMEOUT.as_secs());
            Err(topo::Error::Unreachable { kind: kind.into(), server: server.into(), detail })
        }
    };
    let (keyspaces, cells) = match read {
        Ok(read) => read,
        Err(failure) => return Probed { failure: Some(failure), ..Probed::default() },
    };
    let mut probed = Probed { keyspaces, cells, ..Probed::default() };
    if probed.keyspaces.is_empty() && probed.cells.is_empty() {
        probed.siblings = siblings(topo, root).await;
        return probed;
    }
    let names: Vec<String> = probed.cells.names().map(str::to_owned).collect();
    let reads =
        names.iter().map(|name| tokio::time::timeout(TIMEOUT, topo::tablet::readable_in_cell(&probed.cells, name)));
    for (name, answer) in names.iter().zip(join_all(reads).await) {
        match answer {
            Ok(Ok((tablets, _))) => {
                let room = MAX_TABLETS.saturating_sub(probed.tablets.len());
                let named = tablets.into_iter().map(|record| record.value).filter(|tablet| !tablet.hostname.is_empty());
                probed.tablets.extend(named.take(room));
            }
            Ok(Err(error)) => probed.unreachable.push((name.clone(), error.to_string())),
            Err(_) => probed.unreachable.push((name.clone(), format!("no answer within {} s", TIMEOUT.as_secs()))),
        }
    }
    probed
}

async fn siblings(topo: &Topo, root: &str) -> Vec<String> {
    let parent = root
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
    let Ok(conn) = topo.other_root(parent).await else { return Vec::new() };
    let names = tokio::time::timeout(TIMEOUT, conn.list_dir("")).await;
    let names = names.ok().and_then(topo::Result::ok).unwrap_or_default();
    names.iter().take(10).map(|name| paths::join(parent, name)).collect()
}

impl Probed {
    /// Dials the tablets: one wave.
    pub async fn dial(&self, context: &Context) -> Vec<Finding> {
        let calls = self.tablets.iter().map(|on| async move {
            let pinged = context.tablets.ping(on, PingRequest { payload: "preflight".into() });
            let until = deadline::now() + deadline::remaining(TABLET_TIMEOUT);
            let pinged = deadline::scope(Some(until), pinged);
            let (pinged, version) = join(pinged, tablet::build_version(on, TABLET_TIMEOUT)).await;
            let failed = pinged.err().filter(tablet::Error::is_silent).map(|error| error.to_string());
            (tablet::alias(on), failed, version)
        });
        let dialled: Dialled = join_all(calls.collect::<Vec<_>>()).await;
        let mut found = unreachable(&dialled);
        found.extend(versions("the mounted cluster", dialled.into_iter().map(|(alias, _, version)| (alias, version))));
        found
    }
}
