//! A tablet with tables and streams in memory, for migrations: it counts rows and moves none.

mod calls;
mod sql;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status};
use vtmigrated_proto::binlogdata::{
    BinlogSource, Filter, Rule, VReplicationWorkflowState as State, VReplicationWorkflowType,
};
use vtmigrated_proto::queryservice::query_server::QueryServer;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::tabletmanagerdata::{ReadVReplicationWorkflowResponse, VDiffRequest, VDiffResponse};
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::TabletManagerServer;

type Answer<T> = Result<Response<T>, Status>;

/// What a tablet has, and how it is upset.
#[derive(Debug, Default)]
pub struct Contents {
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// Lines of a table's definition besides those that all have.
    pub lines: Vec<(&'static str, &'static str)>,
    pub workflows: Vec<ReadVReplicationWorkflowResponse>,
    /// What streams have left to copy, those too that are gone: stream and table.
    pub copying: Vec<(i32, String)>,
    /// Streams that have begun to copy at some time, as its log has them.
    pub begun: Vec<i32>,
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
    /// What its database holds besides tables: kind and name.
    pub inventory: Vec<(&'static str, &'static str)>,
    /// Statements that begin with a text are answered with one row.
    pub told: Vec<(&'static str, Vec<&'static str>)>,
    /// Where its binlogs are, when not at a GTID of the tests'.
    pub position: Option<&'static str>,
    /// Statements under way, and the most that there were.
    running: usize,
    pub most: usize,
    /// Statements with this text take a while: the same of these, and how many there were.
    watched: Option<&'static str>,
    watching: usize,
    most_watched: usize,
    seen: usize,
    /// Its tables' ids are AUTO_INCREMENT, as it says when it is asked for columns; it tells none otherwise.
    pub counts_ids: bool,
    /// The tablets that its shard's reparents made primary, the last first.
    pub journal: Vec<&'static str>,
    /// Clients can write to its tables, whatever its shard's record denies.
    pub takes_writes: bool,
    /// A table that somebody drops before the tablet looks for rows.
    pub dropped_before_look: Option<&'static str>,
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
        let router = tonic::transport::Server::builder()
            .add_service(TabletManagerServer::new(self.clone()))
            .add_service(QueryServer::new(self.clone()));
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

    /// All streams stand for good, as complete leaves them.
    pub fn freeze(&self) {
        for stream in self.contents().workflows.iter_mut().flat_map(|workflow| &mut workflow.streams) {
            (stream.state, stream.message) = (State::Stopped.into(), b"FROZEN".to_vec());
        }
    }

    /// Calls that contain a text wait from now on: for the permits that are given.
    pub fn holds(&self, call: &'static str) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.contents().held = Some((call, Arc::clone(&permits)));
        permits
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

    /// Takes a while for a statement that is watched.
    async fn watch(&self, query: &str) {
        {
            let mut contents = self.contents();
            if contents.watched.is_none_or(|text| !query.contains(text)) {
                return;
            }
            contents.seen += 1;
            contents.watching += 1;
            contents.most_watched = contents.most_watched.max(contents.watching);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.contents().watching -= 1;
    }

    /// Watches statements with a text from now on.
    pub fn watches(&self, text: &'static str) {
        let mut contents = self.contents();
        contents.watched = Some(text);
        (contents.seen, contents.most_watched) = (0, 0);
    }

    /// How many statements were watched, and the most at a time.
    pub fn watched(&self) -> (usize, usize) {
        let contents = self.contents();
        (contents.seen, contents.most_watched)
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
