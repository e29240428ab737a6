//! Whether a mount can be worked with: its topology, root, cells and tablets.

use std::time::Duration;

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::PingRequest;
use vtmigrated_proto::topodata::{Tablet, TopoConfig};

use crate::context::Context;
use crate::error::{Code, check};
use crate::topo::{self, Cells, Topo, paths};
use crate::workflow::findings::{Finding, Report};
use crate::workflow::{Result, migrate};
use crate::{deadline, tablet};

/// Bound of each round of what is asked of the other cluster.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bound of what is asked of its tablets.
const TABLET_TIMEOUT: Duration = Duration::from_secs(3);
/// Tablets that are dialled.
const MAX_TABLETS: usize = 64;
/// Versions of Vitess that this program is made for.
const VERSIONS: std::ops::RangeInclusive<u32> = 22..=25;

/// What was found at a mount.
#[derive(Default)]
pub struct Probed {
    pub cells: Cells,
    /// Directories under the parent of a root that holds nothing.
    pub siblings: Vec<String>,
    pub keyspaces: Vec<String>,
    /// Why the topology could not be read.
    pub failure: Option<topo::Error>,
    /// Each cell, with why it does not answer.
    pub unreachable: Vec<(String, String)>,
    pub tablets: Vec<Tablet>,
}

/// What dialling tablets gave: alias, why it failed, version or why that is not known.
pub type Dialled = Vec<(String, Option<String>, std::result::Result<String, String>)>;

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
        let record = migrate::gather::mount(context, name).await?;
        migrate::gather::open(context, name, &record.value).await
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
    let reads = names.iter().map(|name| tokio::time::timeout(TIMEOUT, topo::tablet::in_cell(&probed.cells, name)));
    for (name, answer) in names.iter().zip(join_all(reads).await) {
        match answer {
            Ok(Ok(tablets)) => {
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
    /// What is wrong with it; `endpoint` is kind, server and root, `keyspaces` the full key of the keyspaces.
    pub fn check(&self, (_, server, root): (&str, &str, &str), keyspaces: &str) -> Report {
        let subject = format!("topology {server} {root}");
        if let Some(failure) = &self.failure {
            return Report::of(&failure.clone().into(), subject);
        }
        let mut report = Report::default();
        if self.keyspaces.is_empty() && self.cells.is_empty() {
            let mut mend = format!("the root {root} holds neither keyspaces nor cells; check --topo-root");
            if !self.siblings.is_empty() {
                mend = format!("{mend}; found at this server: {}", self.siblings.join(", "));
            }
            let cause = topo::Error::NoNode(keyspaces.to_owned()).to_string();
            let finding = Finding::new(&check::MOUNT_ROOT_MISSING, subject, cause, mend);
            report.extend([Finding { code: Code::NotFound, ..finding }]);
            return report;
        }
        if self.cells.is_empty() {
            let cause = format!("the root {root} holds no cell: no tablet can be found there");
            let mend = "add a cell there: AddCellInfo";
            report.extend([Finding::new(&check::MOUNT_WITHOUT_CELLS, subject.clone(), cause, mend)]);
        }
        if self.keyspaces.is_empty() {
            let cause = format!("the root {root} holds no keyspace yet");
            report.extend([Finding::new(&check::MOUNT_WITHOUT_KEYSPACES, subject, cause, "check --topo-root")]);
        }
        let unreachable = |(cell, why): &(String, String)| {
            let cause = format!("cell {cell} of the mounted cluster does not answer: {why}");
            let mend = format!("see the address with GetCellInfo {cell} of that cluster: this host must reach it");
            Finding::new(&check::CELL_UNREACHABLE, format!("cell {cell}"), cause, mend)
        };
        report.extend(self.unreachable.iter().map(unreachable));
        report
    }

    /// Refuses what blocks.
    pub fn refuse(&self, topo: &Topo) -> Result<Report> {
        let report = self.check(topo.global().endpoint(), &topo.global().full(paths::KEYSPACES));
        report.refuse().map(|()| report)
    }

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

/// Tablets that cannot be dialled.
pub fn unreachable(dialled: &Dialled) -> Vec<Finding> {
    let finding = |(alias, failed, _): &(String, Option<String>, _)| {
        let cause = failed.clone()?;
        let mend = "check that it runs, and that this host and the target's tablets reach its gRPC port";
        Some(Finding::new(&check::TABLET_UNREACHABLE, format!("tablet {alias}"), cause, mend))
    };
    dialled.iter().filter_map(finding).collect()
}

/// Versions that this program was not made for, and tablets that do not tell theirs.
pub fn versions(
    whose: &str,
    told: impl Iterator<Item = (String, std::result::Result<String, String>)>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut silent: Vec<(String, String)> = Vec::new();
    for (alias, version) in told {
        let version = match version {
            Ok(version) => version,
            Err(why) => {
                silent.push((alias, why));
                continue;
            }
        };
        let major = major(&version);
        if major.is_some_and(|major| VERSIONS.contains(&major)) {
            continue;
        }
        let (first, last) = (VERSIONS.start(), VERSIONS.end());
        let cause =
            format!("tablet {alias} of {whose} runs Vitess {version}; this program is made for {first} to {last}");
        let mend = "try the migration with a copy of a small table first";
        found.push(Finding::new(&check::VERSION_UNTRIED, format!("tablet {alias}"), cause, mend));
    }
    if let Some((alias, why)) = silent.first() {
        let cause = format!("{} tablets of {whose} do not tell their version, such as {alias}: {why}", silent.len());
        let mend = "see /debug/vars on their status ports (BuildVersion)";
        found.push(Finding::new(&check::VERSION_UNKNOWN, whose.to_owned(), cause, mend));
    }
    found
}

fn major(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split(['.', '-']).next().and_then(|major| major.parse().ok())
}

/// True when a tablet is of a version after those that this program is made for.
pub fn any_newer<'v>(mut told: impl Iterator<Item = &'v (String, std::result::Result<String, String>)>) -> bool {
    told.any(|(_, version)| version.as_ref().is_ok_and(|version| major(version) > Some(*VERSIONS.end())))
}

/// Target tablets of before 22: they take no message with a change of state, by which complete sees that a stream stays
/// stopped. Those that do not tell their version are not here.
pub fn too_old<'v>(told: impl Iterator<Item = &'v (String, std::result::Result<String, String>)>) -> Vec<Finding> {
    let old = told.filter_map(|(alias, version)| {
        let version = version.as_ref().ok()?;
        (major(version)? < *VERSIONS.start()).then_some((alias, version))
    });
    let finding = |(alias, version): (&String, &String)| {
        let cause =
            format!("tablet {alias} of the target runs Vitess {version}: complete could not freeze its streams");
        let mend = format!("upgrade the target's tablets to {} or later", VERSIONS.start());
        Finding::new(&check::VERSION_TOO_OLD, format!("tablet {alias}"), cause, mend)
    };
    old.map(finding).collect()
}

#[cfg(test)]
mod tests;
