//! `vtmigrated.Advisor`: verdicts, preflights, dry runs, leftovers.

use std::sync::Arc;

use tonic::Request;
use vtmigrated_proto::vtmigrated::advisor_server::Advisor as Service;
use vtmigrated_proto::vtmigrated::*;

use super::Vtctld;
use super::vtctld::Answer;
use crate::context::Context;
use crate::workflow::finding::{self, Severity as Found};
use crate::workflow::{Result, leftovers, verdict};

/// The service. Its calls run as those of the vtctld.
pub struct Advisor {
    calls: Vtctld,
}

impl Advisor {
    /// `calls` runs them.
    pub fn new(calls: Vtctld) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl Service for Advisor {
    async fn clean_leftovers(&self, r: Request<CleanLeftoversRequest>) -> Answer<CleanLeftoversResponse> {
        self.calls.change(r, clean).await
    }

    async fn find_leftovers(&self, r: Request<FindLeftoversRequest>) -> Answer<Report> {
        self.calls.read(r, leftovers).await
    }

    async fn verdict(&self, r: Request<VerdictRequest>) -> Answer<Report> {
        self.calls.read(r, judge).await
    }
}

async fn clean(context: Arc<Context>, request: CleanLeftoversRequest) -> Result<CleanLeftoversResponse> {
    let cleaned = leftovers::clean(&context, &request.keyspace, &request.keys).await?;
    let leftover =
        |leftovers::Cleaned { key, kept }: leftovers::Cleaned| clean_leftovers_response::Leftover { key, kept };
    Ok(CleanLeftoversResponse { leftovers: cleaned.into_iter().map(leftover).collect() })
}

async fn leftovers(context: &Context, request: FindLeftoversRequest) -> Result<Report> {
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

async fn judge(context: &Context, request: VerdictRequest) -> Result<Report> {
    let verdict = verdict::verdict(context, &request.keyspace, &request.workflow).await?;
    let findings = verdict.report.findings.into_iter().map(encode).collect();
    Ok(Report { clear: verdict.go, summary: verdict.summary, findings, steps: Vec::new(), vdiff: verdict.vdiff })
}

fn encode(finding: finding::Finding) -> Finding {
    let severity = match finding.severity {
        Found::Blocks => Severity::Blocks,
        Found::Warns => Severity::Warns,
        Found::Unchecked => Severity::Unchecked,
    };
    Finding {
        id: finding.id.to_owned(),
        severity: severity.into(),
        subject: finding.subject,
        cause: finding.cause,
        mend: finding.mend,
        cleanable: false,
    }
}
