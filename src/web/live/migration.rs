//! The page of one migration.

use maud::{Markup, html};

use super::text;
use super::views::Content;
use super::widgets::{self, Tone};
use super::{chart, layout, overview, stream_diagram, tables, timeline, way_back};
use crate::watch::{Migration, Snapshot, Stage, VDiff};

/// Tables and shards of a VDiff that are told of.
const DIFFERING: usize = 20;
/// Troubles of streams that are told.
const TROUBLED: usize = 10;
/// Streams in the list.
const STREAMS: usize = 200;

/// A migration by its names.
pub fn find<'a>(snapshot: &'a Snapshot, keyspace: &str, workflow: &str) -> Option<&'a Migration> {
    let found = snapshot.migrations.iter().find(|m| m.keyspace == keyspace && m.workflow == workflow);
    found.map(AsRef::as_ref)
}

/// Number of pages of its tables.
pub fn pages(migration: &Migration) -> usize {
    tables::pages(migration)
}

/// The parts; `page` of the tables counts from 1.
pub fn content(snapshot: &Snapshot, migration: &Migration, page: usize) -> Content {
    let Migration { keyspace, workflow, stage, copy, .. } = migration;
    let name = format!("{}.{}", text::short(keyspace, 40), text::short(workflow, 40));
    let title = match stage {
        Stage::Copying => format!("{} {name}", text::percent(copy.percent)),
        stage => format!("{name} {}", stage.as_str()),
    };
    Content {
        title: format!("{title} · vtmigrated"),
        parts: vec![
            ("banner", layout::banner(snapshot)),
            ("head", head(snapshot, migration)),
            ("back", way_back::section(snapshot.way_back(migration))),
            ("trouble", trouble(migration)),
            ("streams", streams(migration)),
            ("lag", chart::lag(&migration.streams)),
            ("tables", tables::section(migration, page)),
            ("vdiff", vdiff(migration)),
        ],
    }
}

fn head(snapshot: &Snapshot, migration: &Migration) -> Markup {
    let Migration { keyspace, workflow, stage, copy, .. } = migration;
    let troubled = migration.streams.iter().any(|stream| stream.problem.is_some());
    let lag = migration.max_lag;
    let over = stage.is_over();
    html! {
        nav.crumbs aria-label="Where you are" { a href="/" { "Migrations" } span aria-hidden="true" { "/" } span { (keyspace) } }
        div.title {
            h1 { (workflow) }
            (widgets::stage(*stage, troubled))
            (overview::route(migration))
        }
        (timeline::line(migration, overview::mount_of(snapshot, migration)))
        @if *stage == Stage::Copying {
            (widgets::bar("Rows copied", copy.percent, if troubled { Tone::Warn } else { Tone::Busy }))
        }
        dl.tiles {
            (widgets::tile("Copied", &text::percent(copy.percent), &format!("{} of {} rows", text::count(copy.rows_copied), text::count(copy.rows_total)), Tone::Quiet))
            (widgets::tile("Size", &text::bytes(copy.bytes_total), &format!("{} of {} done", copy.tables_done, text::several(copy.tables, "table")), Tone::Quiet))
            @if *stage == Stage::Copying {
                (widgets::tile("Time left", &copy.seconds_left.map_or("–".into(), text::duration), &copy.rows_per_second.map(text::rate).unwrap_or_default(), Tone::Busy))
            } @else if !over {
                (widgets::tile("Highest lag", &lag.map_or("–".into(), text::duration), &text::several(migration.streams.len(), "stream"), if lag.is_some_and(|lag| lag > 30) { Tone::Bad } else { Tone::Good }))
            }
            @if over {
                (widgets::tile("Streams", &migration.streams.len().to_string(), "as last seen", Tone::Quiet))
            } @else {
                @let (word, reason) = widgets::verdict(&migration.verdict);
                (widgets::tile("Complete", word, reason, if migration.go { Tone::Good } else { Tone::Warn }))
            }
        }
        p.facts {
            @if let Some(at) = migration.ended_at { span { (stage.as_str()) " " (text::moment(at)) } }
            @else if let Some(at) = migration.last_success { span { "read " (text::moment(at)) } }
            @if !migration.traffic.is_empty() { span { (migration.traffic) } }
            span { a href={ "/api/migrations/" (text::part(keyspace)) "/" (text::part(workflow)) } { "JSON" } }
            @if !over { span { a href={ "/api/verdict/" (text::part(keyspace)) "/" (text::part(workflow)) } { "Verdict" } } }
        }
        @if *stage == Stage::Ended {
            div class="problem quiet" { p { "Another server or program ended it: whether it was completed or cancelled is not known here." } }
        }
    }
}

