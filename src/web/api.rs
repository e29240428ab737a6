//! Advice as JSON, read-only: verdicts, leftovers, preflights, dry runs. Cleaning is by gRPC only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

use super::Pages;
use crate::error::{Explain, Reason};
use crate::failure::Error;
use crate::workflow::leftovers;
use crate::workflow::migrate::{cancel, complete, dry_run};
use crate::workflow::mount::examine;
use crate::workflow::plan::arguments;
use crate::workflow::status::verdict;

/// The routes under `/api`.
pub fn router() -> Router<Arc<Pages>> {
    Router::new()
        .route("/api/verdict/{keyspace}/{workflow}", get(judge))
        .route("/api/leftovers", get(find))
        .route("/api/preflight/mount/{name}", get(mount))
        .route("/api/preflight/create", get(create))
        .route("/api/dry-run/create", get(create))
        .route("/api/dry-run/complete/{keyspace}/{workflow}", get(dry_complete))
        .route("/api/dry-run/cancel/{keyspace}/{workflow}", get(dry_cancel))
}

async fn judge(State(pages): State<Arc<Pages>>, Path((keyspace, workflow)): Path<(String, String)>) -> Response {
    answer(verdict::verdict(&pages.context, &keyspace, &workflow).await)
}

/// `?keyspace=`: all when absent.
#[derive(Deserialize)]
struct Where {
    #[serde(default)]
    keyspace: String,
}

async fn find(State(pages): State<Arc<Pages>>, Query(of): Query<Where>) -> Response {
    let found = leftovers::find(&pages.context, &of.keyspace).await;
    answer(found.map(|found| json!({ "summary": leftovers::summary(&found), "findings": found })))
}

async fn mount(State(pages): State<Arc<Pages>>, Path(name): Path<String>) -> Response {
    answer(Ok(examine::mounted(&pages.context, &name).await))
}

/// The arguments of create as the stock client spells them; lists are separated by commas.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Create {
    workflow: String,
    target_keyspace: String,
    source_keyspace: String,
    mount_name: String,
    tables: String,
    exclude_tables: String,
    all_tables: bool,
    cells: String,
    tablet_types: String,
    source_time_zone: String,
    on_ddl: String,
    defer_secondary_keys: bool,
    auto_start: bool,
    stop_after_copy: bool,
}

impl Default for Create {
    fn default() -> Self {
        Self {
            workflow: String::new(),
            target_keyspace: String::new(),
            source_keyspace: String::new(),
            mount_name: String::new(),
            tables: String::new(),
            exclude_tables: String::new(),
            all_tables: false,
            cells: String::new(),
            tablet_types: "in_order:replica,primary".into(),
            source_time_zone: String::new(),
            on_ddl: "IGNORE".into(),
            defer_secondary_keys: true,
            auto_start: true,
            stop_after_copy: false,
        }
    }
}

impl Create {
    fn arguments(self) -> Result<arguments::Arguments, Error> {
        let list = |text: &str| -> Vec<String> {
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
        };
        let (preference, types) = match self.tablet_types.strip_prefix("in_order:") {
            Some(types) => (TabletSelectionPreference::Inorder, types),
            None => (TabletSelectionPreference::Any, self.tablet_types.as_str()),
        };
        let tablet_type = |name: String| {
            let unknown = || Error::invalid(Reason::BAD_TABLET_TYPE, format!("unknown tablet type {name}"), "");
            vtmigrated_proto::tablet_type(&name).map(i32::from).ok_or_else(unknown)
        };
        let request = MigrateCreateRequest {
            tablet_types: list(types).into_iter().map(tablet_type).collect::<Result<_, Error>>()?,
            tablet_selection_preference: preference.into(),
            include_tables: list(&self.tables),
            exclude_tables: list(&self.exclude_tables),
            cells: list(&self.cells),
            workflow: self.workflow,
            target_keyspace: self.target_keyspace,
            source_keyspace: self.source_keyspace,
            mount_name: self.mount_name,
            all_tables: self.all_tables,
            source_time_zone: self.source_time_zone,
            on_ddl: self.on_ddl,
            defer_secondary_keys: self.defer_secondary_keys,
            auto_start: self.auto_start,
            stop_after_copy: self.stop_after_copy,
            ..MigrateCreateRequest::default()
        };
        arguments::Arguments::try_from(request)
    }
}

async fn create(State(pages): State<Arc<Pages>>, Query(create): Query<Create>) -> Response {
    match create.arguments() {
        Ok(arguments) => answer(Ok(dry_run::create(&pages.context, &arguments).await)),
        Err(error) => answer::<()>(Err(error)),
    }
}

/// `?ignore-source-keyspace=true`: without the proof that only the source can give.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Complete {
    ignore_source_keyspace: bool,
}

async fn dry_complete(
    State(pages): State<Arc<Pages>>,
    Path((keyspace, workflow)): Path<(String, String)>,
    Query(complete): Query<Complete>,
) -> Response {
    let ignore_source = complete.ignore_source_keyspace;
    let arguments = complete::Arguments { keyspace, workflow, dry_run: true, ignore_source };
    answer(Ok(dry_run::complete(&pages.context, &arguments).await))
}

/// `?keep-data=true`: the tables stay.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cancel {
    keep_data: bool,
}

async fn dry_cancel(
    State(pages): State<Arc<Pages>>,
    Path((keyspace, workflow)): Path<(String, String)>,
    Query(Cancel { keep_data }): Query<Cancel>,
) -> Response {
    let arguments = cancel::Arguments { keyspace, workflow, keep_data, shards: Vec::new() };
    answer(Ok(dry_run::cancel(&pages.context, &arguments).await))
}

/// 200 with the value, or the error's text, reason and help under the status that fits its code.
fn answer<T: Serialize>(result: Result<T, Error>) -> Response {
    let (status, body) = match result {
        Ok(value) => match serde_json::to_value(&value) {
            Ok(value) => (StatusCode::OK, value),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
        },
        Err(error) => {
            let body = json!({ "error": error.to_string(), "reason": error.reason(), "help": error.help() });
            (error.code().http(), body)
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
