//! Whether a mount can be worked with: its topology, root, cells and tablets.

use vtmigrated_proto::topodata::Tablet;

use crate::error::{Code, check};
use crate::topo::{self, Cells, Topo, paths};
use crate::workflow::Result;
use crate::workflow::findings::{Finding, Report};

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

impl Probed {
    /// What is wrong with it; `endpoint` is kind, server and root, `keyspaces` the full key of the keyspaces.
    pub fn check(&self, (_, server, root): (&str, &str, &str), keyspaces: &str) -> Report {
        let subject = format!("topology {server} {root}");
        if let Some(failure) = &self.failure {
            return Report::of(&failure.clone().into(), subject);
        }
        let mut report = Report::default();
        if self.keyspaces.is_empty() && self.cells.is_empty() {
            let mut fix = format!("the root {root} holds neither keyspaces nor cells; check --topo-root");
            if !self.siblings.is_empty() {
                fix = format!("{fix}; found at this server: {}", self.siblings.join(", "));
            }
            let cause = topo::Error::NoNode(keyspaces.to_owned()).to_string();
            let finding = Finding::new(&check::MOUNT_ROOT_MISSING, subject, cause, fix);
            report.extend([Finding { code: Code::NotFound, ..finding }]);
            return report;
        }
        if self.cells.is_empty() {
            let cause = format!("the root {root} holds no cell: no tablet can be found there");
            let fix = "add a cell there: AddCellInfo";
            report.extend([Finding::new(&check::MOUNT_WITHOUT_CELLS, subject.clone(), cause, fix)]);
        }
        if self.keyspaces.is_empty() {
            let cause = format!("the root {root} holds no keyspace yet");
            report.extend([Finding::new(&check::MOUNT_WITHOUT_KEYSPACES, subject, cause, "check --topo-root")]);
        }
        let unreachable = |(cell, why): &(String, String)| {
            let cause = format!("cell {cell} of the mounted cluster does not answer: {why}");
            let fix = format!("see the address with GetCellInfo {cell} of that cluster: this host must reach it");
            Finding::new(&check::CELL_UNREACHABLE, format!("cell {cell}"), cause, fix)
        };
        report.extend(self.unreachable.iter().map(unreachable));
        report
    }

    /// Refuses what blocks.
    pub fn refuse(&self, topo: &Topo) -> Result<Report> {
        let report = self.check(topo.global().endpoint(), &topo.global().full(paths::KEYSPACES));
        report.refuse().map(|()| report)
    }
}

/// Tablets that cannot be dialled.
pub fn unreachable(dialled: &Dialled) -> Vec<Finding> {
    let finding = |(alias, failed, _): &(String, Option<String>, _)| {
        let cause = failed.clone()?;
        let fix = "check that it runs, and that this host and the target's tablets reach its gRPC port";
        Some(Finding::new(&check::TABLET_UNREACHABLE, format!("tablet {alias}"), cause, fix))
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
        let fix = "try the migration with a copy of a small table first";
        found.push(Finding::new(&check::VERSION_UNTRIED, format!("tablet {alias}"), cause, fix));
    }
    if let Some((alias, why)) = silent.first() {
        let cause = format!("{} tablets of {whose} do not tell their version, such as {alias}: {why}", silent.len());
        let fix = "see /debug/vars on their status ports (BuildVersion)";
        found.push(Finding::new(&check::VERSION_UNKNOWN, whose.to_owned(), cause, fix));
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
        let fix = format!("upgrade the target's tablets to {} or later", VERSIONS.start());
        Finding::new(&check::VERSION_TOO_OLD, format!("tablet {alias}"), cause, fix)
    };
    old.map(finding).collect()
}

#[cfg(test)]
mod tests;
