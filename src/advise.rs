//! The client behind `vtmigrated advise`: asks a server's Advisor and prints the answer.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::vtctldata::{
    MigrateCreateRequest, MountRegisterRequest, MoveTablesCompleteRequest, WorkflowDeleteRequest,
};
use vtmigrated_proto::vtmigrated::advisor_client::AdvisorClient;
use vtmigrated_proto::vtmigrated::*;

use crate::cli::advise::{Advise, Create, Format, Operation, Question};
use crate::error::with_cause;

/// The answer says no.
const NO: u8 = 3;
/// What helps where nobody answers as a server of ours does.
const NO_ANSWER: &str = "check that --server, or VTMIGRATED_SERVER, names the gRPC port of a running vtmigrated, and \
    that the port accepts calls without TLS; a change that has started there continues";
const OTHER_SERVER: &str = "a stock vtctld answers there: --server, or VTMIGRATED_SERVER, must name a vtmigrated";
const NO_PASSWORD: &str = "vtmigrated advise and vtmigrated way-back send neither a password nor a certificate: for \
    what to use instead see docs/security.md, Clients of our own";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot reach {server}: {source}")]
    Transport { server: String, source: tonic::transport::Error },
    #[error("unknown tablet type {0}: replica, primary, rdonly and others of Vitess")]
    TabletType(String),
    #[error("{0}")]
    Answered(Box<tonic::Status>),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Answered(Box::new(status))
    }
}

/// Asks and prints. The exit code is 0 for yes, 3 for no, 1 when there is no answer.
pub async fn run(advise: &Advise) -> ExitCode {
    print(ask(advise).await)
}

