//! Small pieces: badges, problems, bars, tiles.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::text;
use crate::watch::{Copy, Problem, Stage, Stream};
use crate::workflow::findings::{Finding, Severity};

/// How something is: each has a colour and a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Busy,
    Warn,
    Bad,
    Quiet,
}

impl Tone {
    /// The name of its style.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }
}

/// A word on a coloured ground.
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (word) } }
}

/// The tone of a stage.
fn stage_tone(stage: Stage) -> Tone {
    match stage {
        Stage::Copying | Stage::Creating | Stage::Completing => Tone::Busy,
        Stage::Running | Stage::Diffed | Stage::Completed => Tone::Good,
        Stage::Cancelled | Stage::Ended => Tone::Quiet,
    }
}

/// The tone of a stream's state.
pub fn state_tone(state: &str, troubled: bool) -> Tone {
    match state {
        "Error" => Tone::Bad,
        "Copying" | "Init" if !troubled => Tone::Busy,
        "Running" if !troubled => Tone::Good,
        _ => Tone::Warn,
    }
}

/// What is wrong, and what fixes it.
pub fn problem(title: &str, problem: &Problem, tone: Tone) -> Markup {
    html! {
        div class={ "problem " (tone.class()) } {
            p { strong { (title) } " " code.id { (problem.reason.as_str()) } }
            p.cause { (problem.cause) }
            @if !problem.fix.is_empty() { (fix(&problem.fix)) }
        }
    }
}

/// Names of streams in a title.
const NAMED: usize = 4;

/// What is wrong with streams; those with the same trouble together, at most `most` troubles.
pub fn troubles(streams: &[Stream], most: usize) -> Markup {
    let mut groups: BTreeMap<(&str, &str), (&Problem, Vec<&Stream>)> = BTreeMap::new();
    for stream in streams {
        if let Some(problem) = &stream.problem {
            let group = groups.entry((problem.reason.as_str(), &problem.cause)).or_insert((problem, Vec::new()));
            group.1.push(stream);
        }
    }
    let title = |streams: &[&Stream]| {
        let name = |stream: &&Stream| format!("{} → {}", stream.source_shard, stream.shard);
        let names: Vec<String> = streams.iter().take(NAMED).map(name).collect();
        let more = streams.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}: {}{more}", text::several(streams.len(), "stream"), names.join(", "))
    };
    html! {
        @for (told, streams) in groups.values().take(most) { (problem(&title(streams), told, Tone::Bad)) }
        @if groups.len() > most { p.note { "and " (groups.len() - most) " more kinds of trouble" } }
    }
}

/// The badge of a migration.
pub fn stage(stage: Stage, troubled: bool) -> Markup {
    if troubled && !stage.is_over() { badge(Tone::Bad, "in trouble") } else { badge(stage_tone(stage), stage.as_str()) }
}

/// Findings that are drawn.
const FINDINGS: usize = 20;

/// The findings of a verdict, unfolded or not; what a stream says is not said twice.
pub fn findings(title: &str, findings: &[Finding], open: bool) -> Markup {
    let findings: Vec<&Finding> = findings.iter().filter(|one| !one.subject.contains(" stream ")).collect();
    html! {
        @if !findings.is_empty() {
            details.findings open[open] {
                summary { h2 { (title) } span.note { (text::several(findings.len(), "remark")) } }
                @for one in findings.iter().take(FINDINGS) { (finding(one)) }
                @if findings.len() > FINDINGS { p { "and " (findings.len() - FINDINGS) " more" } }
            }
        }
    }
}

/// A finding of the verdict.
fn finding(finding: &Finding) -> Markup {
    let tone = match finding.severity {
        Severity::Blocks => Tone::Bad,
        Severity::Warns => Tone::Warn,
        Severity::Unchecked => Tone::Quiet,
    };
    let found = Problem { reason: finding.id, cause: finding.cause.clone(), fix: finding.fix.clone() };
    problem(&finding.subject, &found, tone)
}

/// `GO` or `NO-GO` of a verdict, and what is in its brackets.
pub fn verdict(text: &str) -> (&str, &str) {
    match text.split_once(" (") {
        Some((word, rest)) => (word, rest.trim_end_matches(')')),
        None => (text, ""),
    }
}

/// A command or a step that helps. What follows the colon of a sentence is the command.
fn fix(text: &str) -> Markup {
    const COMMANDS: [&str; 8] =
        ["Migrate ", "VDiff ", "Workflow ", "Mount ", "ApplyVSchema ", "PlannedReparentShard ", "Get", "vtmigrated "];
    let starts = |text: &str| COMMANDS.iter().any(|command| text.starts_with(command));
    let command = if starts(text) { Some(("", text)) } else { text.rsplit_once(": ").filter(|(_, rest)| starts(rest)) };
    html! {
        p.fix {
            span.do { "What to do" }
            @match command {
                Some((before, command)) => {
                    @if !before.is_empty() { (before) ": " }
                    code { (command) }
                }
                None => (text),
            }
        }
    }
}

/// A bar from 0 to 100.
pub fn bar(label: &str, percent: f64, tone: Tone) -> Markup {
    html! {
        progress class=(tone.class()) max="100" value=(format!("{:.2}", percent.clamp(0.0, 100.0))) aria-label=(label) {
            (text::percent(percent))
        }
    }
}

/// Rows, rate and time left of a copy, in words.
pub fn copy_words(copy: &Copy) -> Markup {
    html! {
        span { b { (text::count(copy.rows_copied)) } " of " (text::count(copy.rows_total)) " rows" }
        @if let Some(rate) = copy.rows_per_second { span { (text::rate(rate)) } }
        @if let Some(left) = copy.seconds_left { span { "about " b { (text::duration(left)) } " left" } }
        span { (copy.tables_done) " of " (text::several(copy.tables, "table")) " done" }
    }
}

/// A figure with its name.
pub fn tile(name: &str, figure: &str, note: &str, tone: Tone) -> Markup {
    html! {
        div class={ "tile " (tone.class()) } {
            dt { (name) }
            dd { b { (figure) } @if !note.is_empty() { span.note { (note) } } }
        }
    }
}
