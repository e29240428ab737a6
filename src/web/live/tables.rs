//! The tables of a migration, with their progress.

use maud::{Markup, html};

use super::layout;
use super::text;
use super::widgets::{self, Tone};
use crate::watch::{Migration, Table, TableStage};

/// Tables on a page.
const ROWS: usize = 50;

/// Number of pages.
pub fn pages(migration: &Migration) -> usize {
    migration.tables.len().div_ceil(ROWS).max(1)
}

/// The section; `page` counts from 1. What is being copied comes first, what is done last.
pub fn section(migration: &Migration, page: usize) -> Markup {
    let mut tables: Vec<&Table> = migration.tables.iter().collect();
    tables.sort_by_key(|table| table.stage);
    let shown = tables.iter().skip((page.max(1) - 1) * ROWS).take(ROWS);
    let base = text::address(&migration.keyspace, &migration.workflow);
    let copied = tables.iter().all(|table| table.stage == TableStage::Done);
    let of = |stage: TableStage| tables.iter().filter(|table| table.stage == stage).count();
    html! {
        @if !tables.is_empty() {
            section aria-labelledby="tables-title" {
                h2 id="tables-title" { "Tables" }
                p.facts {
                    span { (of(TableStage::Copying)) " copying" }
                    span { (of(TableStage::Pending)) " waiting" }
                    span { (of(TableStage::Done)) " done" }
                }
                table.tables {
                    thead { tr { th scope="col" { "Table" } th scope="col" { "Copied" } th.num scope="col" { "Rows" } th.num scope="col" { "Size" } @if !copied { th.num scope="col" { "Rate" } th.num scope="col" { "Time left" } } } }
                    tbody { @for table in shown { (row(table, copied)) } }
                }
                (layout::pager("Pages of tables", &base, page, pages(migration)))
            }
        }
    }
}

/// Rates are left out when everything is copied.
fn row(table: &Table, copied: bool) -> Markup {
    let (tone, percent) = match table.stage {
        TableStage::Copying => (Tone::Busy, table.percent),
        TableStage::Pending => (Tone::Quiet, 0.0),
        TableStage::Done => (Tone::Good, 100.0),
    };
    html! {
        tr data-key=(table.name) {
            th scope="row" { (table.name) }
            td.progress {
                (widgets::bar(&format!("{} copied", table.name), percent, tone))
                span.figure { (text::percent(percent)) }
            }
            td.num data-label="Rows" {
                @if table.stage == TableStage::Copying { (text::count(table.rows_copied)) " of " }
                (text::count(table.rows_total))
            }
            td.num data-label="Size" { (text::bytes(table.bytes_total)) }
            @if !copied {
                td.num data-label="Rate" { (table.rows_per_second.map_or_else(|| "–".into(), text::rate)) }
                td.num data-label="Time left" { (table.seconds_left.map_or_else(|| "–".into(), text::duration)) }
            }
        }
    }
}
