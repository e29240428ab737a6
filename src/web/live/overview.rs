//! The first page: all migrations, all mounts.

use maud::{Markup, html};

use super::chart;
use super::layout;
use super::timeline;
use super::views::Content;
use super::widgets::{self, Tone};
use super::{text, way_back};
use crate::watch::{Migration, Mount, Snapshot, Stage};

/// Migrations on a page.
const CARDS: usize = 30;
/// Mounts that are drawn.
const MOUNTS: usize = 100;
/// Names in a list.
const NAMES: usize = 20;

/// Number of pages.
pub fn pages(snapshot: &Snapshot) -> usize {
    snapshot.migrations.len().div_ceil(CARDS).max(1)
}

/// The parts; `page` counts from 1.
pub fn content(snapshot: &Snapshot, page: usize) -> Content {
    let active = snapshot.migrations.iter().filter(|migration| !migration.stage.is_over()).count();
    Content {
        title: format!("{} · vtmigrated", text::several(active, "migration")),
        parts: vec![
            ("banner", layout::banner(snapshot)),
            ("tiles", tiles(snapshot)),
            ("migrations", migrations(snapshot, page)),
            ("mounts", mounts(snapshot)),
        ],
    }
}

fn in_trouble(snapshot: &Snapshot, migration: &Migration) -> bool {
    let itself = !migration.stage.is_over()
        && (migration.stale.is_some()
            || migration.streams.iter().any(|stream| stream.problem.is_some())
            || migration.vdiff.as_ref().is_some_and(|vdiff| vdiff.has_mismatch));
    itself || snapshot.way_back(migration).is_some_and(way_back::in_trouble)
}

/// True when nothing of a migration is left, nor of its way back.
fn is_over(snapshot: &Snapshot, migration: &Migration) -> bool {
    migration.stage.is_over() && snapshot.way_back(migration).is_none_or(|way_back| way_back.stage.is_over())
}

fn tiles(snapshot: &Snapshot) -> Markup {
    let active = || snapshot.migrations.iter().filter(|migration| !migration.stage.is_over());
    let of = |stage: Stage| active().filter(|migration| migration.stage == stage).count();
    let troubled = snapshot.migrations.iter().filter(|migration| in_trouble(snapshot, migration)).count();
    let back = snapshot.ways_back.iter().filter(|way_back| !way_back.stage.is_over());
    let lag = active().filter_map(|migration| migration.max_lag).chain(back.filter_map(|back| back.max_lag)).max();
    let (mounts, answering) = (snapshot.mounts.len(), snapshot.mounts.iter().filter(|mount| mount.reachable).count());
    let bad = |bad: bool, else_: Tone| if bad { Tone::Bad } else { else_ };
    let note = format!("{} copying, {} running, {} diffed", of(Stage::Copying), of(Stage::Running), of(Stage::Diffed));
    html! {
        h1 { "Migrations" }
        dl.tiles {
            (widgets::tile("Under way", &active().count().to_string(), &note, Tone::Quiet))
            (widgets::tile("In trouble", &troubled.to_string(), "", bad(troubled > 0, Tone::Quiet)))
            (widgets::tile("Highest lag", &lag.map_or("–".into(), text::duration), "", bad(lag.is_some_and(|lag| lag > 30), Tone::Quiet)))
            (widgets::tile("Mounts", &format!("{answering} of {mounts}"), "reachable", bad(answering < mounts, Tone::Quiet)))
        }
    }
}

/// What needs somebody comes first, what has ended last.
fn ordered(snapshot: &Snapshot) -> Vec<&Migration> {
    let mut all: Vec<&Migration> = snapshot.migrations.iter().map(AsRef::as_ref).collect();
    let order = |m: &&Migration| {
        (is_over(snapshot, m), !in_trouble(snapshot, m), std::cmp::Reverse(m.ended_at), m.stage != Stage::Copying)
    };
    all.sort_by_cached_key(order);
    all
}

fn migrations(snapshot: &Snapshot, page: usize) -> Markup {
    let all = ordered(snapshot);
    let shown = all.iter().skip((page.max(1) - 1) * CARDS).take(CARDS);
    html! {
        @if all.is_empty() && snapshot.sequence > 0 {
            div.empty {
                p { "No migration yet." }
                p { "Begin with " code { "Mount register" } ", then " code { "Migrate create" } "." }
            }
        }
        div.cards {
            @for migration in shown { (card(snapshot, migration)) }
        }
        (layout::pager("Pages of migrations", "/", page, pages(snapshot)))
    }
}

