//! Ways back that nobody finished, or that are forgotten.

use std::time::Duration;

use super::Leftover;
use crate::context::Context;
use crate::deadline;
use crate::error::check;
use crate::topo::paths;
use crate::workflow::Error;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::back;
use crate::workflow::reads::clusters;
use crate::workflow::record::way_back::{self as back_record, Facts, Known, Phase};

/// A way back that is open for longer is told, in seconds: a week.
const LONG: i64 = 7 * 24 * 3600;
/// The commands of which one ends a way back that is open.
const DECIDE: &str = "complete|cancel";
/// Bound of asking a mounted cluster for its ways back.
const READING: Duration = Duration::from_secs(3);

/// What there is to tell of ways back. `has_record`: whether the migration of a keyspace and a name has one still; `is_there`: whether
/// a keyspace is; `now` in seconds since the epoch.
pub fn judge(
    known: &[Known],
    has_record: &dyn Fn(&str, &str) -> bool,
    is_there: &dyn Fn(&str) -> bool,
    now: i64,
) -> Vec<Leftover> {
    let told = |(keyspace, workflow, facts): &Known| {
        let names = (keyspace.as_str(), workflow.as_str());
        let subject = format!("way back of {keyspace}.{workflow}");
        let facts = match facts {
            Ok(facts) => facts,
            Err(why) => {
                let fix = format!("take it away: {}", back::forget_command(names));
                let finding = Finding::new(&check::NOT_READ, subject, why.as_str(), fix);
                return Some(Leftover::new(Finding { severity: Severity::Unchecked, ..finding }, None));
            }
        };
        let (cause, action) = match is_there(keyspace) {
            true => trouble(facts, has_record(keyspace, workflow), now)?,
            false => ("its keyspace is gone".to_owned(), "cancel"),
        };
        let doing = match action {
            "cancel" => "take it away",
            DECIDE => "go back, or stay with the target",
            _ => "finish it",
        };
        let fix = format!("{doing}: {}", back::command(action, names));
        Some(Leftover::new(Finding::new(&check::WAY_BACK_LEFT, subject, cause, fix), None))
    };
    known.iter().filter_map(told).collect()
}

/// Whether a mount from which nothing reads yet is there for a way back: the cluster that it leads to has one that names it so.
///
/// # Errors
/// A text when that cluster does not tell.
pub async fn need(context: &Context, mount: &str) -> Result<bool, String> {
    if !back::may_be_mount(mount) {
        return Ok(false);
    }
    let reading = async {
        let record = clusters::mount(context, mount).await?;
        let topo = clusters::open(context, mount, &record.value).await?;
        let nodes = topo.global().list(paths::WORKFLOW_RECORDS).await?;
        let names_it = |(keyspace, workflow, facts): &Known| match facts {
            Ok(facts) => facts.back_mount == mount,
            // it cannot be read
            Err(_) => back::mounts(keyspace, workflow).iter().any(|name| name == mount),
        };
        Ok::<_, Error>(back_record::known(&nodes).iter().any(names_it))
    };
    match tokio::time::timeout(deadline::remaining(READING), reading).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the cluster that it leads to did not answer in time".to_owned()),
    }
}

/// What is wrong, and the command for it.
fn trouble(facts: &Facts, has_migration: bool, now: i64) -> Option<(String, &'static str)> {
    let plain = |text: &str, action| Some((text.to_owned(), action));
    match facts.phase {
        Phase::Prepared | Phase::Noted if has_migration => None,
        Phase::Prepared | Phase::Noted => plain("its migration is gone", "cancel"),
        Phase::Missed => Some((format!("there is none any more: {}", facts.why), "cancel")),
        Phase::Handed if has_migration => None,
        Phase::Handed => plain("its streams do not run: complete could not open it", "prepare"),
        Phase::Open => {
            let days = (now - facts.since) / (24 * 3600);
            (now - facts.since > LONG).then(|| (format!("it is open for {days} days"), DECIDE))
        }
        Phase::Closing | Phase::Returned => plain("going back was interrupted", "complete"),
        Phase::Cancelling => plain("its cancel was interrupted", "cancel"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(phase: &str, since: i64) -> Facts {
        let text = format!(
            r#"{{"phase":"{phase}","mount":"ext1","source":{{"topo_type":"","server":"","root":""}},"keyspace":"commerce",
                "tables":["t"],"back_mount":"m","mount_made":true,"on_ddl":1,"since":{since},
                "target":{{"topo_type":"","server":"","root":""}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_under_way_is_no_leftover_and_what_was_left_is_told_with_its_command() {
        let now = 100 * LONG;
        let told = |phase, has_migration| trouble(&facts(phase, now), has_migration, now).map(|(_, action)| action);
        for (phase, alive, gone) in [
            ("prepared", None, Some("cancel")),
            ("noted", None, Some("cancel")),
            ("missed", Some("cancel"), Some("cancel")),
            ("handed", None, Some("prepare")),
            ("open", None, None),
            ("closing", Some("complete"), Some("complete")),
            ("returned", Some("complete"), Some("complete")),
            ("cancelling", Some("cancel"), Some("cancel")),
        ] {
            assert_eq!((told(phase, true), told(phase, false)), (alive, gone), "{phase}");
        }
        let known = [("ks".to_owned(), "w".to_owned(), Ok(facts("open", now - LONG - 1)))];
        let old = &judge(&known, &|_, _| false, &|_| true, now)[0].finding;
        let fix =
            "go back, or stay with the target: vtmigrated way-back complete|cancel --target-keyspace ks --workflow w";
        assert_eq!((old.cause.as_str(), old.fix.as_str()), ("it is open for 7 days", fix));
        let known = [("ks".to_owned(), "w".to_owned(), Err("garbage".to_owned()))];
        let unread = &judge(&known, &|_, _| false, &|_| true, now)[0].finding;
        assert!(unread.id == "NOT_READ" && unread.fix.ends_with("--workflow w --forget-record"), "{unread:?}");
        for phase in ["prepared", "handed", "open", "closing", "returned"] {
            let known = [("ks".to_owned(), "w".to_owned(), Ok(facts(phase, now)))];
            let found = &judge(&known, &|_, _| true, &|_| false, now)[0].finding;
            assert_eq!(found.cause, "its keyspace is gone", "{phase}");
            assert!(found.fix.starts_with("take it away: vtmigrated way-back cancel"), "{phase}: {}", found.fix);
        }
    }
}
