//! The life of a migration as a timeline; its way back has a timeline of its own.

use maud::{Markup, html};

use super::text;
use crate::watch::{Migration, Mount, Stage};

/// State of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Done,
    Now,
    Bad,
    Ahead,
    /// It was left out.
    Skipped,
}

impl StepState {
    fn class(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Now => "now",
            Self::Bad => "bad",
            Self::Ahead => "ahead",
            Self::Skipped => "skipped",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Now => "now",
            Self::Bad => "trouble",
            Self::Ahead => "ahead",
            Self::Skipped => "left out",
        }
    }
}

/// Name, state and note of a step.
pub type Step = (&'static str, StepState, String);

/// Those of a migration.
pub fn steps(migration: &Migration, mount: Option<&Mount>) -> [Step; 5] {
    let stage = migration.stage;
    let trouble = migration.streams.iter().any(|stream| stream.problem.is_some());
    let here = |of: bool| if trouble && of { StepState::Bad } else { StepState::Now };
    let mounted = match mount {
        _ if stage.is_over() => StepState::Done,
        Some(mount) if mount.reachable => StepState::Done,
        _ => StepState::Bad,
    };
    let copying = match stage {
        Stage::Creating => StepState::Now,
        Stage::Copying => here(true),
        Stage::Cancelled | Stage::Ended if migration.copy.percent < 100.0 => StepState::Skipped,
        _ => StepState::Done,
    };
    let running = match stage {
        Stage::Creating | Stage::Copying => StepState::Ahead,
        Stage::Running => here(true),
        Stage::Diffed if trouble => StepState::Bad,
        Stage::Cancelled | Stage::Ended if copying == StepState::Skipped => StepState::Skipped,
        _ => StepState::Done,
    };
    let (diffed, diff_note) = diffed(migration);
    let (name, last) = match stage {
        Stage::Completing => ("Completed", StepState::Now),
        Stage::Completed => ("Completed", StepState::Done),
        Stage::Cancelled => ("Cancelled", StepState::Bad),
        Stage::Ended => ("Ended", StepState::Done),
        _ => ("Completed", StepState::Ahead),
    };
    let copy_note = match stage {
        Stage::Creating => "being created".into(),
        _ => text::percent(migration.copy.percent),
    };
    let lag = migration.max_lag.map(|lag| format!("lag {}", text::duration(lag)));
    let last_note = match stage {
        Stage::Completing => "under way",
        stage if !stage.is_over() && migration.go => "may go",
        _ => "",
    };
    [
        ("Mounted", mounted, text::short(&migration.mount, 14)),
        ("Copying", copying, copy_note),
        (
            "Running",
            running,
            lag.filter(|_| matches!(running, StepState::Now | StepState::Done | StepState::Bad) && !stage.is_over())
                .unwrap_or_default(),
        ),
        ("Diffed", diffed, diff_note),
        (name, last, last_note.to_owned()),
    ]
}

fn diffed(migration: &Migration) -> (StepState, String) {
    let Some(vdiff) = &migration.vdiff else {
        return (if migration.stage.is_over() { StepState::Skipped } else { StepState::Ahead }, String::new());
    };
    if vdiff.has_mismatch {
        return (StepState::Bad, "rows differ".into());
    }
    match vdiff.state.as_str() {
        "completed" => (StepState::Done, "no difference".into()),
        "pending" | "started" if !migration.stage.is_over() => {
            #[allow(clippy::cast_precision_loss, reason = "a percentage")]
            let part = vdiff.rows_compared as f64 * 100.0 / vdiff.rows.max(1) as f64;
            (StepState::Now, text::percent(part.min(99.0)))
        }
        "error" => (StepState::Bad, "failed".into()),
        _ if migration.stage.is_over() => (StepState::Skipped, String::new()),
        _ => (StepState::Ahead, text::short(&vdiff.state, 12)),
    }
}

/// The line of a migration.
pub fn line(migration: &Migration, mount: Option<&Mount>) -> Markup {
    draw("Stages of the migration", steps(migration, mount))
}

/// A line.
pub fn draw(label: &str, steps: [Step; 5]) -> Markup {
    html! {
        ol.timeline aria-label=(label) {
            @for (name, state, note) in steps {
                li class=(state.class()) aria-current=[(state == StepState::Now).then_some("step")] {
                    span.dot aria-hidden="true" {}
                    span.name { (name) span.unseen { ", " (state.word()) } }
                    span.note { (note) }
                }
            }
        }
    }
}
