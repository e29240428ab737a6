//! A tablet that keeps diffs in memory as a stock one does, and writes down what it was asked.

mod diffs;

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use vtmigrated::sql::rows;
use vtmigrated_proto::binlogdata::{
    BinlogSource, Filter, Rule, VReplicationWorkflowState as State, VReplicationWorkflowType,
};
use vtmigrated_proto::query::{Field, QueryResult, RealtimeStats, StreamHealthRequest, StreamHealthResponse};
use vtmigrated_proto::queryservice::query_server::{Query, QueryServer};
use vtmigrated_proto::replicationdata;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::{TabletManager, TabletManagerServer};

type Answer<T> = Result<Response<T>, Status>;

/// A diff on one tablet.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    pub uuid: String,
    pub state: String,
    pub last_error: String,
    /// Table, state, report.
    pub tables: Vec<(String, String, String)>,
}

/// What a tablet is and has; tests change it.
#[derive(Debug, Default)]
pub struct Contents {
    pub alias: String,
    pub workflow: String,
    pub streams: Vec<Stream>,
    /// Streams with a table to copy, those too that are gone.
    pub copying: Vec<i32>,
    pub diffs: Vec<Diff>,
    /// Answer to the question for the log.
    pub log: QueryResult,
    /// Actions that fail, with their texts.
    pub fails: Vec<(String, String)>,
    /// Behaves like tablets before Vitess 22.
    pub ignores_auto_start: bool,
    /// Why it is not healthy.
    pub ill: String,
    pub requests: Vec<VDiffRequest>,
    /// Tables of the workflow that its database has lost.
    pub gone: Vec<String>,
    /// What it has executed; it does not tell when this is empty.
    pub position: String,
    /// The same from the second question on, where that is another one.
    pub later_position: Option<String>,
    /// What it says of its own replication; it does not know the call when this is absent.
    pub replication: Option<Result<replicationdata::Status, String>>,
    /// The cells of its workflow.
    pub cells: String,
    /// Where its streams are once somebody has started them; they stay where they are when this is empty.
    pub runs_to: String,
    /// Variables of its MySQL with their values.
    pub variables: Vec<(&'static str, String)>,
    /// Rows of its tables, as MySQL estimates them.
    pub rows: Vec<(&'static str, u64)>,
    /// It never answers what columns tables have.
    pub hides_columns: bool,
    /// How often its streams were read.
    pub reads: usize,
    /// It does not read its shard's record again.
    pub deaf: bool,
    /// What earlier diffs found: UUID and table.
    pub found_before: Vec<(String, String)>,
    /// It answers what streams it has only with a permit, once they are stopped for good.
    pub held: Option<Arc<tokio::sync::Semaphore>>,
    /// State and message of each change of its workflow.
    pub changes: Vec<(Option<State>, Option<String>)>,
}

/// A tablet. It ends with the test's runtime.
#[derive(Clone, Default)]
pub struct DiffTablet(pub Arc<Mutex<Contents>>);

/// Where streams are.
pub const POSITION: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100";

/// Columns of what a tablet shows of a diff.
pub const SUMMARY: [&str; 11] = [
    "vdiff_state",
    "last_error",
    "table_name",
    "uuid",
    "table_state",
    "table_rows",
    "started_at",
    "rows_compared",
    "completed_at",
    "has_mismatch",
    "report",
];

/// A stream that runs.
pub fn stream(id: i32, mount: &str, keyspace: &str, shard: &str) -> Stream {
    let rule = |table: &str| Rule { r#match: table.into(), ..Rule::default() };
    let filter = Filter { rules: ["customer", "orders"].map(rule).into(), ..Filter::default() };
    let bls = BinlogSource {
        keyspace: keyspace.into(),
        shard: shard.into(),
        external_cluster: mount.into(),
        filter: Some(filter),
        ..BinlogSource::default()
    };
    Stream { id, bls: Some(bls), state: State::Running.into(), pos: POSITION.into(), ..Stream::default() }
}

impl DiffTablet {
    /// Answers its port.
    pub async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = tonic::transport::Server::builder()
            .add_service(TabletManagerServer::new(self.clone()))
            .add_service(QueryServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        port
    }

    /// Changes what it has.
    pub fn set(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.0.lock().unwrap());
    }

    /// The diff requests since the last call.
    pub fn taken(&self) -> Vec<VDiffRequest> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// Actions asked for since the last call.
    pub fn actions(&self) -> Vec<String> {
        self.taken().into_iter().map(|r| r.action).collect()
    }

    /// UUIDs and states of its diffs.
    pub fn diffs(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().diffs.iter().map(|d| (d.uuid.clone(), d.state.clone())).collect()
    }
}

/// A result set of texts; the empty ones are NULL.
pub fn result(columns: &[&str], values: &[Vec<String>]) -> QueryResult {
    let field = |name: &&str| Field { name: (*name).into(), ..Field::default() };
    let row = |values: &Vec<String>| rows::row(values.iter().map(|v| (!v.is_empty()).then_some(v.as_bytes())));
    QueryResult {
        fields: columns.iter().map(field).collect(),
        rows: values.iter().map(row).collect(),
        ..QueryResult::default()
    }
}

impl Contents {
    fn is_frozen(&self) -> bool {
        self.streams.iter().any(|stream| stream.message == b"FROZEN")
    }

    fn held_now(&self) -> Option<Arc<tokio::sync::Semaphore>> {
        self.held.clone().filter(|_| self.is_frozen())
    }

    /// A diff under way starts the streams again after each table, whatever their message says.
    fn go_on_with_diffs(&mut self) {
        if self.is_frozen() && self.diffs.iter().any(|diff| diff.state == "started") {
            for stream in &mut self.streams {
                stream.state = State::Running.into();
                stream.message.clear();
            }
        }
    }
}

#[tonic::async_trait]
impl TabletManager for DiffTablet {
    async fn v_diff(&self, r: Request<VDiffRequest>) -> Answer<VDiffResponse> {
        self.0.lock().unwrap().perform(r.get_ref()).map(Response::new)
    }

    async fn read_v_replication_workflows(
        &self,
        r: Request<ReadVReplicationWorkflowsRequest>,
    ) -> Answer<ReadVReplicationWorkflowsResponse> {
        let held = self.0.lock().unwrap().held_now();
        if let Some(held) = held {
            held.acquire().await.unwrap().forget();
        }
        let mut contents = self.0.lock().unwrap();
        contents.go_on_with_diffs();
        contents.reads += 1;
        let mut workflows = Vec::new();
        let names = &r.get_ref().include_workflows;
        if names.is_empty() || names.contains(&contents.workflow) {
            workflows.push(ReadVReplicationWorkflowResponse {
                workflow: contents.workflow.clone(),
                workflow_type: VReplicationWorkflowType::Migrate.into(),
                streams: contents.streams.clone(),
                cells: contents.cells.clone(),
                ..ReadVReplicationWorkflowResponse::default()
            });
        }
        Ok(Response::new(ReadVReplicationWorkflowsResponse { workflows }))
    }

    async fn v_replication_exec(&self, r: Request<VReplicationExecRequest>) -> Answer<VReplicationExecResponse> {
        let mut contents = self.0.lock().unwrap();
        let query = &r.get_ref().query;
        if query.starts_with("delete from _vt.vreplication ") && query.contains(&format!("'{}'", contents.workflow)) {
            contents.streams.clear();
        }
        Ok(Response::new(VReplicationExecResponse::default()))
    }

    async fn update_v_replication_workflow(
        &self,
        r: Request<UpdateVReplicationWorkflowRequest>,
    ) -> Answer<UpdateVReplicationWorkflowResponse> {
        let request = r.into_inner();
        let mut contents = self.0.lock().unwrap();
        let state = request.state.map(|_| request.state());
        contents.changes.push((state, request.message.clone()));
        let frozen = contents.streams.iter().any(|stream| stream.message == b"FROZEN");
        if state == Some(State::Running) && frozen {
            return Err(Status::unknown("cannot start a workflow when it is frozen"));
        }
        let runs_to = contents.runs_to.clone().into_bytes();
        for stream in &mut contents.streams {
            stream.state = request.state.unwrap_or(stream.state);
            stream.message = request.message.clone().map_or_else(|| stream.message.clone(), String::into_bytes);
            if state == Some(State::Running) && !runs_to.is_empty() {
                stream.pos.clone_from(&runs_to);
            }
        }
        let rows_affected = contents.streams.len() as u64;
        let result = Some(QueryResult { rows_affected, ..QueryResult::default() });
        Ok(Response::new(UpdateVReplicationWorkflowResponse { result }))
    }

    async fn primary_position(&self, _: Request<PrimaryPositionRequest>) -> Answer<PrimaryPositionResponse> {
        let mut contents = self.0.lock().unwrap();
        let position = contents.position.clone();
        if let Some(later) = contents.later_position.take() {
            contents.position = later;
        }
        if position.is_empty() {
            return Err(Status::unknown("TabletManager.PrimaryPosition: mysqld is down"));
        }
        Ok(Response::new(PrimaryPositionResponse { position }))
    }

    async fn replication_status(&self, _: Request<ReplicationStatusRequest>) -> Answer<ReplicationStatusResponse> {
        match self.0.lock().unwrap().replication.clone() {
            None => Err(Status::unimplemented("")),
            Some(Err(text)) => Err(Status::unknown(text)),
            Some(Ok(status)) => Ok(Response::new(ReplicationStatusResponse { status: Some(status) })),
        }
    }

    async fn refresh_state(&self, _: Request<RefreshStateRequest>) -> Answer<RefreshStateResponse> {
        if self.0.lock().unwrap().deaf {
            return Err(Status::unknown("a backup holds the tablet's lock"));
        }
        Ok(Response::new(RefreshStateResponse {}))
    }

    async fn execute_fetch_as_dba(&self, r: Request<ExecuteFetchAsDbaRequest>) -> Answer<ExecuteFetchAsDbaResponse> {
        let query = String::from_utf8_lossy(&r.get_ref().query).into_owned();
        if query.contains("information_schema.columns") && self.0.lock().unwrap().hides_columns {
            std::future::pending::<()>().await;
        }
        if query.contains("coalesce(table_rows, 0)") {
            let row = |(table, rows): &(&str, u64)| vec![(*table).to_owned(), rows.to_string(), "16384".to_owned()];
            let rows: Vec<Vec<String>> = self.0.lock().unwrap().rows.iter().map(row).collect();
            let result = Some(result(&["table_name", "rows", "bytes"], &rows));
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result }));
        }
        if query.contains("performance_schema.global_variables") {
            let row = |(name, value): &(&str, String)| vec![(*name).to_owned(), value.clone()];
            let rows: Vec<Vec<String>> = self.0.lock().unwrap().variables.iter().map(row).collect();
            let result = Some(result(&["variable_name", "variable_value"], &rows));
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result }));
        }
        if query.contains("information_schema.tables") {
            let gone = self.0.lock().unwrap().gone.clone();
            let there = ["customer", "orders"].iter().filter(|table| !gone.iter().any(|gone| gone == *table));
            let made: &[&str] = if query.contains("create_time") { &["1700000000", "1700000001.5"] } else { &[] };
            let row = |table: &&str| [&[*table][..], made].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
            let rows: Vec<Vec<String>> = there.map(row).collect();
            let result = Some(result(&["table_name", "made", "now"][..=made.len()], &rows));
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result }));
        }
        let contents = || self.0.lock().unwrap();
        let asks_for_orphans = query.starts_with("select distinct vrepl_id, table_name from _vt.copy_state");
        if asks_for_orphans || query.starts_with("select vrepl_id, table_name, lastpk from _vt.copy_state") {
            let state = |id: &i32| vec![id.to_string(), "customer".to_owned(), String::new()];
            let contents = contents();
            let is_meant = |id: &&i32| contents.streams.iter().any(|stream| stream.id == **id) != asks_for_orphans;
            let states: Vec<Vec<String>> = contents.copying.iter().filter(is_meant).map(state).collect();
            let result = Some(result(&["vrepl_id", "table_name", "lastpk"], &states));
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result }));
        }
        let rows: Option<Vec<Vec<String>>> = if query.contains("from _vt.vdiff_table as t") {
            Some(contents().found_before.iter().map(|(uuid, table)| vec![uuid.clone(), table.clone()]).collect())
        } else if query.starts_with("select vdiff_uuid from _vt.vdiff where") {
            let goes_on = |diff: &&Diff| ["pending", "started", "error"].contains(&diff.state.as_str());
            Some(contents().diffs.iter().filter(goes_on).map(|diff| vec![diff.uuid.clone()]).collect())
        } else {
            None
        };
        if let Some(rows) = rows {
            return Ok(Response::new(ExecuteFetchAsDbaResponse { result: Some(result(&["a", "b"], &rows)) }));
        }
        let log = query.contains("_vt.vdiff_log").then(|| self.0.lock().unwrap().log.clone());
        let result = Some(log.unwrap_or_default());
        Ok(Response::new(ExecuteFetchAsDbaResponse { result }))
    }
}

#[tonic::async_trait]
impl Query for DiffTablet {
    async fn stream_health(
        &self,
        _: Request<StreamHealthRequest>,
    ) -> Answer<tonic::codegen::BoxStream<StreamHealthResponse>> {
        let health_error = self.0.lock().unwrap().ill.clone();
        let serving = health_error.is_empty();
        let realtime_stats = Some(RealtimeStats { health_error, ..RealtimeStats::default() });
        let answer = StreamHealthResponse { serving, realtime_stats, ..StreamHealthResponse::default() };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)))))
    }
}
