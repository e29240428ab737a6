//! The client behind `vtmigrated way-back`: asks a server's WayBack and prints the answer.

mod vdiff;

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::json;
use vtmigrated_proto::vtmigrated::way_back_client::WayBackClient;
use vtmigrated_proto::vtmigrated::*;

use crate::advise::{self, Error};
use crate::cli::advise::{Format, WorkflowArgs};
use crate::cli::way_back::{Action, Cancel, Prepare, WayBack};

/// Asks and prints. The exit code is 0 for yes, 3 for no, 1 when there is no answer.
pub async fn run(asked: &WayBack) -> ExitCode {
    advise::print(ask(asked).await)
}

/// The answer as text, and whether it is yes.
async fn ask(asked: &WayBack) -> Result<(String, bool), Error> {
    let mut client = WayBackClient::new(advise::channel(&asked.server, asked.timeout).await?);
    let report = match asked.action.clone() {
        Action::Prepare(Prepare { of, topo_server, on_ddl, dry_run }) => {
            let WorkflowArgs { target_keyspace: keyspace, workflow } = of;
            client.prepare(PrepareWayBackRequest { keyspace, workflow, topo_server, on_ddl, dry_run }).await?
        }
        Action::Status(of) => client.status(request(of)).await?,
        Action::Complete(of) => client.complete(request(of)).await?,
        Action::Cancel(Cancel { of, forget_source, forget_record }) => {
            client.cancel(WayBackRequest { forget_source, forget_record, ..request(of) }).await?
        }
        Action::Vdiff { action } => return vdiff::ask(&mut client, action, asked.format).await,
    };
    let report = report.into_inner();
    Ok((shown(&report, asked.format), report.clear))
}

fn request(of: WorkflowArgs) -> WayBackRequest {
    WayBackRequest { keyspace: of.target_keyspace, workflow: of.workflow, ..WayBackRequest::default() }
}

fn shown(report: &WayBackReport, format: Format) -> String {
    match format {
        Format::Text => text(report),
        Format::Json => advise::pretty(&json!({
            "phase": report.phase,
            "clear": report.clear,
            "summary": report.summary,
            "vdiff": report.vdiff,
            "steps": report.steps,
            "findings": report.findings.iter().map(advise::finding).collect::<Vec<_>>(),
            "streams": report.streams.iter().map(|stream| json!({
                "id": stream.id,
                "from_shard": stream.from_shard,
                "to_shard": stream.to_shard,
                "state": stream.state,
                "message": stream.message,
                "position": stream.position,
                "lag": stream.lag,
            })).collect::<Vec<_>>(),
        })),
    }
}

fn text(report: &WayBackReport) -> String {
    let mut text = match report.phase.as_str() {
        "" => report.summary.clone(),
        phase => format!("{phase}: {}", report.summary),
    };
    for stream in &report.streams {
        let way_back_report::Stream { id, from_shard, to_shard, state, message, position, lag } = stream;
        let lag = if *lag < 0 { "nothing heard yet".to_owned() } else { format!("lag {lag} s") };
        write!(text, "\nstream {id} from {from_shard} into {to_shard}: {state}, {lag}").ok();
        if !position.is_empty() {
            write!(text, ", at {position}").ok();
        }
        if !message.is_empty() {
            write!(text, ", {message}").ok();
        }
    }
    advise::add(&mut text, &report.findings, &report.vdiff, &report.steps);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_its_streams_before_what_was_found() {
        let stream = way_back_report::Stream {
            id: 4,
            from_shard: "-80".into(),
            to_shard: "0".into(),
            state: "Running".into(),
            position: "MySQL56/a:1-5".into(),
            lag: 1,
            ..Default::default()
        };
        let silent = way_back_report::Stream {
            id: 5,
            lag: -1,
            message: "picking".into(),
            position: String::new(),
            ..stream.clone()
        };
        let finding =
            Finding { id: "BEHIND".into(), severity: 1, subject: "s".into(), cause: "c".into(), ..Default::default() };
        let report = WayBackReport {
            phase: "open".into(),
            summary: "NO-GO (behind, 1 reason)".into(),
            findings: vec![finding],
            streams: vec![stream, silent],
            vdiff: "none".into(),
            ..WayBackReport::default()
        };
        let lines = [
            "open: NO-GO (behind, 1 reason)",
            "stream 4 from -80 into 0: Running, lag 1 s, at MySQL56/a:1-5",
            "stream 5 from -80 into 0: Running, nothing heard yet, picking",
            "blocks BEHIND s: c",
            "last VDiff: none",
        ];
        assert_eq!(shown(&report, Format::Text), lines.join("\n"));
        let json: serde_json::Value = serde_json::from_str(&shown(&report, Format::Json)).unwrap();
        assert_eq!((&json["streams"][0]["lag"], &json["findings"][0]["severity"]), (&json!(1), &json!("blocks")));
    }
}
