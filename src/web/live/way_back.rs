//! The way back of a migration: a second timeline, and what is known of its streams.

use maud::{Markup, html};

use super::timeline::{self, Step, StepState};
use super::widgets::{self, Tone};
use super::{chart, stream_diagram, text};
use crate::watch::{BackStage, WayBack};
use crate::workflow::findings::Severity;

/// Troubles of streams that are told.
const TROUBLED: usize = 10;
/// One that is open for longer may be forgotten, in seconds: a week.
const LONG: i64 = 7 * 24 * 3600;

/// True when somebody has to do something about it.
pub fn in_trouble(way_back: &WayBack) -> bool {
    let stuck = matches!(way_back.stage, BackStage::Unknown | BackStage::Missed) || is_blocked(way_back);
    !way_back.stage.is_over() && (way_back.stale.is_some() || stuck || has_trouble(way_back))
}

fn has_trouble(way_back: &WayBack) -> bool {
    let blocks = || way_back.findings.iter().any(|finding| finding.severity == Severity::Blocks);
    let refused = way_back.stage == BackStage::Running && blocks();
    refused || way_back.streams.iter().any(|stream| stream.problem.is_some())
}

/// Complete could not open it.
fn is_blocked(way_back: &WayBack) -> bool {
    way_back.stage == BackStage::Opening && !way_back.findings.is_empty()
}

/// Its steps: prepared, opening, running, closing, back.
fn steps(way_back: &WayBack) -> [Step; 5] {
    let stage = way_back.stage;
    let given_up = matches!(stage, BackStage::Cancelling | BackStage::Cancelled | BackStage::Ended);
    let was_open = way_back.opened_at.is_some();
    let left_out = if was_open { StepState::Done } else { StepState::Skipped };
    let (prepared, opening) = match stage {
        BackStage::Unknown => (StepState::Bad, StepState::Ahead),
        BackStage::Prepared => (StepState::Now, StepState::Ahead),
        BackStage::Missed => (StepState::Done, StepState::Bad),
        BackStage::Opening => (StepState::Done, if is_blocked(way_back) { StepState::Bad } else { StepState::Now }),
        _ if given_up => (StepState::Done, left_out),
        _ => (StepState::Done, StepState::Done),
    };
    let running = match stage {
        BackStage::Unknown | BackStage::Prepared | BackStage::Opening | BackStage::Missed => StepState::Ahead,
        BackStage::Running if has_trouble(way_back) => StepState::Bad,
        BackStage::Running => StepState::Now,
        _ if given_up => left_out,
        _ => StepState::Done,
    };
    let closing = match stage {
        BackStage::Closing => StepState::Now,
        BackStage::Returning | BackStage::Back => StepState::Done,
        _ if given_up => StepState::Skipped,
        _ => StepState::Ahead,
    };
    let (name, last) = match stage {
        BackStage::Returning => ("Back", StepState::Now),
        BackStage::Back => ("Back", StepState::Done),
        BackStage::Cancelling => ("Cancelled", StepState::Now),
        BackStage::Cancelled => ("Cancelled", StepState::Done),
        BackStage::Ended => ("Ended", StepState::Done),
        _ => ("Back", StepState::Ahead),
    };
    let lag = way_back.max_lag.filter(|_| stage == BackStage::Running);
    let note = |is: bool, note: &str| if is { note.to_owned() } else { String::new() };
    [
        ("Prepared", prepared, note(stage == BackStage::Unknown, "unreadable")),
        ("Opening", opening, note(stage == BackStage::Missed, "missed")),
        ("Running", running, lag.map(|lag| format!("lag {}", text::duration(lag))).unwrap_or_default()),
        ("Closing", closing, String::new()),
        (name, last, note(stage == BackStage::Running && way_back.go, "may go")),
    ]
}

fn line(way_back: &WayBack) -> Markup {
    timeline::draw("Stages of the way back", steps(way_back))
}

/// What is shown on the card of its migration.
pub fn short(way_back: &WayBack) -> Markup {
    html! {
        p.facts {
            span { "The way back" }
            @if !way_back.verdict.is_empty() { span { "going back: " b { (way_back.verdict) } } }
            @else if let Some(at) = way_back.ended_at { span { (way_back.stage.as_str()) " " (text::moment(at)) } }
        }
        (line(way_back))
        @if let Some(problem) = &way_back.stale { (widgets::problem("Out of date: it cannot be read now", problem, Tone::Warn)) }
        (widgets::troubles(&way_back.streams, 2))
    }
}

