//! Creating, changing and deleting the streams of a workflow.

use tonic::Code;
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Rule, VReplicationWorkflowState as State},
    query::QueryResult,
    tabletmanagerdata::{
        CreateVReplicationWorkflowRequest, CreateVReplicationWorkflowResponse, DeleteVReplicationWorkflowRequest,
        DeleteVReplicationWorkflowResponse, TabletSelectionPreference, UpdateVReplicationWorkflowRequest,
        UpdateVReplicationWorkflowResponse,
    },
    topodata::TabletType,
};

use crate::{
    engine::{
        Context, Engine,
        db::{Db, TextRow, text},
        error::{Error, Result},
    },
    generation::Generation,
    prototext, sql,
};

/// One stopped stream for each source.
pub async fn create(
    context: &Context,
    engine: &Engine,
    request: CreateVReplicationWorkflowRequest,
) -> Result<CreateVReplicationWorkflowResponse> {
    if request.binlog_source.is_empty() {
        return Err(Error::new(Code::InvalidArgument, "invalid request, no binlog source specified"));
    }
    let options = &context.shared.options;
    let blank = request.cells.first().is_none_or(|cell| cell.trim().is_empty());
    let cells = if blank { options.cell.clone() } else { request.cells.join(",") };
    let in_order = request.tablet_selection_preference() == TabletSelectionPreference::Inorder;
    let types = types_text(&request.tablet_types, in_order);
    let settings = if request.options.is_empty() { "{}" } else { &request.options };
    let mut rows_affected = 0;
    for mut source in request.binlog_source {
        sort(&mut source);
        let sql = format!(
            "insert into {}.vreplication (workflow, source, pos, max_tps, max_replication_lag, cell, tablet_types, \
             time_updated, transaction_timestamp, state, db_name, workflow_type, workflow_sub_type, \
             defer_secondary_keys, options) values ({}, {}, '', 0, 0, {}, {}, now(), 0, 'Stopped', {}, {}, {}, {}, {})",
            sql::quote(&options.sidecar_db),
            sql::string(&request.workflow),
            sql::string(&source_text(&source)?),
            sql::string(&cells),
            sql::string(&types),
            sql::string(&options.db_name),
            request.workflow_type,
            request.workflow_sub_type,
            u8::from(request.defer_secondary_keys),
            sql::string(settings),
        );
        rows_affected += engine.exec(&sql).await?.rows_affected;
    }
    let result = QueryResult { rows_affected, ..QueryResult::default() };
    Ok(CreateVReplicationWorkflowResponse { result: Some(result) })
}

/// The workflow's rows of the tablet's database.
pub async fn delete(
    context: &Context,
    engine: &Engine,
    request: DeleteVReplicationWorkflowRequest,
) -> Result<DeleteVReplicationWorkflowResponse> {
    let options = &context.shared.options;
    let sql = format!(
        "delete from {}.vreplication where workflow = {} and db_name = {}",
        sql::quote(&options.sidecar_db),
        sql::string(&request.workflow),
        sql::string(&options.db_name)
    );
    Ok(DeleteVReplicationWorkflowResponse { result: Some(engine.exec(&sql).await?) })
}

/// Changes each stream of the workflow, whatever its database, and restarts its controller.
pub async fn update(
    context: &Context,
    engine: &Engine,
    request: UpdateVReplicationWorkflowRequest,
) -> Result<UpdateVReplicationWorkflowResponse> {
    let generation = context.shared.options.generation;
    let name = sql::quote(&context.shared.options.sidecar_db);
    let mut statements = Vec::new();
    let mut db = Db::connect(&context.shared).await?;
    let rows = db
        .rows(format!(
            "select id, source, cell, tablet_types, state, message from {name}.vreplication where workflow = {}",
            sql::string(&request.workflow)
        ))
        .await?;
    for row in &rows {
        let copying = format!("select distinct vrepl_id from {name}.copy_state where vrepl_id = {}", text(row, 0));
        let is_copying = !db.rows(copying).await?.is_empty();
        statements.push(update_statement(&name, &request, row, is_copying, generation)?);
    }
    db.close().await;
    if statements.is_empty() {
        return Ok(UpdateVReplicationWorkflowResponse { result: None });
    }
    let mut rows_affected = 0;
    for sql in statements {
        rows_affected += engine.exec(&sql).await?.rows_affected;
    }
    let result = QueryResult { rows_affected, ..QueryResult::default() };
    Ok(UpdateVReplicationWorkflowResponse { result: Some(result) })
}

/// Go callers write -1, and the cell NULL, for "leave it".
const UNCHANGED: i32 = -1;

