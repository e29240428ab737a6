//! Where a way back stands, and whether going back would be refused now. Only reads.

use std::time::Duration;

use futures::future::{join, try_join};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::examine::{examine, migration};
use super::{
    Answer, BackStream, check_names, exact, is_gone, mirror, observe, opening, plan, side, stored, unfinished,
};
use crate::context::Context;
use crate::deadline;
use crate::error::{Code, Reason, check};
use crate::gtid::Position;
use crate::workflow::checks::complete;
use crate::workflow::findings::{Finding, Report, Severity};
use crate::workflow::names::back::{self, command, vdiff_command};
use crate::workflow::names::{self};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::way_back::{Facts, Phase};
use crate::workflow::status::verdict;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, lag};
use crate::workflow::{Error, Result};

/// Longest position shown, in characters.
const POSITION: usize = 400;
/// Bound of reading the source's cluster.
const READING: Duration = Duration::from_secs(15);

/// Tells where a way back stands.
///
/// # Errors
/// `WAY_BACK_UNKNOWN`, and what keeps the clusters from being read.
pub async fn status(context: &Context, names: (&str, &str)) -> Result<Answer> {
    check_names(names)?;
    let (facts, gone) = try_join(stored(context, names), is_gone(context, names.0)).await?;
    if gone {
        let fix = format!("take the way back away: {}", command("cancel", names));
        let finding = about(&check::WAY_BACK_LEFT, names, "its keyspace is gone", &fix);
        return Ok(blocked(&facts, vec![Finding { severity: Severity::Blocks, ..finding }]));
    }
    let told = match facts.phase {
        Phase::Prepared => prepared(context, names, &facts).await,
        Phase::Missed => blocked(&facts, observe::told(names, &facts, false).into_iter().collect()),
        Phase::Handed => with_streams(context, names, &facts, not_open(context, names, &facts)).await,
        Phase::Open => {
            let unfinished = unfinished(context, names).await?.is_some();
            let told = observe::told(names, &facts, unfinished);
            with_streams(context, names, &facts, told.into_iter().collect()).await
        }
        Phase::Noted => {
            let mut summary = format!(
                "complete has begun and has not handed the target over: run it again: Migrate --target-keyspace {} \
                 --workflow {} complete",
                names.0, names.1
            );
            if !facts.source_denied.is_empty() {
                summary.push_str(
                    "; until then the source's tables are denied to clients, or cancel lets them write there: ",
                );
                summary.push_str(&command("cancel", names));
            }
            Answer { summary, ..blocked(&facts, Vec::new()) }
        }
        Phase::Closing => {
            let summary = format!(
                "going back has begun, and clients may not be able to write: run it again: {}; or stay with the target: {}",
                command("complete", names),
                command("cancel", names)
            );
            Answer { summary, ..blocked(&facts, Vec::new()) }
        }
        Phase::Returned => {
            let summary = format!(
                "the source is the one that serves, and clients may not be able to write to it yet: finish going back: {}",
                command("complete", names)
            );
            Answer { summary, ..blocked(&facts, Vec::new()) }
        }
        Phase::Cancelling => {
            let summary = format!("cancelling has begun: run it again: {}", command("cancel", names));
            Answer { summary, ..blocked(&facts, Vec::new()) }
        }
    };
    Ok(told)
}

/// What there is to tell of one that complete could not open.
fn not_open(context: &Context, names: (&str, &str), facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = observe::told(names, facts, false).into_iter().collect();
    if facts.both_written {
        let cause = "the source's tables were open to clients when these had the target, or are still: what is written there stays \
                     there alone";
        let fix = format!("stop the clients of the source, and deny them: {}", command("prepare", names));
        found.push(about(&check::WAY_BACK_BOTH_WRITABLE, names, cause, &fix));
    } else {
        found.extend(exact::unproven(context, names, facts, None));
    }
    found
}

fn about(check: &check::Check, names: (&str, &str), cause: &str, fix: &str) -> Finding {
    Finding::new(check, format!("workflow {}.{}", names.0, names.1), cause, fix)
}

fn blocked(facts: &Facts, findings: Vec<Finding>) -> Answer {
    let summary = complete::summary(&findings);
    Answer { phase: facts.phase.word(), clear: false, summary, report: Report { findings }, ..Answer::default() }
}

/// What the source's cluster says, or a finding with why it says nothing.
async fn told_by<T>(facts: &Facts, reading: impl Future<Output = Result<T>>) -> std::result::Result<T, Finding> {
    let error = match tokio::time::timeout(deadline::remaining(READING), reading).await {
        Ok(Ok(told)) => return Ok(told),
        Ok(Err(error)) => error,
        Err(_) => {
            let text = format!("the cluster of mount {} did not answer within {} s", facts.mount, READING.as_secs());
            let help = format!("see its servers with Mount show --name {}, and ask again", facts.mount);
            Error::Refused { code: Code::Unavailable, reason: check::SOURCE_UNREACHABLE.id, text, help }
        }
    };
    Err(Finding::of(&error, format!("keyspace {} of mount {}", facts.keyspace, facts.mount)))
}

