//! `vtmigrated.Advisor`: verdicts, preflights, dry runs, leftovers.

use std::sync::Arc;

use vtmigrated_proto::topodata::TopoConfig;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::*;

use crate::context::Context;
use crate::failure::Result;
use crate::workflow::findings;
use crate::workflow::leftovers;
use crate::workflow::migrate::{cancel, dry_run};
use crate::workflow::mount::examine;
use crate::workflow::plan::arguments;
use crate::workflow::status::verdict;

pub async fn clean(context: Arc<Context>, request: CleanLeftoversRequest) -> Result<CleanLeftoversResponse> {
    let cleaned = leftovers::clean(&context, &request.keyspace, &request.keys).await?;
    let leftover =
        |leftovers::Cleaned { key, kept }: leftovers::Cleaned| clean_leftovers_response::Leftover { key, kept };
    Ok(CleanLeftoversResponse { leftovers: cleaned.into_iter().map(leftover).collect() })
}

pub async fn leftovers(context: &Context, request: FindLeftoversRequest) -> Result<Report> {
    let found = leftovers::find(context, &request.keyspace).await?;
    let summary = leftovers::summary(&found);
    let encode = |leftover: leftovers::Leftover| Finding { cleanable: leftover.cleanable, ..encode(leftover.finding) };
    Ok(Report {
        clear: found.is_empty(),
        summary,
        findings: found.into_iter().map(encode).collect(),
        ..Report::default()
    })
}

pub async fn dry_cancel(context: &Context, request: WorkflowDeleteRequest) -> Result<Report> {
    let WorkflowDeleteRequest { keyspace, workflow, keep_data, shards, .. } = request;
    Ok(dry(dry_run::cancel(context, &cancel::Arguments { keyspace, workflow, keep_data, shards }).await))
}

pub async fn dry_complete(context: &Context, request: MoveTablesCompleteRequest) -> Result<Report> {
    Ok(dry(dry_run::complete(context, &super::migrate::complete_arguments(request)).await))
}

pub async fn dry_create(context: &Context, request: MigrateCreateRequest) -> Result<Report> {
    let arguments = arguments::Arguments::try_from(request)?;
    Ok(dry(dry_run::create(context, &arguments).await))
}

pub async fn mount(context: &Context, request: MountRegisterRequest) -> Result<Report> {
    let report = match (request.topo_type.as_str(), request.topo_server.as_str()) {
        // one that is registered already
        ("", "") => examine::mounted(context, &request.name).await,
        _ => {
            let MountRegisterRequest { topo_type, topo_server: server, topo_root: root, .. } = request;
            examine::examine(context, &TopoConfig { topo_type, server, root }).await
        }
    };
    Ok(dry(findings::DryRun { summary: report.summary(), steps: Vec::new(), report }))
}

fn dry(run: findings::DryRun) -> Report {
    let clear = run.report.is_clear();
    let findings = run.report.findings.into_iter().map(encode).collect();
    Report { clear, summary: run.summary, findings, steps: run.steps, vdiff: String::new() }
}

pub async fn judge(context: &Context, request: VerdictRequest) -> Result<Report> {
    let verdict = verdict::verdict(context, &request.keyspace, &request.workflow).await?;
    let findings = verdict.report.findings.into_iter().map(encode).collect();
    Ok(Report { clear: verdict.go, summary: verdict.summary, findings, steps: Vec::new(), vdiff: verdict.vdiff })
}

/// A finding on the wire.
pub(super) fn encode(finding: findings::Finding) -> Finding {
    let severity = match finding.severity {
        findings::Severity::Blocks => Severity::Blocks,
        findings::Severity::Warns => Severity::Warns,
        findings::Severity::Unchecked => Severity::Unchecked,
    };
    Finding {
        id: finding.id.to_string(),
        severity: severity.into(),
        subject: finding.subject,
        cause: finding.cause,
        fix: finding.fix,
        cleanable: false,
    }
}
