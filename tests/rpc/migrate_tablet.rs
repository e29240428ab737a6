//! A tablet with tables and streams in memory, for migrations: it counts rows and moves none.

#[path = "migrate_tablet/sql.rs"]
mod sql;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use vtmigrated_proto::binlogdata::{
    BinlogSource, Filter, Rule, VReplicationWorkflowState as State, VReplicationWorkflowType,
};
use vtmigrated_proto::query::{Field, QueryResult, Type};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::{TabletManager, TabletManagerServer};

use crate::vdiff_tablet::POSITION;
use sql::{answer, quoted};

type Answer<T> = Result<Response<T>, Status>;

/// Message of a stream that was started and has not begun to copy.
const STARTING: &str = "starting";

/// What a tablet has, and how it is upset.
#[derive(Debug, Default)]
pub struct Contents {
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// Lines of a table's definition besides those that all have.
    pub lines: Vec<(&'static str, &'static str)>,
    pub workflows: Vec<ReadVReplicationWorkflowResponse>,
    /// What the streams owe to tables: table and statement.
    pub actions: Vec<(String, String)>,
    /// What was asked that changes something, in order.
    pub calls: Vec<String>,
    /// Calls that contain a text fail.
    pub fails: Vec<&'static str>,
    /// Calls that contain a text are done so much later, whether somebody waits for them or not; reading workflows has a name.
    pub slow: Vec<(&'static str, Duration)>,
    /// Calls that contain a text wait for a permit.
    pub held: Option<(&'static str, Arc<Semaphore>)>,
    /// A table that gets a row when the tablet reads its shard's record.
    pub written_at_refresh: Option<&'static str>,
    /// Streams have no position until they are asked for the second time.
    pub starts_slowly: bool,
    /// A table with rows that somebody makes just before the tablet runs DDL.
    pub made_before_ddl: Vec<(&'static str, u64)>,
    /// When this is called, a stream of the same workflow is there, which somebody else has made: the tables that it brings.
    pub rival: Option<(&'static str, Vec<&'static str>)>,
    /// When tables were made, by the seconds of its MySQL's clock: see [`Contents::made`].
    made: BTreeMap<String, i64>,
    clock: i64,
    /// The second goes on in which the last table was made.
    pub hurries: bool,
    /// Columns and keys of tables that have more than an id.
    pub definitions: BTreeMap<&'static str, &'static str>,
    /// What it was asked of diffs, and what it answers when it is to show one.
    pub diffs: Vec<VDiffRequest>,
    pub diff: Option<VDiffResponse>,
    /// Global variables of its MySQL.
    pub variables: Vec<(&'static str, &'static str)>,
    /// Where its binlogs are, when not at a GTID of the tests'.
    pub position: Option<&'static str>,
    /// Statements under way, and the most that there were.
    running: usize,
    pub most: usize,
    /// The same of questions for the bounds of keys, and how many there were.
    bounding: usize,
    pub most_bounding: usize,
    pub bounded: usize,
    /// For each question for its schema whether it was for definitions only.
    pub schemas: Vec<bool>,
    last_id: i32,
}

/// A tablet. It ends with the test's runtime.
#[derive(Clone, Default)]
pub struct MigrateTablet(Arc<Mutex<Contents>>);

impl MigrateTablet {
    /// Answers its port.
    pub async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = tonic::transport::Server::builder().add_service(TabletManagerServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        port
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    /// Names of its tables.
    pub fn tables(&self) -> Vec<String> {
        self.contents().tables.keys().cloned().collect()
    }

    pub fn fill(&self, table: &str, rows: u64) {
        self.contents().tables.insert(table.into(), rows);
    }

    /// Somebody drops a table, where it is there, and makes it anew.
    pub fn make_anew(&self, table: &str, rows: u64) {
        let mut contents = self.contents();
        contents.drop_table(table);
        contents.tables.insert(table.into(), rows);
    }

    /// All streams.
    pub fn streams(&self) -> Vec<Stream> {
        self.contents().workflows.iter().flat_map(|workflow| workflow.streams.clone()).collect()
    }

    /// Streams of a workflow that somebody else made: of one table, from a keyspace.
    pub fn add_stream(&self, workflow: &str, id: i32, keyspace: &str, table: &str) {
        let rules = vec![Rule { r#match: table.into(), ..Rule::default() }];
        let filter = Some(Filter { rules, ..Filter::default() });
        let bls = BinlogSource { keyspace: keyspace.into(), shard: "0".into(), filter, ..BinlogSource::default() };
        let stream = Stream { id, bls: Some(bls), state: State::Running.into(), ..Stream::default() };
        self.contents().workflows.push(ReadVReplicationWorkflowResponse {
            workflow: workflow.into(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            streams: vec![stream],
            ..ReadVReplicationWorkflowResponse::default()
        });
    }

    /// Waits until something was asked.
    pub async fn was_asked(&self, call: &str) {
        while !self.contents().calls.iter().any(|asked| asked.contains(call)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was asked since the last call.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.contents().calls)
    }

    /// Takes a while, as the bounds of keys do.
    async fn bound(&self) {
        {
            let mut contents = self.contents();
            contents.bounded += 1;
            contents.bounding += 1;
            contents.most_bounding = contents.most_bounding.max(contents.bounding);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.contents().bounding -= 1;
    }

    /// Does something as a tablet does it: late, and to its end, or not at all.
    async fn perform<T: Send + 'static>(
        &self,
        call: String,
        run: impl FnOnce(&mut Contents) -> Result<T, Status> + Send + 'static,
    ) -> Answer<T> {
        let (wait, fails, held) = {
            let mut contents = self.contents();
            contents.calls.push(call.clone());
            contents.running += 1;
            contents.most = contents.most.max(contents.running);
            if let Some((_, tables)) = contents.rival.take_if(|(at, _)| call.contains(*at)) {
                contents.insert("import", vec![rivals(&tables)], State::Running);
            }
            let wait = contents.slow.iter().find(|(text, _)| call.contains(text)).map(|(_, wait)| *wait);
            let held = contents.held.as_ref().filter(|(text, _)| call.contains(text));
            let held = held.map(|(_, permits)| Arc::clone(permits));
            (wait, contents.fails.iter().any(|text| call.contains(text)), held)
        };
        let me = self.clone();
        let done = tokio::spawn(async move {
            if let Some(held) = held {
                held.acquire().await.unwrap().forget();
            }
            tokio::time::sleep(wait.unwrap_or(Duration::from_millis(1))).await;
            let mut contents = me.contents();
            contents.running -= 1;
            if fails { Err(Status::unknown(format!("told to fail: {call}"))) } else { run(&mut contents) }
        });
        done.await.unwrap().map(Response::new)
    }
}

/// What a stock vtctld has a stream read that it makes for the same workflow.
fn rivals(tables: &[&str]) -> BinlogSource {
    let rule =
        |table: &&str| Rule { r#match: (*table).into(), filter: format!("select * from {table}"), ..Rule::default() };
    let rules = tables.iter().map(rule).collect();
    BinlogSource {
        keyspace: "commerce".into(),
        shard: "0".into(),
        external_cluster: "ext1".into(),
        filter: Some(Filter { rules, ..Filter::default() }),
        ..BinlogSource::default()
    }
}

impl Contents {
    fn insert(&mut self, workflow: &str, sources: Vec<BinlogSource>, state: State) {
        let mut streams = Vec::new();
        for source in sources {
            self.last_id += 1;
            let id = self.last_id;
            streams.push(Stream { id, bls: Some(source), state: state.into(), ..Stream::default() });
        }
        if let Some(known) = self.workflows.iter_mut().find(|known| known.workflow == workflow) {
            known.streams.extend(streams);
            return;
        }
        self.workflows.push(ReadVReplicationWorkflowResponse {
            workflow: workflow.to_owned(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            streams,
            ..ReadVReplicationWorkflowResponse::default()
        });
    }
}

fn is_read(query: &str) -> bool {
    query.starts_with("select") || query.starts_with("show")
}

#[tonic::async_trait]
impl TabletManager for MigrateTablet {
    async fn get_schema(&self, r: Request<GetSchemaRequest>) -> Answer<GetSchemaResponse> {
        let only = r.get_ref().table_schema_only;
        self.contents().schemas.push(only);
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
            schema: format!("CREATE TABLE `{name}` (\n  {}\n)", columns(name)),
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
            for stream in named.flat_map(|workflow| &mut workflow.streams) {
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
            Ok(UpdateVReplicationWorkflowResponse::default())
        })
        .await
    }

    async fn v_replication_exec(&self, r: Request<VReplicationExecRequest>) -> Answer<VReplicationExecResponse> {
        let query = r.into_inner().query;
        if is_read(&query) {
            if self.contents().fails.iter().any(|text| query.contains(text)) {
                return Err(Status::unknown(format!("told to fail: {query}")));
            }
            return Ok(Response::new(VReplicationExecResponse { result: answer(vec![]) }));
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
            match query.split("where id in (").nth(1) {
                Some(ids) => {
                    let ids: Vec<i32> =
                        ids.trim_end_matches(')').split(',').filter_map(|id| id.trim().parse().ok()).collect();
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
        let query = String::from_utf8(r.into_inner().query).unwrap();
        if query.contains("min(`id`) as low") {
            self.bound().await;
        }
        if is_read(&query) {
            let result = self.contents().dba(&query)?;
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
        let result = self.contents().filled(&query)?;
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