/// The checks of prepare once more. When the migration is gone, so is what was prepared for it.
async fn prepared(context: &Context, names: (&str, &str), facts: &Facts) -> Answer {
    let examined = async {
        let mirror = mirror::to_read(context, facts).await?;
        examine(context, &mirror, names, facts).await
    };
    let (found, examined) = join(ExistingWorkflow::read(context, names.0, names.1), told_by(facts, examined)).await;
    let mut findings = match found {
        Ok(found) if !opening::is_for(facts, &found) => {
            let fix = format!("take it away, and prepare anew: {}", command("cancel", names));
            vec![about(&check::WAY_BACK_TOO_LATE, names, opening::OTHER, &fix)]
        }
        Ok(found) => migration(&found, names.1),
        Err(error) => {
            let fix = format!("take the way back away: {}", command("cancel", names));
            let finding = Finding::of(&error, format!("workflow {}.{}", names.0, names.1));
            vec![Finding { severity: Severity::Blocks, fix, ..finding }]
        }
    };
    match examined {
        Ok(examined) => findings.extend(examined.report.findings),
        Err(silent) => findings.push(silent),
    }
    let told = blocked(facts, findings);
    let clear = told.report.is_clear();
    let summary = if clear { "complete will open it".to_owned() } else { told.summary };
    Answer { clear, summary, ..told }
}

/// What the source's cluster says, after what is known already; a source that says nothing is a finding.
async fn with_streams(context: &Context, names: (&str, &str), facts: &Facts, mut known: Vec<Finding>) -> Answer {
    let seen = told_by(facts, seen(context, names, facts)).await;
    let seen = seen.unwrap_or_else(|silent| SourceAnswers { found: vec![silent], ..SourceAnswers::default() });
    let SourceAnswers { found, streams, vdiff, equal_since } = seen;
    if facts.phase == Phase::Open {
        known.extend(exact::unproven(context, names, facts, equal_since));
    }
    known.extend(found);
    let told = blocked(facts, known);
    Answer { clear: told.report.is_clear(), streams, vdiff, ..told }
}

/// What the source's cluster says of a way back.
#[derive(Default)]
struct SourceAnswers {
    found: Vec<Finding>,
    streams: Vec<BackStream>,
    vdiff: String,
    equal_since: Option<i64>,
}

/// The verdict of the Migrate that the way back is in the source's cluster, and its streams.
async fn seen(context: &Context, names: (&str, &str), facts: &Facts) -> Result<SourceAnswers> {
    let mirror = mirror::to_read(context, facts).await?;
    let back = back::name(names.1);
    let source = Keyspace::read(&mirror, &facts.keyspace).await?;
    source.refuse_silent_among(|shard| facts.is_on(shard))?;
    let rows = source.workflows(&mirror, std::slice::from_ref(&back)).await?;
    let mut seen = SourceAnswers { streams: shown(&source, &rows), ..SourceAnswers::default() };
    seen.found.extend(side::trouble(&source, &rows, names, facts));
    seen.found.extend(writable(&source, facts, names));
    seen.found.extend(unregistered(&mirror, names, facts).await);
    match verdict::of_way_back(&mirror, facts, &back).await {
        Ok(judged) => {
            // that is told above, with what it means here
            let other = |finding: &Finding| finding.id != check::DENIED_MISSING.id;
            let findings = judged.report.findings.into_iter().filter(other);
            seen.found.extend(findings.map(|finding| Finding { fix: here(&finding.fix, names, facts), ..finding }));
            (seen.vdiff, seen.equal_since) = (judged.vdiff, judged.equal_since);
        }
        Err(error) => seen.found.push(Finding::of(&error, format!("workflow {}.{back}", facts.keyspace))),
    }
    Ok(seen)
}

/// How fixes end that nothing but a new migration helps.
const ANEW: &str = "cancel the workflow and create it again";

/// Commands for the source's own vtctld as those for this server that do the same, or that do not end the way back there. One cannot be
/// made anew, nor ended with its data.
pub(super) fn here(fix: &str, names: (&str, &str), facts: &Facts) -> String {
    let theirs = format!("--target-keyspace {} --workflow {}", facts.keyspace, back::name(names.1));
    let ended = ["complete", "cancel"].iter().fold(fix.to_owned(), |fix, action| {
        fix.replace(&format!("Migrate {theirs} {action}"), &command(action, names))
    });
    let compared = ["create", "delete"]
        .iter()
        .fold(ended, |fix, action| fix.replace(&format!("VDiff {theirs} {action}"), &vdiff_command(action, names)));
    let shown = compared.replace("see VDiff show", &format!("see {}", vdiff_command("show", names)));
    match shown.split_once(ANEW) {
        Some((before, _)) => format!("{before}take the way back away: {}", command("cancel", names)),
        // of what there is no command here
        None if shown.contains(&format!("Workflow --keyspace {} ", facts.keyspace)) => {
            format!("{shown} (in the source's cluster)")
        }
        None => shown,
    }
}