/// The section on the page of its migration; empty without one.
pub fn section(way_back: Option<&WayBack>) -> Markup {
    let Some(way_back) = way_back else { return html! {} };
    let WayBack { keyspace, workflow, mount, source_keyspace, streams, .. } = way_back;
    let ends = ((keyspace.as_str(), ""), (source_keyspace.as_str(), mount.as_str()));
    html! {
        section aria-labelledby="back-title" {
            h2 id="back-title" { "The way back" }
            (line(way_back))
            @if !way_back.stage.is_over() { (tiles(way_back)) }
            p.facts {
                @if let Some(at) = way_back.prepared_at { span { "prepared " (text::moment(at)) } }
                @if let Some(at) = way_back.opened_at { span { "target handed over " (text::moment(at)) } }
                @if let Some(at) = way_back.ended_at { span { (way_back.stage.as_str()) " " (text::moment(at)) } }
                @else if let Some(at) = way_back.last_success { span { "read " (text::moment(at)) } }
                @if !way_back.stage.is_over() {
                    span { code { "vtmigrated way-back status --target-keyspace " (keyspace) " --workflow " (workflow) } }
                }
            }
            @if let Some(problem) = &way_back.stale {
                (widgets::problem("The way back cannot be read now: what you see is out of date", problem, Tone::Warn))
            }
            (widgets::troubles(streams, TROUBLED))
            (widgets::findings("Before you go back", &way_back.findings, true))
            @if !streams.is_empty() {
                div.lagline { (chart::spark(streams)) }
                (stream_diagram::draw(streams, ends))
            }
        }
    }
}

fn tiles(way_back: &WayBack) -> Markup {
    let (word, reason) = widgets::verdict(&way_back.verdict);
    let lag = way_back.max_lag;
    let troubled = way_back.streams.iter().filter(|stream| stream.problem.is_some()).count();
    let open = way_back.opened_at.zip(way_back.last_success).map(|(from, to)| (to - from).max(0));
    html! {
        dl.tiles {
            (widgets::tile("Go back", if word.is_empty() { "–" } else { word }, reason, if way_back.go { Tone::Good } else { Tone::Warn }))
            (widgets::tile("Highest lag", &lag.map_or("–".into(), text::duration), &text::several(way_back.streams.len(), "stream"), if lag.is_some_and(|lag| lag > 30) { Tone::Bad } else { Tone::Good }))
            (widgets::tile("In trouble", &troubled.to_string(), "", if troubled > 0 { Tone::Bad } else { Tone::Quiet }))
            @if let Some(open) = open {
                (widgets::tile("Open for", &text::duration(open), if open > LONG { "forgotten?" } else { "" }, if open > LONG { Tone::Warn } else { Tone::Quiet }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{Problem, Stream};

    fn looks(stage: BackStage, opened_at: Option<i64>) -> [StepState; 5] {
        steps(&WayBack { stage, opened_at, ..WayBack::default() }).map(|(_, state, _)| state)
    }

    #[test]
    fn every_stage_has_its_step() {
        use StepState::{Ahead, Bad, Done, Now, Skipped};
        let opened = Some(1);
        for (stage, opened_at, expected) in [
            (BackStage::Unknown, None, [Bad, Ahead, Ahead, Ahead, Ahead]),
            (BackStage::Prepared, None, [Now, Ahead, Ahead, Ahead, Ahead]),
            (BackStage::Opening, None, [Done, Now, Ahead, Ahead, Ahead]),
            (BackStage::Missed, opened, [Done, Bad, Ahead, Ahead, Ahead]),
            (BackStage::Running, opened, [Done, Done, Now, Ahead, Ahead]),
            (BackStage::Closing, opened, [Done, Done, Done, Now, Ahead]),
            (BackStage::Returning, opened, [Done, Done, Done, Done, Now]),
            (BackStage::Back, opened, [Done, Done, Done, Done, Done]),
            (BackStage::Cancelling, opened, [Done, Done, Done, Skipped, Now]),
            (BackStage::Cancelled, None, [Done, Skipped, Skipped, Skipped, Done]),
            (BackStage::Ended, opened, [Done, Done, Done, Skipped, Done]),
        ] {
            assert_eq!(looks(stage, opened_at), expected, "{stage:?}");
        }
        let stream = Stream { problem: Some(Problem::default()), ..Stream::default() };
        let running = WayBack { stage: BackStage::Running, streams: vec![stream], ..WayBack::default() };
        assert_eq!(steps(&running)[2].1, Bad);
        assert!(in_trouble(&running));
        let over = WayBack { stage: BackStage::Back, ..running };
        assert!(!in_trouble(&over));
    }
}