fn trouble(migration: &Migration) -> Markup {
    let troubled = migration.streams.iter().any(|stream| stream.problem.is_some());
    html! {
        @if let Some(problem) = &migration.stale {
            (widgets::problem("This migration cannot be read now: what you see is out of date", problem, Tone::Warn))
        }
        @if troubled {
            section aria-labelledby="trouble-title" {
                h2 id="trouble-title" { "Streams in trouble" }
                (widgets::troubles(&migration.streams, TROUBLED))
            }
        }
        (widgets::findings("Before you complete", &migration.findings, migration.stage != Stage::Copying))
    }
}

fn streams(migration: &Migration) -> Markup {
    let mut listed: Vec<_> = migration.streams.iter().collect();
    listed.sort_by_key(|stream| stream.problem.is_none());
    let from = (migration.source_keyspace.as_str(), migration.mount.as_str());
    let ends = (from, (migration.keyspace.as_str(), ""));
    html! {
        @if !listed.is_empty() {
            section aria-labelledby="streams-title" {
                h2 id="streams-title" { "Streams" }
                (stream_diagram::draw(&migration.streams, ends))
                details {
                    summary { "All streams as a list" }
                    div.scroll tabindex="0" role="region" aria-label="Streams" {
                        table {
                            thead { tr { th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "State" } th.num scope="col" { "Lag" } th.num scope="col" { "Rows copied" } th.num scope="col" { "Tables left" } th scope="col" { "Tablet" } th scope="col" { "Position" } } }
                            tbody {
                                @for stream in listed.iter().take(STREAMS) {
                                    tr data-key={ (stream.shard) "/" (stream.source_shard) "/" (stream.id) } {
                                        td { (migration.source_keyspace) "/" (stream.source_shard) }
                                        td { (migration.keyspace) "/" (stream.shard) }
                                        td { (widgets::badge(widgets::state_tone(&stream.state, stream.problem.is_some()), &stream.state)) }
                                        td.num { (stream.lag.map_or("–".into(), text::duration)) }
                                        td.num { (text::count(stream.rows_copied)) }
                                        td.num { (stream.tables_left) }
                                        td { (stream.tablet) }
                                        td.long { (text::short(&stream.position, 120)) }
                                    }
                                }
                            }
                        }
                    }
                    @if listed.len() > STREAMS { p { "and " (listed.len() - STREAMS) " more, see JSON" } }
                }
            }
        }
    }
}

fn vdiff(migration: &Migration) -> Markup {
    let command =
        format!("VDiff --target-keyspace {} --workflow {} create --wait", migration.keyspace, migration.workflow);
    html! {
        @if migration.vdiff.is_some() || matches!(migration.stage, Stage::Running | Stage::Diffed | Stage::Copying) {
            section aria-labelledby="vdiff-title" {
                h2 id="vdiff-title" { "VDiff" }
                @match &migration.vdiff {
                    Some(vdiff) => (diff(vdiff)),
                    None => p.empty { "The rows have not been compared yet. " code { (command) } },
                }
            }
        }
    }
}

fn diff(vdiff: &VDiff) -> Markup {
    let (tone, word) = match vdiff.state.as_str() {
        _ if vdiff.has_mismatch => (Tone::Bad, "rows differ"),
        "completed" => (Tone::Good, "no difference"),
        "started" | "pending" => (Tone::Busy, vdiff.state.as_str()),
        "error" => (Tone::Bad, "error"),
        "" => (Tone::Warn, "not on every shard"),
        other => (Tone::Warn, other),
    };
    #[allow(clippy::cast_precision_loss, reason = "a percentage")]
    let part =
        if vdiff.state == "completed" { 100.0 } else { vdiff.rows_compared as f64 * 100.0 / vdiff.rows.max(1) as f64 };
    html! {
        div.panel {
            div.title { (widgets::badge(tone, word)) code.id { (vdiff.uuid) } }
            (widgets::bar("Rows compared", part, tone))
            p.facts {
                span { b { (text::count(vdiff.rows_compared)) } " of " (text::count(vdiff.rows)) " rows compared" }
                @if let Some(at) = vdiff.started_at { span { "started " (text::moment(at)) } }
                @if let Some(at) = vdiff.completed_at { span { "completed " (text::moment(at)) } }
                @if vdiff.differing > 0 { span { b { (text::count(vdiff.differing)) } " rows differ" } }
            }
            @if !vdiff.mismatches.is_empty() {
                p { "Tables with differences: " @for table in vdiff.mismatches.iter().take(DIFFERING) { code { (table) } " " } }
            }
            @for (shard, error) in vdiff.errors.iter().take(DIFFERING) { p.cause { b { (shard) } ": " (error) } }
            details {
                summary { "By shard" }
                p.chips { @for (shard, state) in vdiff.shards.iter().take(256) { span.chip { (shard) " " b { (state) } } } }
            }
        }
    }
}
