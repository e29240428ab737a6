//! What the page shows, as JSON.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::migration::find;
use crate::error::Reason;
use crate::watch::{Migration, Snapshot, TableStage, WayBack};
use crate::web::Pages;

/// All mounts.
pub async fn mounts(State(pages): State<Arc<Pages>>) -> Response {
    let snapshot = pages.views.snapshot();
    answer(&json!({ "taken_at": snapshot.taken_at, "problem": snapshot.problem, "mounts": snapshot.mounts }))
}

/// All migrations in short, and keyspaces that cannot be read.
pub async fn migrations(State(pages): State<Arc<Pages>>) -> Response {
    let snapshot = pages.views.snapshot();
    let migrations: Vec<Value> = snapshot.migrations.iter().map(|migration| short(&snapshot, migration)).collect();
    answer(&json!({
        "taken_at": snapshot.taken_at,
        "problem": snapshot.problem,
        "keyspaces": snapshot.keyspaces,
        "migrations": migrations,
    }))
}

/// A migration, and its way back.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    migration: &'a Migration,
    way_back: Option<&'a WayBack>,
}

/// One migration with all its streams and tables.
pub async fn migration(
    State(pages): State<Arc<Pages>>,
    Path((keyspace, workflow)): Path<(String, String)>,
) -> Response {
    let snapshot = pages.views.snapshot();
    match find(&snapshot, &keyspace, &workflow) {
        Some(migration) => answer(&Whole { migration, way_back: snapshot.way_back(migration) }),
        None => {
            let text = format!("no migration {workflow} in keyspace {keyspace} was seen");
            let help = "see /api/migrations for those that were";
            let body = json!({ "error": text, "reason": Reason::WORKFLOW_UNKNOWN, "help": help });
            (StatusCode::NOT_FOUND, answer(&body)).into_response()
        }
    }
}

/// A snapshot in short: what changes often, without tables and histories.
pub fn summary(snapshot: &Snapshot) -> Value {
    let mount = |mount: &crate::watch::Mount| json!({ "name": mount.name, "reachable": mount.reachable, "problem": mount.problem, "used_by": mount.used_by });
    json!({
        "sequence": snapshot.sequence,
        "taken_at": snapshot.taken_at,
        "problem": snapshot.problem,
        "keyspaces": snapshot.keyspaces,
        "mounts": snapshot.mounts.iter().map(mount).collect::<Vec<_>>(),
        "migrations": snapshot.migrations.iter().map(|migration| short(snapshot, migration)).collect::<Vec<_>>(),
    })
}

fn short(snapshot: &Snapshot, migration: &Migration) -> Value {
    let copying = migration.tables.iter().filter(|table| table.stage == TableStage::Copying);
    json!({
        "keyspace": migration.keyspace,
        "workflow": migration.workflow,
        "mount": migration.mount,
        "source_keyspace": migration.source_keyspace,
        "stage": migration.stage,
        "go": migration.go,
        "verdict": migration.verdict,
        "traffic": migration.traffic,
        "max_lag": migration.max_lag,
        "copy": migration.copy,
        "tables_copying": copying.map(|table| table.name.as_str()).take(20).collect::<Vec<_>>(),
        "streams": migration.streams.len(),
        "streams_in_trouble": migration.streams.iter().filter(|stream| stream.problem.is_some()).count(),
        "vdiff": migration.vdiff.as_ref().map(|vdiff| json!({
            "uuid": vdiff.uuid,
            "state": vdiff.state,
            "rows_compared": vdiff.rows_compared,
            "rows": vdiff.rows,
            "has_mismatch": vdiff.has_mismatch,
        })),
        "way_back": snapshot.way_back(migration).map(short_way_back),
        "stale": migration.stale,
        "last_success": migration.last_success,
        "ended_at": migration.ended_at,
    })
}

fn short_way_back(way_back: &WayBack) -> Value {
    json!({
        "stage": way_back.stage,
        "go": way_back.go,
        "verdict": way_back.verdict,
        "max_lag": way_back.max_lag,
        "streams": way_back.streams.len(),
        "streams_in_trouble": way_back.streams.iter().filter(|stream| stream.problem.is_some()).count(),
        "prepared_at": way_back.prepared_at,
        "opened_at": way_back.opened_at,
        "stale": way_back.stale,
        "last_success": way_back.last_success,
        "ended_at": way_back.ended_at,
    })
}

fn answer(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