fn update_statement(
    name: &str,
    request: &UpdateVReplicationWorkflowRequest,
    row: &TextRow,
    is_copying: bool,
    generation: Generation,
) -> Result<String> {
    let wanted = request.state.filter(|state| *state != UNCHANGED);
    if wanted == Some(State::Running.into()) && text(row, 5).eq_ignore_ascii_case("FROZEN") {
        return Err(Error::new(Code::FailedPrecondition, "cannot start a workflow when it is frozen"));
    }
    let cells = if request.cells == ["NULL"] { text(row, 2) } else { request.cells.join(",") };
    let mut state = match wanted {
        Some(state) => State::try_from(state).unwrap_or_default().as_str_name().to_owned(),
        None => text(row, 4),
    };
    if state == State::Running.as_str_name() && is_copying {
        state = State::Copying.as_str_name().to_owned();
    }
    let source = row.get(1).and_then(Option::as_deref).unwrap_or_default();
    let mut source: BinlogSource = prototext::decode(source).map_err(|error| Error::unknown(error.to_string()))?;
    if let Some(on_ddl) = request.on_ddl.filter(|action| *action != UNCHANGED) {
        source.on_ddl = on_ddl;
    }
    sort(&mut source);
    let message = request.message.clone().unwrap_or_else(|| text(row, 5));
    Ok(format!(
        "update {name}.vreplication set state = {}, source = {}, cell = {}, tablet_types = {}, message = {}{} \
         where id in ({})",
        sql::string(&state),
        sql::string(&source_text(&source)?),
        sql::string(&cells),
        sql::string(&changed_types(request, &text(row, 3))),
        sql::string(&message),
        options_clause(request, generation),
        text(row, 0)
    ))
}

/// The hint `in_order:` goes unless the request says that it stays.
fn changed_types(request: &UpdateVReplicationWorkflowRequest, old: &str) -> String {
    let (old_in_order, old_types) = match old.strip_prefix("in_order:") {
        Some(types) => (true, types),
        None => (false, old),
    };
    let in_order = match request.tablet_selection_preference.map(TabletSelectionPreference::try_from) {
        Some(Ok(TabletSelectionPreference::Inorder)) => true,
        Some(Ok(TabletSelectionPreference::Unknown)) => old_in_order,
        _ => false,
    };
    if request.tablet_types == [UNCHANGED] {
        let hint = if in_order { "in_order:" } else { "" };
        return format!("{hint}{old_types}");
    }
    types_text(&request.tablet_types, in_order)
}

/// Setting any key drops those that were set before, up to 24.0.3.
fn options_clause(request: &UpdateVReplicationWorkflowRequest, generation: Generation) -> String {
    if request.config_overrides.is_empty() {
        return String::new();
    }
    let path = |key: &str| sql::string(&format!("$.config.\"{key}\""));
    let mut entries: Vec<(&String, &String)> = request.config_overrides.iter().collect();
    entries.sort();
    let (removed, set): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, value)| value.is_empty());
    let removed: Vec<String> = removed.into_iter().map(|(key, _)| path(key)).collect();
    let set: Vec<String> =
        set.into_iter().map(|(key, value)| format!("{}, {}", path(key), sql::string(value))).collect();
    let base = match removed.as_slice() {
        [] => "options".to_owned(),
        removed => format!("json_remove(options, {})", removed.join(", ")),
    };
    match set.as_slice() {
        [] => format!(", options = {base}"),
        set if generation.merges_overrides() => {
            let set = set.join(", ");
            format!(", options = json_set(json_insert({base}, '$.config', json_object()), {set})")
        }
        set => format!(", options = json_set({base}, '$.config', json_object(), {})", set.join(", ")),
    }
}

fn types_text(types: &[i32], in_order: bool) -> String {
    let name = |kind: &i32| TabletType::try_from(*kind).unwrap_or_default().as_str_name().to_lowercase();
    let names: Vec<String> = types.iter().map(name).collect();
    format!("{}{}", if in_order { "in_order:" } else { "" }, names.join(","))
}

/// Stock's order: tables by name; rules that exclude first, then by table, then by filter.
fn sort(source: &mut BinlogSource) {
    source.tables.sort();
    let place = |rule: &Rule| {
        let table = rule.r#match.strip_prefix('/').unwrap_or(&rule.r#match).to_owned();
        (rule.filter != "exclude", table, rule.filter.clone())
    };
    if let Some(filter) = &mut source.filter {
        filter.rules.sort_by_cached_key(place);
    }
}

fn source_text(source: &BinlogSource) -> Result<String> {
    prototext::encode(source).map_err(|error| Error::unknown(error.to_string()))
}

#[cfg(test)]
mod tests;
