//! One light tablet.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tonic::{Request, Response, Status};
use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    query::{QueryResult, Row},
    tabletmanagerdata::{self as data, read_v_replication_workflow_response::Stream},
    tabletmanagerservice::tablet_manager_server::TabletManager,
    vttime::Time,
};

/// Where every light tablet is in its source's or its own binlog.
const POSITION: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100";

/// Names of tables and rows of workflows; nothing else.
pub struct Light {
    db_name: String,
    /// Microseconds that each call takes.
    delay: AtomicU64,
    state: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    tables: BTreeSet<String>,
    workflows: Vec<data::ReadVReplicationWorkflowResponse>,
    last_id: i32,
}

type Answer<T> = Result<Response<T>, Status>;

impl Light {
    /// A tablet of a keyspace that has these tables.
    #[must_use]
    pub fn new(keyspace: &str, tables: &[String]) -> Self {
        let state = Contents { tables: tables.iter().cloned().collect(), ..Contents::default() };
        Self { db_name: format!("vt_{keyspace}"), delay: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Sets how long each call takes.
    pub fn delay(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Forgets all tables.
    pub fn drop_tables(&self) {
        self.state().tables.clear();
    }

    async fn take_time(&self) {
        tokio::time::sleep(Duration::from_micros(self.delay.load(Ordering::Relaxed))).await;
    }

    fn state(&self) -> MutexGuard<'_, Contents> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TabletManager for Light {
    async fn get_schema(&self, _: Request<data::GetSchemaRequest>) -> Answer<data::GetSchemaResponse> {
        self.take_time().await;
        let definition = |name: &String| data::TableDefinition {
            name: name.clone(),
            schema: format!("CREATE TABLE `{name}` (\n  `id` bigint NOT NULL,\n  PRIMARY KEY (`id`)\n)"),
            columns: vec!["id".to_owned()],
            primary_key_columns: vec!["id".to_owned()],
            r#type: "BASE TABLE".to_owned(),
            ..data::TableDefinition::default()
        };
        let table_definitions = self.state().tables.iter().map(definition).collect();
        let schema_definition = Some(data::SchemaDefinition { table_definitions, ..data::SchemaDefinition::default() });
        Ok(Response::new(data::GetSchemaResponse { schema_definition }))
    }

    async fn apply_schema(&self, request: Request<data::ApplySchemaRequest>) -> Answer<data::ApplySchemaResponse> {
        self.take_time().await;
        let sql = request.into_inner().sql;
        let names = sql.split("CREATE TABLE `").skip(1).filter_map(|rest| rest.split('`').next());
        self.state().tables.extend(names.map(str::to_owned));
        Ok(Response::new(data::ApplySchemaResponse::default()))
    }

    async fn create_v_replication_workflow(
        &self,
        request: Request<data::CreateVReplicationWorkflowRequest>,
    ) -> Answer<data::CreateVReplicationWorkflowResponse> {
        self.take_time().await;
        let request = request.into_inner();
        let mut state = self.state();
        let mut streams = Vec::new();
        for source in request.binlog_source {
            state.last_id += 1;
            let stream =
                Stream { id: state.last_id, bls: Some(source), state: State::Stopped.into(), ..Stream::default() };
            streams.push(stream);
        }
        state.workflows.push(data::ReadVReplicationWorkflowResponse {
            workflow: request.workflow,
            cells: request.cells.join(","),
            tablet_types: request.tablet_types,
            tablet_selection_preference: request.tablet_selection_preference,
            db_name: self.db_name.clone(),
            workflow_type: request.workflow_type,
            workflow_sub_type: request.workflow_sub_type,
            defer_secondary_keys: request.defer_secondary_keys,
            options: request.options,
            streams,
            ..data::ReadVReplicationWorkflowResponse::default()
        });
        Ok(Response::new(data::CreateVReplicationWorkflowResponse::default()))
    }

    async fn read_v_replication_workflows(
        &self,
        request: Request<data::ReadVReplicationWorkflowsRequest>,
    ) -> Answer<data::ReadVReplicationWorkflowsResponse> {
        self.take_time().await;
        let names = request.into_inner().include_workflows;
        let wanted = |w: &&data::ReadVReplicationWorkflowResponse| names.is_empty() || names.contains(&w.workflow);
        let workflows = self.state().workflows.iter().filter(wanted).cloned().collect();
        Ok(Response::new(data::ReadVReplicationWorkflowsResponse { workflows }))
    }

    async fn update_v_replication_workflow(
        &self,
        request: Request<data::UpdateVReplicationWorkflowRequest>,
    ) -> Answer<data::UpdateVReplicationWorkflowResponse> {
        self.take_time().await;
        let request = request.into_inner();
        let mut state = self.state();
        for workflow in state.workflows.iter_mut().filter(|w| w.workflow == request.workflow) {
            for stream in &mut workflow.streams {
                stream.state = request.state.unwrap_or(stream.state);
                if let Some(message) = &request.message {
                    stream.message = message.clone().into_bytes();
                }
                if stream.state() == State::Running {
                    stream.pos = POSITION.into();
                    stream.time_updated = Some(now());
                    stream.transaction_timestamp = Some(now());
                }
            }
        }
        Ok(Response::new(data::UpdateVReplicationWorkflowResponse::default()))
    }

    async fn v_replication_exec(
        &self,
        request: Request<data::VReplicationExecRequest>,
    ) -> Answer<data::VReplicationExecResponse> {
        self.take_time().await;
        if request.into_inner().query.starts_with("delete from _vt.vreplication") {
            self.state().workflows.clear();
        }
        Ok(Response::new(data::VReplicationExecResponse { result: Some(QueryResult::default()) }))
    }

    async fn execute_fetch_as_dba(
        &self,
        request: Request<data::ExecuteFetchAsDbaRequest>,
    ) -> Answer<data::ExecuteFetchAsDbaResponse> {
        self.take_time().await;
        let query = String::from_utf8_lossy(&request.into_inner().query).into_owned();
        let mut result = QueryResult::default();
        if query.starts_with("drop table") {
            self.state().tables.clear();
        } else if query.contains(" table_name from information_schema.tables ") {
            let row = |name: &String| Row { lengths: vec![name.len() as i64], values: name.clone().into_bytes() };
            result.rows = self.state().tables.iter().map(row).collect();
        }
        Ok(Response::new(data::ExecuteFetchAsDbaResponse { result: Some(result) }))
    }

    async fn execute_fetch_as_all_privs(
        &self,
        _: Request<data::ExecuteFetchAsAllPrivsRequest>,
    ) -> Answer<data::ExecuteFetchAsAllPrivsResponse> {
        self.take_time().await;
        Ok(Response::new(data::ExecuteFetchAsAllPrivsResponse { result: Some(QueryResult::default()) }))
    }

    async fn refresh_state(&self, _: Request<data::RefreshStateRequest>) -> Answer<data::RefreshStateResponse> {
        self.take_time().await;
        Ok(Response::new(data::RefreshStateResponse {}))
    }

    async fn reload_schema(&self, _: Request<data::ReloadSchemaRequest>) -> Answer<data::ReloadSchemaResponse> {
        self.take_time().await;
        Ok(Response::new(data::ReloadSchemaResponse {}))
    }

    async fn v_diff(&self, _: Request<data::VDiffRequest>) -> Answer<data::VDiffResponse> {
        self.take_time().await;
        Ok(Response::new(data::VDiffResponse::default()))
    }

    async fn primary_position(
        &self,
        _: Request<data::PrimaryPositionRequest>,
    ) -> Answer<data::PrimaryPositionResponse> {
        self.take_time().await;
        Ok(Response::new(data::PrimaryPositionResponse { position: POSITION.to_owned() }))
    }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanoseconds: 0 }
}