/// What there is to tell of a source that does not know the target any more: streams go on until their tablets open its topology anew.
async fn unregistered(mirror: &Context, names: (&str, &str), facts: &Facts) -> Option<Finding> {
    let (mount, keyspace) = (&facts.back_mount, &facts.keyspace);
    let error = match mirror::is_known(mirror, facts).await {
        Ok(true) => return None,
        Ok(false) => {
            let text = format!("the source has no mount {mount} any more: streams end when tablets restart");
            Error::precondition(
                Reason::MOUNT_UNKNOWN,
                text,
                format!("register it again: {}", command("prepare", names)),
            )
        }
        Err(error) => error,
    };
    let finding = Finding::of(&error, format!("keyspace {keyspace} of mount {}", facts.mount));
    Some(Finding { severity: Severity::Warns, ..finding })
}

/// Tables of the source that clients can write to, although they have the target.
fn writable(source: &Keyspace, facts: &Facts, names: (&str, &str)) -> Vec<Finding> {
    let finding = |(shard, tables): (String, Vec<String>)| {
        let shard = format!("{}/{shard}", source.name);
        let cause = format!(
            "clients can write to {} of {shard}, and to the target: what they write there stays there alone",
            names::some(&tables, ", ")
        );
        let (severity, fix) = match facts.phase {
            Phase::Handed => {
                (Severity::Blocks, format!("stop these clients, and deny them: {}", command("prepare", names)))
            }
            // going back loses nothing of it
            _ => (
                Severity::Warns,
                format!(
                    "stop these clients, and deny them in the source's cluster: SetShardTabletControl --denied-tables {} {shard} \
                     primary",
                    tables.join(",")
                ),
            ),
        };
        Finding { severity, ..Finding::new(&check::WAY_BACK_BOTH_WRITABLE, format!("shard {shard}"), cause, fix) }
    };
    source.writable(&facts.tables).into_iter().map(finding).collect()
}

fn shown(source: &Keyspace, rows: &[ShardWorkflow]) -> Vec<BackStream> {
    let of_row = |row: &ShardWorkflow| {
        let shard = source.shards.get(row.shard).map(|shard| shard.name.clone()).unwrap_or_default();
        row.found.streams.iter().map(|stream| one(stream, &shard)).collect::<Vec<_>>()
    };
    let mut told: Vec<BackStream> = rows.iter().flat_map(of_row).collect();
    told.sort_by(|a, b| (&a.to_shard, &a.from_shard, a.id).cmp(&(&b.to_shard, &b.from_shard, b.id)));
    told
}

fn one(stream: &Stream, shard: &str) -> BackStream {
    BackStream {
        id: stream.id,
        from_shard: plan::read_shard(stream).to_owned(),
        to_shard: shard.to_owned(),
        state: streams::shown_state(stream, false),
        message: streams::message(stream),
        position: Position::stored(&stream.pos).to_string().chars().take(POSITION).collect(),
        lag: stream.time_updated.as_ref().filter(|time| time.seconds > 0).map(|_| lag(stream)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_for_this_server() {
        let text = r#"{"phase":"open","mount":"ext1","source":{"topo_type":"","server":"","root":""},"keyspace":"commerce",
            "tables":["t"],"back_mount":"m","mount_made":true,"on_ddl":1,"target":{"topo_type":"","server":"","root":""}}"#;
        let facts: Facts = serde_json::from_str(text).unwrap();
        let theirs = "--target-keyspace commerce --workflow import_back";
        let ours = "--target-keyspace customer --workflow import";
        let told = |fix: &str| here(fix, ("customer", "import"), &facts);
        assert_eq!(
            told(&format!("see VDiff show u, fix the rows: VDiff {theirs} create --wait; or: VDiff {theirs} delete u")),
            format!(
                "see vtmigrated way-back vdiff show {ours} u, fix the rows: vtmigrated way-back vdiff create {ours} --wait; or: \
                 vtmigrated way-back vdiff delete {ours} u"
            )
        );
        assert_eq!(
            told(&format!("Migrate {theirs} complete, or Migrate {theirs} cancel")),
            format!("vtmigrated way-back complete {ours}, or vtmigrated way-back cancel {ours}")
        );
        for (before, theirs) in [
            ("", "cancel the workflow and create it again, or end it with Workflow delete --keep-data"),
            ("create the table there, or ", "create the table there, or cancel the workflow and create it again"),
        ] {
            assert_eq!(told(theirs), format!("{before}take the way back away: vtmigrated way-back cancel {ours}"));
        }
        let start = "start it with: Workflow --keyspace commerce start --workflow import_back";
        assert_eq!(told(start), format!("{start} (in the source's cluster)"));
    }
}
