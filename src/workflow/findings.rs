//! What checks answer.

use std::fmt::Write;

use serde::Serialize;

use crate::error::{Check, Code, Explain, Reason, Violation};
use crate::workflow::names::NAMED;
use crate::workflow::{Error, Result};

pub use crate::error::Severity;

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id of the check, such as `TABLE_NOT_IN_VSCHEMA`: stable over versions.
    pub id: Reason,
    pub severity: Severity,
    /// What it is about: `keyspace customer`, `shard customer/-80`, `table corder`, `tablet zone1-0000000100`.
    pub subject: String,
    /// One sentence; where stock has a text for it, that is its beginning.
    pub cause: String,
    /// The command or the step that fixes it; empty when the cause says it all.
    pub fix: String,
    /// The code with which the operation refuses because of this alone.
    #[serde(skip)]
    pub code: Code,
}

impl Finding {
    /// A finding of a check.
    pub fn new(check: &Check, subject: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id: check.id,
            severity: check.severity,
            subject: subject.into(),
            cause: cause.into(),
            fix: fix.into(),
            code: Code::FailedPrecondition,
        }
    }

    /// An error as a finding that blocks; its reason is the id.
    pub fn of(error: &Error, subject: impl Into<String>) -> Self {
        Self {
            id: error.reason(),
            severity: Severity::Blocks,
            subject: subject.into(),
            cause: error.to_string(),
            fix: error.help(),
            code: error.code(),
        }
    }

    /// The same in the details of a refusal that names several.
    pub fn violation(&self) -> Violation {
        Violation { reason: self.id, subject: self.subject.clone(), text: shown(&self.cause) }
    }

    fn error(&self) -> Error {
        let (text, help) = (self.cause.clone(), self.fix.clone());
        Error::Refused { code: self.code, reason: self.id, text, help }
    }
}

/// Longest cause and command in an error that names several, in characters.
const SHOWN: usize = 220;

/// What the checks of one operation found, in the order in which stock would have met it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// A report of one error.
    pub fn of(error: &Error, subject: impl Into<String>) -> Self {
        Self { findings: vec![Finding::of(error, subject)] }
    }

    /// True when nothing blocks.
    pub fn is_clear(&self) -> bool {
        self.blocking().next().is_none()
    }

    /// What blocks.
    pub fn blocking(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Blocks)
    }

    /// What only warns.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Warns)
    }

    /// `clear`, or how many findings block and warn.
    pub fn summary(&self) -> String {
        match (self.blocking().count(), self.warnings().count()) {
            (0, 0) => "clear".into(),
            (0, warnings) => format!("clear, {warnings} warnings"),
            (blocking, warnings) => format!("refused: {blocking} reasons, {warnings} warnings"),
        }
    }

    /// Adds findings.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Leaves out findings behind the first `known` ones that those tell already, about whatever.
    pub fn forget_retold(&mut self, known: usize) {
        let (before, since) = self.findings.split_at(known.min(self.findings.len()));
        let is_new = |found: &&Finding| {
            !before.iter().any(|of| (of.severity, of.id, &of.cause) == (found.severity, found.id, &found.cause))
        };
        let since: Vec<Finding> = since.iter().filter(is_new).cloned().collect();
        self.findings.truncate(known);
        self.findings.extend(since);
    }

    /// Takes a refusal in as a finding; other errors are those of the operation.
    ///
    /// # Errors
    /// What is no refusal.
    pub fn absorb<T>(&mut self, result: Result<T>, subject: impl Into<String>) -> Result<Option<T>> {
        let is_refusal = |error: &Error| matches!(error, Error::Refused { .. } | Error::Blocked { .. });
        let subject = subject.into();
        match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) if is_refusal(&error) => self.findings.push(Finding::of(&error, subject)),
            Err(Error::Several(errors)) if errors.iter().all(is_refusal) => {
                self.findings.extend(errors.iter().map(|error| Finding::of(error, subject.clone())));
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Refuses when something blocks: all of it in one error, whose text begins with the first finding's.
    ///
    /// # Errors
    /// [`Error::Refused`] for one finding, [`Error::Blocked`] for several.
    pub fn refuse(&self) -> Result<()> {
        let blocking: Vec<&Finding> = self.blocking().collect();
        let (first, rest) = match blocking.as_slice() {
            [] => return Ok(()),
            [only] => return Err(only.error()),
            [first, rest @ ..] => (first, rest),
        };
        let mut text = first.cause.clone();
        let mut help = format!("{}: {}", first.id, first.fix);
        for finding in rest.iter().take(NAMED - 1) {
            write!(text, "\nalso {} ({}): {}", finding.id, finding.subject, shown(&finding.cause)).ok();
            if !finding.fix.is_empty() && !help.contains(&shown(&finding.fix)) {
                write!(help, "\n{}: {}", finding.id, shown(&finding.fix)).ok();
            }
        }
        if rest.len() >= NAMED {
            write!(text, "\nand {} more", rest.len() + 1 - NAMED).ok();
        }
        let violations = blocking.iter().take(NAMED).map(|finding| finding.violation()).collect();
        Err(Error::Blocked { reason: first.id, text, help, violations })
    }

    /// Logs what does not block.
    pub fn log(&self, operation: &str) {
        for Finding { id, severity, subject, cause, fix, .. } in &self.findings {
            match severity {
                Severity::Blocks => {}
                Severity::Warns => tracing::warn!(operation, check = id.as_str(), subject, fix, "{cause}"),
                Severity::Unchecked => tracing::info!(operation, check = id.as_str(), subject, "not checked: {cause}"),
            }
        }
    }
}

