//! What is told of the opening of a way back.

use super::Opening;
use crate::context::Context;
use crate::error::{Explain, Reason};
use crate::workflow::Error;
use crate::workflow::names::back::{self, command, vdiff_command};
use crate::workflow::record::way_back::{self as back_record, Facts, Kept, Phase};
use crate::workflow::writes::refresh::UnawareReplica;

/// What there is to tell of a way back that was prepared and that a complete passes over; empty otherwise.
pub fn passed_over(kept: Option<&Kept>, names: (&str, &str)) -> String {
    let (why, command) = match kept {
        Some(Ok(facts)) if matches!(facts.phase, Phase::Prepared | Phase::Noted) => {
            let why = "the migration has no record, or a server that knows no ways back has handed the target over";
            (why.to_owned(), command("cancel", names))
        }
        Some(Ok(facts)) if facts.phase == Phase::Cancelling => {
            return format!("; its way back is not taken away yet: {}", command("cancel", names));
        }
        Some(Err(why)) => (format!("its record cannot be read: {why}"), back::forget_command(names)),
        _ => return String::new(),
    };
    tracing::warn!("the way back of workflow {}.{} is not opened: {why}", names.0, names.1);
    format!("; THERE IS NO WAY BACK: {why}; to take it away: {command}")
}

impl Opening<'_> {
    /// What became of it, for the summary of complete.
    pub fn told(&self) -> String {
        let why = self.trouble.as_deref().unwrap_or("it was not tried").lines().next().unwrap_or_default();
        if self.is_open() {
            let (see, not_exact) = (command("status", self.names), self.not_exact());
            return format!("; the way back is open: see {see}{not_exact}{}", self.missed());
        }
        tracing::warn!(phase = self.facts.phase.word(), "the way back is not open: {why}");
        match self.facts.phase {
            Phase::Missed => {
                let stays = self.stays.iter().flat_map(|why| why.lines().next());
                let stays = stays.map(|why| format!("; the source's tables stay denied to clients until then: {why}"));
                let cancel = command("cancel", self.names);
                format!("; THERE IS NO WAY BACK: {why}; to take it away: {cancel}{}", stays.collect::<String>())
            }
            _ => format!(
                "; THE WAY BACK IS NOT OPEN YET: {why}{}; to open it: {}{}{}",
                self.on_both_sides(),
                command("prepare", self.names),
                self.not_exact(),
                self.missed()
            ),
        }
    }

    fn on_both_sides(&self) -> String {
        if !self.is_on_both_sides() {
            return String::new();
        }
        let Facts { keyspace, mount, .. } = &self.facts;
        format!(
            "; CLIENTS MAY WRITE TO BOTH SIDES until then, for the tables of {keyspace} of {mount} are not denied: stop those there, for \
             what they write stays there alone"
        )
    }

    /// Where clients have one side now, and what they wrote to the other one last may be there alone.
    fn not_exact(&self) -> String {
        if !self.is_inexact() || self.is_on_both_sides() {
            return String::new();
        }
        let Facts { keyspace, mount, .. } = &self.facts;
        let why = self.inexact.as_deref().and_then(|why| why.lines().next());
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!(
            "; THE CUT WAS NOT EXACT{why}: what clients of {keyspace} of {mount} wrote while complete ran may be there alone: compare the \
             rows before you go back: {} --wait",
            vdiff_command("create", self.names)
        )
    }

    /// Lines about replicas of the source that do not know that its tables are denied.
    pub fn missed(&self) -> String {
        UnawareReplica::told(
            &self.missed,
            "should it become primary, clients can write to tables of the source, and these writes are lost",
        )
    }
}

/// A failure of complete after which clients cannot write to the source.
pub fn stays_denied(error: Error, why: &str, names: (&str, &str)) -> Error {
    let text = format!("the source's tables stay denied to clients: {why}");
    let help = format!("run the command again, or let clients write to the source: {}", command("cancel", names));
    denied_still(error, &text, help)
}

/// A complete of which nobody knows whether it has handed the target over: the source must not be opened.
pub fn undecided(error: Error, opening: &Opening<'_>, (keyspace, workflow): (&str, &str)) -> Error {
    if !opening.denies() {
        return error;
    }
    let text = "the source's tables are denied to clients, and whether they have the target's is not known";
    let help = format!(
        "run the command again, which finishes the job, or lets clients write to the source: Migrate --target-keyspace {keyspace} \
         --workflow {workflow} complete"
    );
    denied_still(error, text, help)
}

/// A failure of complete once it has handed the target over: a repeat is what lets clients write there.
pub fn target_serves(error: Error, (keyspace, workflow): (&str, &str)) -> Error {
    let text = format!(
        "{error}\nthe target is the one that serves from here on, and clients may not be able to write to its tables yet"
    );
    let finish = format!("finish it: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
    let help = match error.help() {
        help if help.is_empty() => finish,
        help => format!("{help}; {finish}"),
    };
    Error::Refused { code: error.code(), reason: error.reason(), text, help }
}

fn denied_still(error: Error, text: &str, help: String) -> Error {
    let undo = Error::precondition(Reason::SOURCE_STAYS_DENIED, text, help.clone());
    Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
}

/// A complete that is refused before it has looked at the way back, or a cancel of the migration that is, tells when the source was left
/// denied by an earlier one.
pub async fn left_denied(context: &Context, names: (&str, &str), error: Error) -> Error {
    let Ok(Some(Ok(facts))) = back_record::look(context.topo.global(), names.0, names.1).await else { return error };
    match facts.phase {
        _ if facts.source_denied.is_empty() => error,
        Phase::Noted => stays_denied(error, "an earlier complete did not come to its end", names),
        // not when clients have the target
        Phase::Cancelling if facts.since == 0 => {
            stays_denied(error, "an earlier cancel of its way back did not come to its end", names)
        }
        _ => error,
    }
}