/// Prints an answer, or why there is none.
pub(crate) fn print(answer: Result<(String, bool), Error>) -> ExitCode {
    match answer {
        Ok((text, true)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok((text, false)) => {
            println!("{text}");
            ExitCode::from(NO)
        }
        Err(error) => {
            eprintln!("{}", why(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why there is no answer, and what to do about it where no server of ours has said that.
fn why(error: &Error) -> String {
    let (text, help) = match error {
        Error::Answered(status) => (with_cause(status.message(), &**status), help(status)),
        Error::Transport { .. } => (with_cause(&error.to_string(), error), NO_ANSWER),
        Error::TabletType(_) => (error.to_string(), ""),
    };
    if help.is_empty() { text } else { format!("{text}\n{help}") }
}

fn help(status: &tonic::Status) -> &'static str {
    // made here, for nothing came that could be read
    let is_own = std::error::Error::source(status).is_some();
    match status.code() {
        tonic::Code::Unauthenticated => NO_PASSWORD,
        tonic::Code::Unimplemented if status.message().starts_with("unknown service") => OTHER_SERVER,
        _ if is_own => NO_ANSWER,
        _ => "",
    }
}

/// The answer as text, and whether it is yes.
async fn ask(advise: &Advise) -> Result<(String, bool), Error> {
    let mut client = AdvisorClient::new(channel(&advise.server, advise.timeout).await?);
    Ok(match &advise.question {
        Question::Verdict(of) => {
            let (keyspace, workflow) = (of.target_keyspace.clone(), of.workflow.clone());
            let report = client.verdict(VerdictRequest { keyspace, workflow }).await?.into_inner();
            (shown(&report, advise.format), report.clear)
        }
        Question::Preflight(of) => {
            let request = MountRegisterRequest {
                name: of.mount_name.clone(),
                topo_type: of.topo_type.clone(),
                topo_server: of.topo_server.clone(),
                topo_root: of.topo_root.clone(),
            };
            let report = client.preflight_mount(request).await?.into_inner();
            (shown(&report, advise.format), report.clear)
        }
        Question::DryRun { operation } => {
            let report = dry_run(&mut client, operation).await?;
            (shown(&report, advise.format), report.clear)
        }
        Question::Leftovers { target_keyspace: keyspace, clean: false, .. } => {
            let request = FindLeftoversRequest { keyspace: keyspace.clone() };
            let report = client.find_leftovers(request).await?.into_inner();
            (shown(&report, advise.format), true)
        }
        Question::Leftovers { target_keyspace: keyspace, only, .. } => {
            let request = FindLeftoversRequest { keyspace: keyspace.clone() };
            let report = client.find_leftovers(request).await?.into_inner();
            let keys = if only.is_empty() {
                let cleanable = report.findings.iter().filter(|finding| finding.cleanable);
                cleanable.map(|finding| format!("{} {}", finding.id, finding.subject)).collect()
            } else {
                only.clone()
            };
            let found = if advise.format == Format::Text { format!("{}\n", text(&report)) } else { String::new() };
            if keys.is_empty() {
                return Ok((format!("{found}nothing to clean"), true));
            }
            let request = CleanLeftoversRequest { keyspace: keyspace.clone(), keys };
            let cleaned = client.clean_leftovers(request).await?.into_inner();
            let all = cleaned.leftovers.iter().all(|leftover| leftover.kept.is_empty());
            (format!("{found}{}", shown_cleaned(&cleaned, advise.format)), all)
        }
    })
}

async fn dry_run(client: &mut AdvisorClient<Channel>, operation: &Operation) -> Result<Report, Error> {
    Ok(match operation {
        Operation::Create(create) => client.dry_run_create(create_request(create)?).await?.into_inner(),
        Operation::Complete { of, ignore_source_keyspace } => {
            let request = MoveTablesCompleteRequest {
                target_keyspace: of.target_keyspace.clone(),
                workflow: of.workflow.clone(),
                dry_run: true,
                ignore_source_keyspace: *ignore_source_keyspace,
                ..MoveTablesCompleteRequest::default()
            };
            client.dry_run_complete(request).await?.into_inner()
        }
        Operation::Cancel { of, keep_data } => {
            let request = WorkflowDeleteRequest {
                keyspace: of.target_keyspace.clone(),
                workflow: of.workflow.clone(),
                keep_data: *keep_data,
                ..WorkflowDeleteRequest::default()
            };
            client.dry_run_cancel(request).await?.into_inner()
        }
    })
}

/// Types of tablets by their names, as messages have them.
pub(crate) fn tablet_types(names: &[String]) -> Result<Vec<i32>, Error> {
    let tablet_type = |name: &String| {
        let known = vtmigrated_proto::tablet_type(name);
        known.map(i32::from).ok_or_else(|| Error::TabletType(name.clone()))
    };
    names.iter().map(tablet_type).collect()
}

fn create_request(create: &Create) -> Result<MigrateCreateRequest, Error> {
    Ok(MigrateCreateRequest {
        workflow: create.of.workflow.clone(),
        target_keyspace: create.of.target_keyspace.clone(),
        source_keyspace: create.source_keyspace.clone(),
        mount_name: create.mount_name.clone(),
        all_tables: create.all_tables,
        include_tables: create.tables.clone(),
        exclude_tables: create.exclude_tables.clone(),
        cells: create.cells.clone(),
        tablet_types: tablet_types(&create.tablet_types)?,
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        source_time_zone: create.source_time_zone.clone(),
        on_ddl: create.on_ddl.clone(),
        defer_secondary_keys: create.defer_secondary_keys,
        auto_start: create.auto_start,
        stop_after_copy: create.stop_after_copy,
        ..MigrateCreateRequest::default()
    })
}

/// A connection to a server of ours.
pub(crate) async fn channel(server: &str, timeout: Duration) -> Result<Channel, Error> {
    let transport = |source| Error::Transport { server: server.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(transport)?;
    let endpoint = endpoint.connect_timeout(timeout).timeout(timeout).tcp_nodelay(true);
    endpoint.connect().await.map_err(transport)
}

fn shown(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text(report),
        Format::Json => pretty(&json!({
            "clear": report.clear,
            "summary": report.summary,
            "vdiff": report.vdiff,
            "steps": report.steps,
            "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        })),
    }
}

/// A finding as JSON.
pub(crate) fn finding(finding: &Finding) -> serde_json::Value {
    json!({
        "id": finding.id,
        "severity": severity(finding),
        "subject": finding.subject,
        "cause": finding.cause,
        "fix": finding.fix,
        "cleanable": finding.cleanable,
    })
}

fn text(report: &Report) -> String {
    let mut text = report.summary.clone();
    add(&mut text, &report.findings, &report.vdiff, &report.steps);
    text
}

/// Adds findings, what the last VDiff found, and numbered steps, each on lines of its own.
pub(crate) fn add(text: &mut String, findings: &[Finding], vdiff: &str, steps: &[String]) {
    for finding in findings {
        let Finding { id, subject, cause, fix, cleanable, .. } = finding;
        let mark = if *cleanable { ", cleanable" } else { "" };
        write!(text, "\n{} {id} {subject}: {cause}{mark}", severity(finding)).ok();
        if !fix.is_empty() {
            write!(text, "\n    {fix}").ok();
        }
    }
    if !vdiff.is_empty() {
        write!(text, "\nlast VDiff: {vdiff}").ok();
    }
    for (number, step) in steps.iter().enumerate() {
        write!(text, "\n{}. {step}", number + 1).ok();
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity() {
        Severity::Blocks => "blocks",
        Severity::Warns => "warns",
        Severity::Unchecked => "unchecked",
        Severity::Unspecified => "",
    }
}

fn shown_cleaned(cleaned: &CleanLeftoversResponse, format: Format) -> String {
    match format {
        Format::Text => {
            let line = |leftover: &clean_leftovers_response::Leftover| match leftover.kept.as_str() {
                "" => format!("cleaned {}", leftover.key),
                why => format!("kept {}: {why}", leftover.key),
            };
            cleaned.leftovers.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Format::Json => {
            let leftover = |l: &clean_leftovers_response::Leftover| json!({ "key": l.key, "kept": l.kept });
            pretty(&json!({ "leftovers": cleaned.leftovers.iter().map(leftover).collect::<Vec<_>>() }))
        }
    }
}

/// JSON on several lines.
pub(crate) fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn who_gets_no_answer_is_told_what_to_look_at() {
        let told = |status: Status| why(&Error::from(status));
        assert_eq!(told(Status::not_found("no streams\nsee list")), "no streams\nsee list");
        let stock = "unknown service vtmigrated.Advisor";
        assert_eq!(told(Status::unimplemented(stock)), format!("{stock}\n{OTHER_SERVER}"));
        assert_eq!(told(Status::unauthenticated("who?")), format!("who?\n{NO_PASSWORD}"));
        assert_eq!(told(Status::from_error("broken pipe".into())), format!("broken pipe\n{NO_ANSWER}"));
    }

    #[tokio::test]
    async fn a_port_at_which_nothing_listens_is_told_with_its_cause() {
        let error = channel("127.0.0.1:1", Duration::from_secs(5)).await.unwrap_err();
        let text = why(&error);
        assert!(text.starts_with("cannot reach 127.0.0.1:1: ") && text.ends_with(NO_ANSWER), "{text}");
        assert!(text.contains("refused"), "{text}");
    }
}