/// What an operation would do now: nothing was changed to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// `create of workflow import in keyspace customer: 8 steps`.
    pub summary: String,
    /// The very steps that the operation runs, in their order; empty when it would be refused.
    pub steps: Vec<String>,
    pub report: Report,
}

/// A cause or a command as an error tells it that names several: the beginning of a long one.
pub fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(SHOWN).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::check;

    fn finding(check: &Check, subject: &str) -> Finding {
        Finding::new(check, subject, format!("{subject} is bad"), format!("fix {subject}"))
    }

    #[test]
    fn warnings_refuse_nothing() {
        let report = Report { findings: vec![finding(&check::NOT_MOVED, "view v")] };
        assert!(report.is_clear() && report.refuse().is_ok());
        assert_eq!(report.warnings().count(), 1);
    }

    #[test]
    fn one_finding_keeps_its_code_and_several_are_all_named() {
        let mut lone = finding(&check::CELL_UNKNOWN, "cell mars");
        lone.code = Code::NotFound;
        let error = Report { findings: vec![lone.clone()] }.refuse().unwrap_err();
        assert_eq!((error.code(), error.reason().as_str()), (Code::NotFound, "CELL_UNKNOWN"));
        assert_eq!((error.to_string().as_str(), error.help().as_str()), ("cell mars is bad", "fix cell mars"));

        let tables = (0..40).map(|n| finding(&check::TABLE_NOT_IN_VSCHEMA, &format!("table t{n} {}", "x".repeat(500))));
        let report = Report { findings: std::iter::once(lone).chain(tables).collect() };
        let error = report.refuse().unwrap_err();
        assert_eq!((error.code(), error.reason().as_str()), (Code::FailedPrecondition, "CELL_UNKNOWN"));
        let text = error.to_string();
        assert!(text.starts_with("cell mars is bad\nalso TABLE_NOT_IN_VSCHEMA (table t0"), "{text}");
        assert!(text.ends_with("\nand 29 more"), "{text}");
        assert_eq!(error.violations().len(), NAMED);
        assert!(error.help().starts_with("CELL_UNKNOWN: fix cell mars\nTABLE_NOT_IN_VSCHEMA: fix"));
    }

    #[test]
    fn refusals_of_several_shards_are_taken_in_and_failures_are_not() {
        let refusal = || Error::precondition(Reason::TIME_ZONE_UNKNOWN, "no such zone", "load it");
        let mut report = Report::default();
        assert_eq!(report.absorb(Ok(7), "a").unwrap(), Some(7));
        assert_eq!(report.absorb::<()>(Err(refusal()), "b").unwrap(), None);
        assert_eq!(report.absorb::<()>(Err(Error::Several(vec![refusal(), refusal()])), "c").unwrap(), None);
        assert_eq!(report.findings.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["b", "c", "c"]);
        report.forget_retold(1);
        assert_eq!(report.findings.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["b"]);
        let failure = || Error::Topo(crate::topo::Error::Timeout("x".into()));
        report.absorb::<()>(Err(Error::Several(vec![refusal(), failure()])), "d").unwrap_err();
        report.absorb::<()>(Err(failure()), "e").unwrap_err();
    }

    #[test]
    fn a_report_is_json() {
        let report = Report { findings: vec![finding(&check::NOT_MOVED, "view v")] };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][0]["id"], "NOT_MOVED");
        assert_eq!(json["findings"][0]["severity"], "warns");
    }
}
