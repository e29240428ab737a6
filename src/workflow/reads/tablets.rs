//! What create asks of tablets for its checks, besides what it needs anyway. Nothing here fails: what cannot be learnt is
//! told as such.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, join, join3, join4};
use futures::{FutureExt, StreamExt};
use vtmigrated_proto::tabletmanagerdata::ValidateVReplicationPermissionsRequest;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::replicas;
use super::servers::{ask_source, ask_target};
use crate::context::Context;
use crate::error::Code;
use crate::workflow::checks::answers::{ProbeAnswers, Version};
use crate::workflow::checks::replicas::Replication;
use crate::workflow::checks::servers::Server;
use crate::workflow::checks::streaming::Health;
use crate::workflow::overrides::{self, Spelling};
use crate::workflow::streams::Keyspace;
use crate::workflow::tablet_types::is_one_of;
use crate::{deadline, tablet};

/// Bound of everything that is asked.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks both sides: one wave, more for very many tablets. What is not told within three seconds is told as such of those,
/// too, whose turn has not come by then.
pub async fn ask(
    context: &Context,
    source: &Keyspace,
    tablets: &BTreeMap<String, Vec<Tablet>>,
    types: &[TabletType],
    target: &Keyspace,
) -> ProbeAnswers {
    let primaries: BTreeSet<String> =
        source.shards.iter().filter_map(|s| s.primary.as_ref()).map(tablet::alias).collect();
    let mut of_source: Vec<BoxFuture<'_, OfSource>> = Vec::new();
    for (shard, tablets) in tablets {
        for on in tablets.iter().filter(|tablet| is_one_of(tablet, &[])) {
            let (candidate, primary) = (is_one_of(on, types), primaries.contains(&tablet::alias(on)));
            let shard = format!("{}/{shard}", source.name);
            of_source.push(ask_of_source(context, shard, on, primary, candidate).boxed());
        }
    }
    let mut of_target: Vec<BoxFuture<'_, OfTarget>> = Vec::new();
    for shard in &target.shards {
        if let Some(on) = &shard.primary {
            of_target.push(ask_of_target(context, format!("{}/{}", target.name, shard.name), on).boxed());
        }
    }
    let until = deadline::now() + deadline::remaining(TIMEOUT);
    let at_once = context.options.tablets_at_once;
    let asked = join(in_turns(of_source, at_once), in_turns(of_target, at_once));
    let (of_source, of_target) = deadline::scope(Some(until), asked).await;
    let mut asked = ProbeAnswers::default();
    of_source.into_iter().for_each(|told| asked.add_source(told));
    of_target.into_iter().for_each(|told| asked.add_target(told));
    asked
}

/// Asks so many tablets at once; answers in the order of the questions.
async fn in_turns<'f, T: Send + 'f>(questions: Vec<BoxFuture<'f, T>>, at_once: usize) -> Vec<T> {
    let mut numbered: Vec<BoxFuture<'f, (usize, T)>> = Vec::new();
    for (number, question) in questions.into_iter().enumerate() {
        numbered.push(async move { (number, question.await) }.boxed());
    }
    let mut answers: Vec<(usize, T)> = futures::stream::iter(numbered).buffer_unordered(at_once).collect().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What a source tablet said.
struct OfSource {
    alias: String,
    health: Health,
    /// Only of those that streams may read from and that are no primaries.
    replication: Option<Replication>,
    /// Only of those, and of primaries.
    server: Option<OfServer>,
}

/// What a target primary said.
struct OfTarget {
    server: OfServer,
    denied: Option<(String, String)>,
}

/// What a tablet and its MySQL said of themselves.
struct OfServer {
    server: Server,
    version: Version,
    spelling: Option<(String, Spelling)>,
}

async fn ask_of_source(context: &Context, shard: String, tablet: &Tablet, primary: bool, candidate: bool) -> OfSource {
    let replication = async {
        if !candidate || primary {
            return None;
        }
        Some(replicas::ask(context, tablet).await)
    };
    let server = async {
        if !candidate && !primary {
            return None;
        }
        let server = ask_source(context, shard, tablet, primary, candidate);
        let (server, version, spelling) = join3(server, ask_version(tablet), ask_spelling(context, tablet)).await;
        Some(OfServer { server, version, spelling })
    };
    let (health, replication, server) = join3(ask_health(context, tablet), replication, server).await;
    OfSource { alias: tablet::alias(tablet), health, replication, server }
}

async fn ask_of_target(context: &Context, shard: String, tablet: &Tablet) -> OfTarget {
    let server = ask_target(context, shard, tablet);
    let (version, spelling) = (ask_version(tablet), ask_spelling(context, tablet));
    let (server, denied, version, spelling) = join4(server, ask_permission(context, tablet), version, spelling).await;
    OfTarget { server: OfServer { server, version, spelling }, denied }
}

impl ProbeAnswers {
    fn add_source(&mut self, told: OfSource) {
        self.replication.extend(told.replication.map(|replication| (told.alias.clone(), replication)));
        self.health.insert(told.alias, told.health);
        let Some(OfServer { server, version, spelling }) = told.server else { return };
        self.servers.source.push(server);
        self.source_versions.push(version);
        self.source_spellings.extend(spelling);
    }

    fn add_target(&mut self, told: OfTarget) {
        let OfServer { server, version, spelling } = told.server;
        self.servers.target.push(server);
        self.denied.extend(told.denied);
        self.target_versions.push(version);
        self.target_spellings.extend(spelling);
    }
}

async fn ask_version(tablet: &Tablet) -> Version {
    (tablet::alias(tablet), tablet::build_version(tablet, TIMEOUT).await)
}

async fn ask_spelling(context: &Context, tablet: &Tablet) -> Option<(String, Spelling)> {
    let asked = overrides::ask(context, tablet).await;
    asked.map(|spelling| (tablet::alias(tablet), spelling)).map_err(|why| tracing::debug!("{why}")).ok()
}

async fn ask_health(context: &Context, tablet: &Tablet) -> Health {
    let asked = match context.tablets.health(tablet, TIMEOUT).await {
        // a kept connection may have broken since it was used
        Err(tablet::Error::Unreachable { .. }) => context.tablets.health(tablet, TIMEOUT).await,
        asked => asked,
    };
    match asked {
        Ok(health) if tablet::is_serving(&health) => Health::Serving,
        Ok(health) => {
            let why = health.realtime_stats.map(|stats| stats.health_error).filter(|why| !why.is_empty());
            Health::NotServing(why.unwrap_or_else(|| "it does not serve".into()))
        }
        Err(error @ tablet::Error::Unreachable { .. }) => Health::NotServing(error.to_string()),
        Err(error) => Health::Unknown(error.to_string()),
    }
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
