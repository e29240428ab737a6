//! The life of a migration as a line of stations; its way back has a line of its own.

use maud::{Markup, html};

use super::text;
use crate::watch::{Migration, Mount, Stage};

/// How a station looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Done,
    Now,
    Bad,
    Ahead,
    /// It was left out.
    Skipped,
}

impl Look {
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

/// Name, look and note of a station.
pub type Station = (&'static str, Look, String);

/// Those of a migration.
pub fn stations(migration: &Migration, mount: Option<&Mount>) -> [Station; 5] {
    let stage = migration.stage;
    let trouble = migration.streams.iter().any(|stream| stream.problem.is_some());
    let here = |of: bool| if trouble && of { Look::Bad } else { Look::Now };
    let mounted = match mount {
        _ if stage.is_over() => Look::Done,
        Some(mount) if mount.reachable => Look::Done,
        _ => Look::Bad,
    };
    let copying = match stage {
        Stage::Creating => Look::Now,
        Stage::Copying => here(true),
        Stage::Cancelled | Stage::Ended if migration.copy.percent < 100.0 => Look::Skipped,
        _ => Look::Done,
    };
    let running = match stage {
        Stage::Creating | Stage::Copying => Look::Ahead,
        Stage::Running => here(true),
        Stage::Diffed if trouble => Look::Bad,
        Stage::Cancelled | Stage::Ended if copying == Look::Skipped => Look::Skipped,
        _ => Look::Done,
    };
    let (diffed, diff_note) = diffed(migration);
    let (name, last) = match stage {
        Stage::Completing => ("Completed", Look::Now),
        Stage::Completed => ("Completed", Look::Done),
        Stage::Cancelled => ("Cancelled", Look::Bad),
        Stage::Ended => ("Ended", Look::Done),
        _ => ("Completed", Look::Ahead),
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
            lag.filter(|_| matches!(running, Look::Now | Look::Done | Look::Bad) && !stage.is_over())
                .unwrap_or_default(),
        ),
        ("Diffed", diffed, diff_note),
        (name, last, last_note.to_owned()),
    ]
}

fn diffed(migration: &Migration) -> (Look, String) {
    let Some(vdiff) = &migration.vdiff else {
        return (if migration.stage.is_over() { Look::Skipped } else { Look::Ahead }, String::new());
    };
    if vdiff.has_mismatch {
        return (Look::Bad, "rows differ".into());
    }
    match vdiff.state.as_str() {
        "completed" => (Look::Done, "no difference".into()),
        "pending" | "started" if !migration.stage.is_over() => {
            #[allow(clippy::cast_precision_loss, reason = "a percentage")]
            let part = vdiff.rows_compared as f64 * 100.0 / vdiff.rows.max(1) as f64;
            (Look::Now, text::percent(part.min(99.0)))
        }
        "error" => (Look::Bad, "failed".into()),
        _ if migration.stage.is_over() => (Look::Skipped, String::new()),
        _ => (Look::Ahead, text::short(&vdiff.state, 12)),
    }
}

/// The line of a migration.
pub fn line(migration: &Migration, mount: Option<&Mount>) -> Markup {
    draw("Life of the migration", stations(migration, mount))
}

/// A line.
pub fn draw(label: &str, stations: [Station; 5]) -> Markup {
    html! {
        ol.stations aria-label=(label) {
            @for (name, look, note) in stations {
                li class=(look.class()) aria-current=[(look == Look::Now).then_some("step")] {
                    span.dot aria-hidden="true" {}
                    span.name { (name) span.unseen { ", " (look.word()) } }
                    span.note { (note) }
                }
            }
        }
    }
}
