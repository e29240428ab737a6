//! Reading the streams of workflows.

use std::collections::BTreeMap;

use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    tabletmanagerdata::{
        HasVReplicationWorkflowsResponse, ReadVReplicationWorkflowResponse as Workflow,
        ReadVReplicationWorkflowsRequest, ReadVReplicationWorkflowsResponse, TabletSelectionPreference,
        read_v_replication_workflow_response::Stream,
    },
    vttime::Time,
};

use crate::{
    engine::{
        Context,
        db::{Db, TextRow, number, text},
        error::{Error, Result},
    },
    picker, prototext, sql,
};

const COLUMNS: &str = "workflow, id, source, pos, stop_pos, max_tps, max_replication_lag, cell, tablet_types, \
                       time_updated, transaction_timestamp, state, message, db_name, rows_copied, tags, \
                       time_heartbeat, workflow_type, time_throttled, component_throttled, workflow_sub_type, \
                       defer_secondary_keys, options";

/// One workflow; an empty answer when there is none of that name.
pub async fn one(context: &Context, workflow: &str) -> Result<Workflow> {
    if workflow.is_empty() {
        return Err(Error::unknown("invalid request, no workflow provided"));
    }
    let options = &context.shared.options;
    let rows = select(
        context,
        &format!("where workflow = {} and db_name = {}", sql::string(workflow), sql::string(&options.db_name)),
    )
    .await?;
    let Some(first) = rows.first() else { return Ok(Workflow::default()) };
    let mut found = head(first)?;
    for row in &rows {
        found.streams.push(stream(row)?);
    }
    Ok(found)
}

/// All workflows of the tablet's database that pass the request's filters.
pub async fn many(
    context: &Context,
    request: &ReadVReplicationWorkflowsRequest,
) -> Result<ReadVReplicationWorkflowsResponse> {
    let condition = predicates(&context.shared.options.db_name, request);
    let rows = select(context, &format!("where {condition} order by workflow, id")).await?;
    let mut workflows: BTreeMap<String, Workflow> = BTreeMap::new();
    for row in &rows {
        let head = head(row)?;
        let streams = workflows.remove(&head.workflow).map(|workflow| workflow.streams).unwrap_or_default();
        let workflow = workflows.entry(head.workflow.clone()).or_insert(Workflow { streams, ..head });
        workflow.streams.push(stream(row)?);
    }
    Ok(ReadVReplicationWorkflowsResponse { workflows: workflows.into_values().collect() })
}

/// Whether the tablet's database has any stream.
pub async fn any(context: &Context) -> Result<HasVReplicationWorkflowsResponse> {
    let has = !select(context, &format!("where db_name = {} limit 1", sql::string(&context.shared.options.db_name)))
        .await?
        .is_empty();
    Ok(HasVReplicationWorkflowsResponse { has })
}

async fn select(context: &Context, condition: &str) -> Result<Vec<TextRow>> {
    let name = sql::quote(&context.shared.options.sidecar_db);
    let mut db = Db::connect(&context.shared).await?;
    let rows = db.rows(format!("select {COLUMNS} from {name}.vreplication {condition}")).await;
    db.close().await;
    rows
}

fn predicates(db_name: &str, request: &ReadVReplicationWorkflowsRequest) -> String {
    let mut condition = format!("db_name = {}", sql::string(db_name));
    let mut add = |front: &str, list: Vec<String>| {
        if !list.is_empty() {
            condition.push_str(&format!(" and {front} ({})", list.join(",")));
        }
    };
    let states = |states: &[i32]| -> Vec<String> {
        states.iter().map(|state| sql::string(State::try_from(*state).unwrap_or_default().as_str_name())).collect()
    };
    add("id in", request.include_ids.iter().map(ToString::to_string).collect());
    add("workflow in", request.include_workflows.iter().map(|name| sql::string(name)).collect());
    add("workflow not in", request.exclude_workflows.iter().map(|name| sql::string(name)).collect());
    add("state in", states(&request.include_states));
    add("state not in", states(&request.exclude_states));
    if request.exclude_frozen {
        // rows without any message drop out too, as in stock
        condition.push_str(" and message != 'FROZEN'");
    }
    condition
}

fn head(row: &TextRow) -> Result<Workflow> {
    let types = text(row, 8);
    let (names, preference) = match types.strip_prefix("in_order:") {
        Some(names) => (names, TabletSelectionPreference::Inorder),
        None => (types.as_str(), TabletSelectionPreference::Any),
    };
    let tablet_types: Option<Vec<i32>> =
        names.split(',').filter(|name| !name.is_empty()).map(|name| picker::parse_type(name).map(i32::from)).collect();
    Ok(Workflow {
        workflow: text(row, 0),
        cells: text(row, 7),
        tablet_types: tablet_types.ok_or_else(|| {
            Error::unknown(format!("error parsing the tablet_types field from vreplication table record: {types}"))
        })?,
        tablet_selection_preference: preference.into(),
        db_name: text(row, 13),
        tags: text(row, 15),
        workflow_type: number(row, 17),
        workflow_sub_type: number(row, 20),
        defer_secondary_keys: number::<u8>(row, 21) != 0,
        options: text(row, 22),
        ..Workflow::default()
    })
}

fn stream(row: &TextRow) -> Result<Stream> {
    let time = |column: usize| Some(Time { seconds: number(row, column), ..Time::default() });
    let bytes = |column: usize| row.get(column).and_then(Clone::clone).unwrap_or_default();
    let source = bytes(2);
    Ok(Stream {
        id: number(row, 1),
        bls: Some(prototext::decode(&source).map_err(|error| Error::unknown(error.to_string()))?),
        pos: bytes(3),
        stop_pos: text(row, 4),
        max_tps: number(row, 5),
        max_replication_lag: number(row, 6),
        time_updated: time(9),
        transaction_timestamp: time(10),
        state: State::from_str_name(&text(row, 11)).unwrap_or_default().into(),
        message: bytes(12),
        rows_copied: number(row, 14),
        time_heartbeat: time(16),
        time_throttled: time(18),
        component_throttled: text(row, 19),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_given_filters_become_conditions() {
        let request = ReadVReplicationWorkflowsRequest {
            include_workflows: vec!["a".into(), "b".into()],
            exclude_states: vec![State::Stopped.into()],
            exclude_frozen: true,
            ..ReadVReplicationWorkflowsRequest::default()
        };
        assert_eq!(
            predicates("vt_c", &request),
            "db_name = 'vt_c' and workflow in ('a','b') and state not in ('Stopped') and message != 'FROZEN'"
        );
    }
}
