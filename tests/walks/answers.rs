//! How light tablets tell of tables and streams, and how they change streams.

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as StreamState;
use vtmigrated_proto::tabletmanagerdata::*;

use crate::data::{Name, Shard, Stream, Table};

pub fn definition(name: &str, table: &Table) -> TableDefinition {
    let field = |name: &str| vtmigrated_proto::query::Field {
        name: name.to_owned(),
        r#type: vtmigrated_proto::query::Type::Int64.into(),
        ..Default::default()
    };
    TableDefinition {
        name: name.to_owned(),
        schema: format!(
            "CREATE TABLE `{name}` (\n  `id` bigint NOT NULL,\n  `v` bigint NOT NULL,\n  PRIMARY KEY (`id`)\n)"
        ),
        columns: vec!["id".into(), "v".into()],
        primary_key_columns: vec!["id".into()],
        r#type: "BASE TABLE".into(),
        row_count: table.rows.len() as u64,
        data_length: 16384,
        fields: vec![field("id"), field("v")],
    }
}

fn time(seconds: i64) -> Option<vtmigrated_proto::vttime::Time> {
    Some(vtmigrated_proto::vttime::Time { seconds, nanoseconds: 0 })
}

fn stream(stream: &Stream) -> read_v_replication_workflow_response::Stream {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let heard = if stream.fresh { now } else { now - 600 };
    read_v_replication_workflow_response::Stream {
        id: stream.id,
        bls: Some(stream.source.clone()),
        pos: stream.position.clone().into_bytes(),
        state: stream.state.into(),
        message: stream.message.clone().into_bytes(),
        rows_copied: stream.rows_copied,
        time_updated: time(heard),
        time_heartbeat: time(heard),
        transaction_timestamp: time(heard),
        ..Default::default()
    }
}

/// The workflows of a shard, as the tablet tells them.
pub fn workflows(shard: &Shard, name: &Name, wanted: &[String]) -> Vec<ReadVReplicationWorkflowResponse> {
    let mut found: Vec<ReadVReplicationWorkflowResponse> = Vec::new();
    for one in shard.streams.iter().filter(|s| wanted.is_empty() || wanted.contains(&s.workflow)) {
        if let Some(known) = found.iter_mut().find(|known| known.workflow == one.workflow) {
            known.streams.push(stream(one));
            continue;
        }
        let made = &one.made_by;
        found.push(ReadVReplicationWorkflowResponse {
            workflow: one.workflow.clone(),
            cells: made.cells.join(","),
            tablet_types: made.tablet_types.clone(),
            tablet_selection_preference: made.tablet_selection_preference,
            db_name: format!("vt_{}", name.0),
            workflow_type: made.workflow_type,
            workflow_sub_type: made.workflow_sub_type,
            options: made.options.clone(),
            streams: vec![stream(one)],
            ..Default::default()
        });
    }
    found
}

pub fn update(shard: &mut Shard, request: &UpdateVReplicationWorkflowRequest) -> Result<u64, String> {
    let ids: Vec<i32> = shard.streams.iter().filter(|s| s.workflow == request.workflow).map(|s| s.id).collect();
    let wanted = request.state.and_then(|state| StreamState::try_from(state).ok());
    for id in &ids {
        let stream = shard.streams.iter_mut().find(|stream| stream.id == *id).unwrap();
        let message = request.message.clone().unwrap_or_else(|| stream.message.clone());
        let frozen = [&stream.message, &message].iter().any(|text| text.to_uppercase() == "FROZEN");
        if frozen && wanted == Some(StreamState::Running) {
            return Err("cannot start a workflow when it is frozen".to_owned());
        }
        stream.message = message;
        stream.source.on_ddl = request.on_ddl.filter(|on_ddl| *on_ddl >= 0).unwrap_or(stream.source.on_ddl);
        if let Some(state) = wanted {
            shard.set_state(*id, state);
        }
    }
    Ok(ids.len() as u64)
}