/// The mount that a migration reads from.
pub fn mount_of<'a>(snapshot: &'a Snapshot, migration: &Migration) -> Option<&'a Mount> {
    snapshot.mounts.iter().find(|mount| mount.name == migration.mount)
}

fn card(snapshot: &Snapshot, migration: &Migration) -> Markup {
    let Migration { keyspace, workflow, stage, copy, .. } = migration;
    let (mount, way_back) = (mount_of(snapshot, migration), snapshot.way_back(migration));
    let troubled = migration.streams.iter().any(|stream| stream.problem.is_some());
    html! {
        article.card.over[is_over(snapshot, migration)] data-key={ (keyspace) "/" (workflow) } {
            header {
                h2 { a href=(text::address(keyspace, workflow)) { (keyspace) "." (workflow) } }
                (route(migration))
                (widgets::stage(*stage, troubled))
            }
            (timeline::line(migration, mount))
            @if !stage.is_over() {
                @if *stage == Stage::Copying {
                    (widgets::bar("Rows copied", copy.percent, if troubled { Tone::Warn } else { Tone::Busy }))
                    p.facts { (widgets::copy_words(copy)) }
                } @else if *stage != Stage::Creating {
                    div.lagline {
                        (chart::spark(&migration.streams))
                        p.facts {
                            span { (text::several(migration.streams.len(), "stream")) }
                            span { (text::count(copy.rows_total)) " rows, " (text::bytes(copy.bytes_total)) }
                            span { "complete: " b { (migration.verdict) } }
                        }
                    }
                }
            } @else if let Some(at) = migration.ended_at {
                p.facts { span { (stage.as_str()) " " (text::moment(at)) } span { (text::count(copy.rows_total)) " rows" } }
            }
            @if let Some(problem) = &migration.stale { (widgets::problem("Out of date: it cannot be read now", problem, Tone::Warn)) }
            (widgets::troubles(&migration.streams, 2))
            @if let Some(way_back) = way_back { (way_back::short(way_back)) }
        }
    }
}

/// From where to where.
pub fn route(migration: &Migration) -> Markup {
    html! {
        p.route {
            span { (migration.source_keyspace) }
            @if !migration.mount.is_empty() { span.at { "@" (migration.mount) } }
            span.arrow aria-hidden="true" { "→" } span.unseen { " to " }
            span { (migration.keyspace) }
        }
    }
}

fn mounts(snapshot: &Snapshot) -> Markup {
    html! {
        section aria-labelledby="mounts-title" {
            h2 id="mounts-title" { "Mounted clusters" }
            @if snapshot.mounts.is_empty() { p.empty { "None. Register one with " code { "Mount register" } "." } }
            ul.mounts {
                @for mount in snapshot.mounts.iter().take(MOUNTS) { (mount_row(mount)) }
            }
            @if snapshot.mounts.len() > MOUNTS {
                p { "and " (snapshot.mounts.len() - MOUNTS) " more, see " a href="/api/mounts" { "JSON" } }
            }
        }
    }
}

fn mount_row(mount: &Mount) -> Markup {
    let names = |names: &[String]| {
        let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
        let more = names.len().saturating_sub(NAMES);
        if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
    };
    html! {
        li.mount data-key=(mount.name) {
            header {
                h3 { (mount.name) }
                @if mount.reachable { (widgets::badge(Tone::Good, "reachable")) } @else { (widgets::badge(Tone::Bad, "unreachable")) }
            }
            p.endpoint { (mount.topo_type) " " (mount.server) " " (mount.root) }
            dl.pairs {
                dt { "Checked" } dd { (text::moment(mount.checked_at)) }
                @if !mount.reachable {
                    dt { "Last reached" } dd { @if let Some(at) = mount.last_success { (text::moment(at)) } @else { "not since this server started" } }
                }
                dt { "Cells" } dd { (names(&mount.cells)) }
                dt { "Keyspaces" } dd { (names(&mount.keyspaces)) }
                dt { "Used by" } dd {
                    @if mount.used_by.is_empty() { "nobody" }
                    @for name in mount.used_by.iter().take(NAMES) {
                        @let (keyspace, workflow) = name.split_once('.').unwrap_or((name, ""));
                        a href=(text::address(keyspace, workflow)) { (name) } " "
                    }
                    @if mount.used_by.len() > NAMES { "and " (mount.used_by.len() - NAMES) " more" }
                }
            }
            @if let Some(problem) = &mount.problem { (widgets::problem("It does not answer", problem, Tone::Bad)) }
        }
    }
}
