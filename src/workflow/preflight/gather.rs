//! What create asks of tablets for its checks, besides what it needs anyway. Nothing here fails: what cannot be learnt is
//! told as such.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join, join_all, join5};
use vtmigrated_proto::tabletmanagerdata::ValidateVReplicationPermissionsRequest;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::super::overrides::{self, Spelling};
use super::super::streams::Keyspace;
use super::replicas::{self, Replication};
use super::servers::{Server, Servers, ask_source, ask_target};
use super::streaming::{Health, is_one_of};
use crate::context::Context;
use crate::error::Code;
use crate::{deadline, tablet};

/// Bound of everything that is asked of a tablet.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most tablets of a side that are asked.
const MAX_TABLETS: usize = 400;

/// What tablets said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// By alias; only tablets of types that can be streamed from.
    pub health: BTreeMap<String, Health>,
    /// By alias; only tablets that streams may read from and that are no primaries.
    pub replication: BTreeMap<String, Replication>,
    pub servers: Servers,
    /// Target primaries whose user of vreplication lacks permissions: alias and the tablet's words.
    pub denied: Vec<(String, String)>,
    pub source_versions: Vec<Version>,
    pub target_versions: Vec<Version>,
    /// How tablets spell config overrides, by alias; those that did not tell are not there.
    pub source_spellings: BTreeMap<String, Spelling>,
    pub target_spellings: BTreeMap<String, Spelling>,
}

/// A tablet's alias, and its version or why that is not known.
pub type Version = (String, std::result::Result<String, String>);

/// Asks both sides: one wave.
pub async fn ask(
    context: &Context,
    source: &Keyspace,
    tablets: &BTreeMap<String, Vec<Tablet>>,
    types: &[TabletType],
    target: &Keyspace,
) -> Asked {
    let all = tablets.iter().flat_map(|(shard, tablets)| tablets.iter().map(move |tablet| (shard, tablet)));
    let all: Vec<(&String, &Tablet)> = all.filter(|(_, tablet)| is_one_of(tablet, &[])).take(MAX_TABLETS).collect();
    let primaries: Vec<String> = source.shards.iter().filter_map(|s| s.primary.as_ref()).map(tablet::alias).collect();
    let mut health = Vec::new();
    let mut replication = Vec::new();
    let mut sources = Vec::new();
    let (mut source_versions, mut source_spellings) = (Vec::new(), Vec::new());
    for (shard, tablet) in all {
        health.push(ask_health(context, tablet));
        let (candidate, primary) = (is_one_of(tablet, types), primaries.contains(&tablet::alias(tablet)));
        if candidate && !primary {
            replication.push(async move { (tablet::alias(tablet), replicas::ask(context, tablet).await) });
        }
        if candidate || primary {
            sources.push(ask_source(context, format!("{}/{shard}", source.name), tablet, primary, candidate));
            source_versions.push(ask_version(tablet));
            source_spellings.push(ask_spelling(context, tablet));
        }
    }
    let mut targets = Vec::new();
    let mut permissions = Vec::new();
    let (mut target_versions, mut target_spellings) = (Vec::new(), Vec::new());
    for shard in target.shards.iter().take(MAX_TABLETS) {
        if let Some(tablet) = &shard.primary {
            targets.push(ask_target(context, format!("{}/{}", target.name, shard.name), tablet));
            permissions.push(ask_permission(context, tablet));
            target_versions.push(ask_version(tablet));
            target_spellings.push(ask_spelling(context, tablet));
        }
    }
    let servers = async {
        let (source, target): (Vec<Server>, Vec<Server>) = join(join_all(sources), join_all(targets)).await;
        Servers { source, target }
    };
    let versions = join(join_all(source_versions), join_all(target_versions));
    let spellings = join(join_all(source_spellings), join_all(target_spellings));
    let health = join(join_all(health), join_all(replication));
    let asked = join5(health, servers, join_all(permissions), versions, spellings);
    let until = deadline::now() + deadline::remaining(TIMEOUT);
    let (health, servers, permissions, versions, spellings) = deadline::scope(Some(until), asked).await;
    Asked {
        health: health.0.into_iter().collect(),
        replication: health.1.into_iter().collect(),
        servers,
        denied: permissions.into_iter().flatten().collect(),
        source_versions: versions.0,
        target_versions: versions.1,
        source_spellings: spellings.0.into_iter().flatten().collect(),
        target_spellings: spellings.1.into_iter().flatten().collect(),
    }
}

async fn ask_version(tablet: &Tablet) -> Version {
    (tablet::alias(tablet), tablet::build_version(tablet, TIMEOUT).await)
}

async fn ask_spelling(context: &Context, tablet: &Tablet) -> Option<(String, Spelling)> {
    let asked = overrides::ask(context, tablet).await;
    asked.map(|spelling| (tablet::alias(tablet), spelling)).map_err(|why| tracing::debug!("{why}")).ok()
}

async fn ask_health(context: &Context, tablet: &Tablet) -> (String, Health) {
    let asked = match context.tablets.health(tablet, TIMEOUT).await {
        // a kept connection may have broken since it was used
        Err(tablet::Error::Unreachable { .. }) => context.tablets.health(tablet, TIMEOUT).await,
        asked => asked,
    };
    let health = match asked {
        Ok(health) if tablet::is_serving(&health) => Health::Serving,
        Ok(health) => {
            let why = health.realtime_stats.map(|stats| stats.health_error).filter(|why| !why.is_empty());
            Health::NotServing(why.unwrap_or_else(|| "it does not serve".into()))
        }
        Err(error @ tablet::Error::Unreachable { .. }) => Health::NotServing(error.to_string()),
        Err(error) => Health::Unknown(error.to_string()),
    };
    (tablet::alias(tablet), health)
}

async fn ask_permission(context: &Context, tablet: &Tablet) -> Option<(String, String)> {
    let request = ValidateVReplicationPermissionsRequest {};
    match context.tablets.validate_v_replication_permissions(tablet, request).await {
        Ok(answer) if !answer.ok => {
            let why = if answer.error.is_empty() { "permissions are missing".to_owned() } else { answer.error };
            Some((tablet::alias(tablet), format!("user {}: {why}", answer.user)))
        }
        Ok(_) => None,
        Err(tablet::Error::Answered { code: Code::Unimplemented, .. }) => None,
        Err(error) => {
            tracing::debug!("the permissions of vreplication were not checked: {error}");
            None
        }
    }
}
