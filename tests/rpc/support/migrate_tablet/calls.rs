//! The calls that the tablet answers.

use tonic::{Request, Response, Status};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::query::{ExecuteRequest, ExecuteResponse, Field, QueryResult, Type};
use vtmigrated_proto::queryservice::query_server::Query;
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::TabletManager;

use super::sql::{bounded, quoted};
use super::{Answer, MigrateTablet};
use crate::support::vdiff_tablet::POSITION;

/// Most rows that the engine of vreplication answers (Vitess 22.0.4).
const ENGINE_ROWS: u64 = 10_000;
/// Message of a stream that was started and has not begun to copy.
const STARTING: &str = "starting";

fn is_read(query: &str) -> bool {
    query.starts_with("select") || query.starts_with("show")
}

impl MigrateTablet {
    /// What it says of its streams, unless it is told to fail; None for a statement that asks for something else.
    fn told_of_streams(&self, query: &str, most: u64) -> Result<Option<QueryResult>, Status> {
        let contents = self.contents();
        let Some(rows) = contents.of_streams(query) else { return Ok(None) };
        if contents.fails.iter().any(|text| query.contains(text)) {
            return Err(Status::unknown(format!("told to fail: {query}")));
        }
        bounded(&rows, most)
    }
}

#[tonic::async_trait]
impl TabletManager for MigrateTablet {
    async fn get_schema(&self, r: Request<GetSchemaRequest>) -> Answer<GetSchemaResponse> {
        let only = r.get_ref().table_schema_only;
        self.contents().schemas.push(only);
        // as tablets of 22.0.4 and 24.0.4, whose columns are asked for by an unescaped name
        if !only && self.contents().tables.keys().any(|name| name.contains('`')) {
            return Err(Status::unknown("UnescapeID err: no outer backticks found in the identifier"));
        }
        let fields = || vec![Field { name: "id".into(), r#type: Type::Int64.into(), ..Field::default() }];
        let (lines, definitions) = {
            let contents = self.contents();
            (contents.lines.clone(), contents.definitions.clone())
        };
        let columns = |name: &str| {
            let more = lines.iter().filter(|(of, _)| *of == name).map(|(_, line)| format!("  {line},\n"));
            let more: String = more.collect();
            let plain = || format!("`id` bigint NOT NULL,\n{more}  PRIMARY KEY (`id`)");
            definitions.get(name).map_or_else(plain, |columns| (*columns).to_owned())
        };
        let definition = |name: &String| TableDefinition {
            name: name.clone(),
            schema: format!("CREATE TABLE `{}` (\n  {}\n)", name.replace('`', "``"), columns(name)),
            fields: if only { vec![] } else { fields() },
            columns: if only { vec![] } else { vec!["id".into()] },
            primary_key_columns: if only { vec![] } else { vec!["id".into()] },
            r#type: "BASE TABLE".into(),
            ..TableDefinition::default()
        };
        let table_definitions = self.contents().tables.keys().map(definition).collect();
        let schema_definition = Some(SchemaDefinition { table_definitions, ..SchemaDefinition::default() });
        Ok(Response::new(GetSchemaResponse { schema_definition }))
    }

    async fn apply_schema(&self, r: Request<ApplySchemaRequest>) -> Answer<ApplySchemaResponse> {
        let sql = r.into_inner().sql;
        let names: Vec<String> =
            sql.split("CREATE TABLE `").skip(1).filter_map(|s| s.split('`').next()).map(str::to_owned).collect();
        self.perform(format!("ApplySchema {}", names.join(" ")), move |contents| {
            for (table, rows) in std::mem::take(&mut contents.made_before_ddl) {
                contents.tables.insert(table.into(), rows);
            }
            for name in names {
                if contents.tables.contains_key(&name) {
                    return Err(Status::unknown(format!(
                        "Table '{name}' already exists (errno 1050) (sqlstate 42S01)"
                    )));
                }
                contents.drop_table(&name);
                contents.tables.insert(name, 0);
            }
            Ok(ApplySchemaResponse::default())
        })
        .await
    }

    async fn create_v_replication_workflow(
        &self,
        r: Request<CreateVReplicationWorkflowRequest>,
    ) -> Answer<CreateVReplicationWorkflowResponse> {
        let request = r.into_inner();
        self.perform("CreateVReplicationWorkflow".into(), move |contents| {
            contents.insert(&request.workflow, request.binlog_source, State::Stopped);
            Ok(CreateVReplicationWorkflowResponse::default())
        })
        .await
    }

    async fn read_v_replication_workflows(
        &self,
        r: Request<ReadVReplicationWorkflowsRequest>,
    ) -> Answer<ReadVReplicationWorkflowsResponse> {
        let names = r.into_inner().include_workflows;
        let wanted = |w: &&ReadVReplicationWorkflowResponse| names.is_empty() || names.contains(&w.workflow);
        let (workflows, wait) = {
            let contents = self.contents();
            let wait =
                contents.slow.iter().find(|(text, _)| *text == "ReadVReplicationWorkflows").map(|(_, wait)| *wait);
            (contents.workflows.iter().filter(wanted).cloned().collect(), wait)
        };
        // what it says is as old as the call
        tokio::time::sleep(wait.unwrap_or_default()).await;
        Ok(Response::new(ReadVReplicationWorkflowsResponse { workflows }))
    }

    async fn update_v_replication_workflow(
        &self,
        r: Request<UpdateVReplicationWorkflowRequest>,
    ) -> Answer<UpdateVReplicationWorkflowResponse> {
        let request = r.into_inner();
        let state = State::try_from(request.state.unwrap_or_default()).unwrap();
        self.perform(format!("Update {}", state.as_str_name()), move |contents| {
            let slowly = contents.starts_slowly && state == State::Running;
            let named = contents.workflows.iter_mut().filter(|workflow| workflow.workflow == request.workflow);
            let mut rows_affected = 0;
            for stream in named.flat_map(|workflow| &mut workflow.streams) {
                rows_affected += 1;
                stream.state = state.into();
                if state == State::Running && !slowly || stream.message == STARTING.as_bytes() {
                    stream.pos = POSITION.into();
                }
                stream.message = match &request.message {
                    Some(message) => message.clone().into_bytes(),
                    None if slowly => STARTING.into(),
                    None => vec![],
                };
            }
            let result = QueryResult { rows_affected, ..QueryResult::default() };
            Ok(UpdateVReplicationWorkflowResponse { result: Some(result) })
        })
        .await
    }

    async fn v_replication_exec(&self, r: Request<VReplicationExecRequest>) -> Answer<VReplicationExecResponse> {
        let query = r.into_inner().query;
        if is_read(&query) {
            let result = self.told_of_streams(&query, ENGINE_ROWS)?;
            return Ok(Response::new(VReplicationExecResponse { result: Some(result.unwrap_or_default()) }));
        }
        self.perform(query.clone(), move |contents| {
            if let Some(rest) = query.strip_prefix("update _vt.vreplication set pos = ") {
                let (position, id) = rest.split_once(" where id = ").unwrap();
                let streams = contents.workflows.iter_mut().flat_map(|workflow| &mut workflow.streams);
                for stream in streams.filter(|stream| stream.id.to_string() == id) {
                    stream.pos = position.trim_matches('\'').as_bytes().to_vec();
                }
                return Ok(VReplicationExecResponse { result: Some(QueryResult::default()) });
            }
            let ids_of = |list: &str| -> Vec<i32> {
                list.trim_end_matches(')').split(',').filter_map(|id| id.trim().parse().ok()).collect()
            };
            if let Some(rest) = query.strip_prefix("update _vt.vreplication set state = ") {
                let (state, ids) = rest.split_once(" where id in (").unwrap();
                let (state, ids) = (State::from_str_name(state.trim_matches('\'')).unwrap(), ids_of(ids));
                let streams = contents.workflows.iter_mut().flat_map(|workflow| &mut workflow.streams);
                streams.filter(|stream| ids.contains(&stream.id)).for_each(|stream| stream.state = state.into());
                return Ok(VReplicationExecResponse { result: Some(QueryResult::default()) });
            }
            match query.split("where id in (").nth(1) {
                Some(ids) => {
                    let ids = ids_of(ids);
                    contents.workflows.iter_mut().for_each(|w| w.streams.retain(|s| !ids.contains(&s.id)));
                    contents.workflows.retain(|w| !w.streams.is_empty());
                }
                None => contents.workflows.retain(|w| !quoted(&query, '\'').contains(&w.workflow)),
            }
            Ok(VReplicationExecResponse { result: Some(QueryResult::default()) })
        })
        .await
    }

    async fn execute_fetch_as_dba(&self, r: Request<ExecuteFetchAsDbaRequest>) -> Answer<ExecuteFetchAsDbaResponse> {
        let request = r.into_inner();
        let query = String::from_utf8(request.query).unwrap();
        self.watch(&query).await;
        if is_read(&query) {
            let result = match self.told_of_streams(&query, request.max_rows)? {
                Some(told) => Some(told),
                None => self.contents().dba(&query)?,
            };
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result }));
        }
        let run = query.clone();
        self.perform(query, move |contents| Ok(ExecuteFetchAsDbaResponse { result: contents.dba(&run)? })).await
    }

    async fn execute_fetch_as_all_privs(
        &self,
        r: Request<ExecuteFetchAsAllPrivsRequest>,
    ) -> Answer<ExecuteFetchAsAllPrivsResponse> {
        let query = String::from_utf8(r.into_inner().query).unwrap();
        self.watch(&query).await;
        let mut contents = self.contents();
        if let Some(table) = contents.dropped_before_look.take() {
            contents.drop_table(table);
        }
        let result = contents.filled(&query)?;
        Ok(Response::new(ExecuteFetchAsAllPrivsResponse { result }))
    }

    async fn refresh_state(&self, _: Request<RefreshStateRequest>) -> Answer<RefreshStateResponse> {
        self.perform("RefreshState".into(), |contents| {
            if let Some(table) = contents.written_at_refresh.take() {
                contents.tables.insert(table.into(), 1);
            }
            Ok(RefreshStateResponse {})
        })
        .await
    }

    async fn reload_schema(&self, _: Request<ReloadSchemaRequest>) -> Answer<ReloadSchemaResponse> {
        self.perform("ReloadSchema".into(), |_| Ok(ReloadSchemaResponse {})).await
    }

    async fn v_diff(&self, r: Request<VDiffRequest>) -> Answer<VDiffResponse> {
        let request = r.into_inner();
        let mut contents = self.contents();
        let shown = contents.diff.clone().filter(|_| request.action == "show");
        contents.diffs.push(request);
        Ok(Response::new(shown.unwrap_or_default()))
    }

    async fn primary_position(&self, _: Request<PrimaryPositionRequest>) -> Answer<PrimaryPositionResponse> {
        if self.contents().fails.contains(&"PrimaryPosition") {
            return Err(Status::unknown("told to fail: PrimaryPosition"));
        }
        Ok(Response::new(PrimaryPositionResponse { position: self.contents().position.unwrap_or(POSITION).into() }))
    }
}

#[tonic::async_trait]
impl Query for MigrateTablet {
    /// What it is asked for is denied, unless it is told otherwise.
    async fn execute(&self, r: Request<ExecuteRequest>) -> Answer<ExecuteResponse> {
        let query = r.into_inner().query.unwrap_or_default().sql;
        let contents = self.contents();
        if contents.fails.iter().any(|text| query.contains(text)) {
            return Err(Status::unknown(format!("told to fail: {query}")));
        }
        match contents.takes_writes {
            true => Ok(Response::new(ExecuteResponse::default())),
            false => Err(Status::failed_precondition("disallowed due to rule: enforce denied tables")),
        }
    }
}
