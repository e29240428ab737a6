//! Whether streams will find a tablet that serves, and whether its binlog will do.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::answers::ProbeAnswers;
use super::servers::{Answers, Server};
use crate::error::check;
use crate::tablet;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::tablet_types::{cell, is_one_of, name};

/// Bytes in a second of one stream's copy, for estimates only.
const COPY_RATE: u64 = 10 << 20;

/// What a tablet says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Serving,
    /// With the reason.
    NotServing(String),
    /// With the reason why nobody knows.
    Unknown(String),
}

/// Shards of which no tablet of these types and cells serves now, by the rule of vreplication's picker. A shard without any
/// such tablet is not told here: `picking` does.
///
/// `looked` are the cells that are looked in; with primary as the only type they do not matter.
pub fn serving(
    keyspace: &str,
    tablets: &BTreeMap<String, Vec<Tablet>>,
    health: &BTreeMap<String, Health>,
    types: &[TabletType],
    looked: &BTreeSet<&str>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (shard, tablets) in tablets {
        let of = |tablet: &Tablet| health.get(&tablet::alias(tablet));
        let any_cell = types == [TabletType::Primary];
        let wanted = |t: &&Tablet| is_one_of(t, types) && (any_cell || looked.contains(cell(t)));
        let candidates: Vec<&Tablet> = tablets.iter().filter(wanted).collect();
        if candidates.is_empty() || candidates.iter().any(|t| of(t) == Some(&Health::Serving)) {
            continue;
        }
        let mut why = Vec::new();
        let mut unknown = false;
        for tablet in candidates {
            let (Some(Health::NotServing(text) | Health::Unknown(text)), alias) = (of(tablet), tablet::alias(tablet))
            else {
                unknown = true;
                continue;
            };
            unknown |= matches!(of(tablet), Some(Health::Unknown(_)));
            why.push(format!("{alias} ({}): {text}", name(tablet.r#type())));
        }
        let subject = format!("shard {keyspace}/{shard}");
        if unknown {
            let cause = format!("the tablets of source shard {keyspace}/{shard} do not tell whether they serve");
            found.push(Finding::new(&check::SOURCE_HEALTH_UNKNOWN, subject, cause, "look at their status pages"));
            continue;
        }
        let other = tablets.iter().find(|tablet| of(tablet) == Some(&Health::Serving));
        let fix = other.map_or_else(
            || "no tablet of the shard serves: fix one of them (see GetTablets and their logs)".to_owned(),
            |other| format!("fix them, or use --cells {} --tablet-types {}", cell(other), name(other.r#type())),
        );
        let cause = format!(
            "no tablet found to stream from in source shard {keyspace}/{shard}: none of its tablets of these types and cells \
             serves now: {}",
            why.join(", ")
        );
        found.push(Finding::new(&check::SOURCE_TABLET_NOT_SERVING, subject, cause, fix));
    }
    found
}

/// Source tablets whose binlog settings break a stream. One that is bad beside another that would do only warns.
pub fn binlogs(servers: &[Server]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for server in servers.iter().filter(|server| server.candidate) {
        let Ok(answers) = &server.answers else { continue };
        let Some(mut finding) = binlog(server, answers) else { continue };
        let fine = |other: &&Server| {
            other.candidate
                && other.shard == server.shard
                && other.answers.as_ref().is_ok_and(|a| binlog(other, a).is_none())
        };
        if servers.iter().any(|other| fine(&other)) {
            finding.severity = Severity::Warns;
        }
        found.push(finding);
    }
    found
}

fn binlog(server: &Server, answers: &Answers) -> Option<Finding> {
    let value = |name: &str| answers.variables.get(name).map(|value| value.to_uppercase());
    let bad = |check: &check::Check, what: &str, fix: &str| {
        let cause = format!("source tablet {} of {} {what}", server.alias, server.shard);
        Some(Finding::new(check, format!("tablet {}", server.alias), cause, fix))
    };
    if value("log_bin").is_some_and(|v| matches!(v.as_str(), "OFF" | "0")) {
        return bad(&check::BINLOG_OFF, "writes no binlog", "start its MySQL with --log-bin and --log-replica-updates");
    }
    if let Some(format) = value("binlog_format").filter(|v| v != "ROW") {
        return bad(
            &check::BINLOG_NOT_ROW,
            &format!("has binlog_format {format}, and streams need ROW"),
            "set global binlog_format = 'ROW' on its MySQL, and in its my.cnf; then let the applications connect again",
        );
    }
    match value("binlog_row_image").as_deref() {
        Some("MINIMAL") => {
            return bad(
                &check::ROW_IMAGE_MINIMAL,
                "has binlog_row_image MINIMAL: its events leave out columns that streams need",
                "set global binlog_row_image = 'FULL' on its MySQL; then let the applications connect again",
            );
        }
        Some("NOBLOB") => {
            return bad(
                &check::ROW_IMAGE_NOBLOB,
                "has binlog_row_image NOBLOB: its events leave out blobs that did not change",
                "set global binlog_row_image = 'FULL' on its MySQL where tablets are older than 18",
            );
        }
        _ => {}
    }
    let gtids = answers.gtids_off().filter(|_| !answers.by_place)?;
    bad(&check::GTID_OFF, &format!("has gtid_mode {gtids}, and streams need GTIDs"), "set gtid_mode = ON on its MySQL")
}

/// Target primaries whose MySQL has a row image with which their tablets end every stream of a Migrate (Vitess 22.0.4 and 24.0.4,
/// `validateBinlogRowImage`).
pub fn row_images(target: &[Server]) -> Vec<Finding> {
    let told = target.iter().filter_map(|server| {
        let image = server.answers.as_ref().ok()?.variables.get("binlog_row_image")?;
        Some((server, image.to_lowercase()))
    });
    let finding = |(server, image): (&Server, String)| {
        let why = if image == "noblob" { "for Migrate" } else { "by Vitess VReplication" };
        let cause = format!(
            "{image} binlog_row_image is not supported {why}: the MySQL of {}, the primary of {}, has it, and every stream would end",
            server.alias, server.shard
        );
        let fix = "set global binlog_row_image = 'FULL' on its MySQL, and in its my.cnf";
        Finding::new(&check::TARGET_ROW_IMAGE, format!("tablet {}", server.alias), cause, fix)
    };
    told.filter(|(_, image)| image != "full").map(finding).collect()
}

/// Binlogs that may be purged before a copy of so many bytes is over. An estimate.
pub fn retention(servers: &[Server], bytes: u64) -> Vec<Finding> {
    let seconds = bytes / COPY_RATE;
    let mut found = Vec::new();
    for server in servers.iter().filter(|server| server.candidate) {
        let Ok(Answers { variables, .. }) = &server.answers else { continue };
        let number = |name: &str| variables.get(name).and_then(|value| value.parse::<f64>().ok()).filter(|n| *n > 0.0);
        let kept =
            number("binlog_expire_logs_seconds").or_else(|| number("expire_logs_days").map(|days| days * 86400.0));
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let Some(kept) = kept.filter(|kept| (seconds as f64) > *kept) else { continue };
        let cause = format!(
            "source tablet {} keeps binlogs for {:.1} h, and copying {} may take about {:.1} h (an estimate): a stream that \
             stops or falls behind for so long cannot go on",
            server.alias,
            kept / 3600.0,
            size(bytes),
            seconds / 3600
        );
        let fix = format!(
            "set global binlog_expire_logs_seconds = {} on its MySQL until complete",
            seconds.saturating_mul(2)
        );
        found.push(Finding::new(&check::BINLOG_RETENTION, format!("tablet {}", server.alias), cause, fix));
    }
    found
}

/// How much disk a target shard will need. Tablets do not tell how much is free.
pub fn disk(target: &str, shards: usize, bytes: u64) -> Finding {
    let each = bytes / u64::try_from(shards.max(1)).unwrap_or(1);
    let cause = format!(
        "tablets do not tell how much disk is free: about {} in all, {} on each target shard, are needed (an estimate), and as \
         much again for binlogs",
        size(bytes),
        size(each)
    );
    Finding::new(
        &check::DISK_FREE_UNKNOWN,
        format!("keyspace {target}"),
        cause,
        "look at the disks of the target's MySQL servers",
    )
}

/// Tablets that gave no answer, and what they said of vreplication's permissions.
pub fn answers(asked: &ProbeAnswers) -> Vec<Finding> {
    let mut found = Vec::new();
    let sides = [(&check::SOURCE_NOT_ASKED, &asked.servers.source), (&check::TARGET_NOT_ASKED, &asked.servers.target)];
    for (check, servers) in sides {
        for Server { alias, answers, .. } in servers {
            let why = match answers {
                Err(why) => why.clone(),
                Ok(answers) if answers.variables.is_empty() => format!("tablet {alias} told nothing of its MySQL"),
                Ok(_) => continue,
            };
            let fix = "its binlog settings, and what its database holds besides tables, are for you to look at";
            found.push(Finding::new(check, format!("tablet {alias}"), why, fix));
        }
    }
    for (alias, why) in &asked.denied {
        let cause = format!("vreplication lacks permissions on target tablet {alias}: {why}");
        let fix = "grant select, insert, update and delete on the sidecar database _vt.* to that user (vt_filtered)";
        found.push(Finding::new(&check::VREPLICATION_PERMISSIONS, format!("tablet {alias}"), cause, fix));
    }
    found
}

fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests;
