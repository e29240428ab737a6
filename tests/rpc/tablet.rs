//! A tablet manager that answers as told and writes down what it was asked.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::{TabletManager, TabletManagerServer};

/// Calls so far, such as `Ping payload`.
pub type Calls = Arc<Mutex<Vec<String>>>;

/// Starts a tablet. It answers an error to every query that contains `fail`. Answers its port.
pub async fn start(name: &str, calls: &Calls) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = TabletManagerServer::new(Fake { name: name.to_owned(), calls: Arc::clone(calls) });
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    port
}

/// What was called, sorted: parallel calls have no order.
pub fn sorted(calls: &Calls) -> Vec<String> {
    let mut calls = std::mem::take(&mut *calls.lock().unwrap());
    calls.sort();
    calls
}

struct Fake {
    name: String,
    calls: Calls,
}

impl Fake {
    fn note(&self, call: String) -> Result<(), Status> {
        self.calls.lock().unwrap().push(format!("{} {call}", self.name));
        if call.contains("fail") {
            Err(Status::unknown(format!("TabletManager on {}: told to", self.name)))
        } else {
            Ok(())
        }
    }
}

fn table(name: &str) -> TableDefinition {
    TableDefinition {
        name: name.into(),
        schema: format!("create table {name}"),
        r#type: "BASE TABLE".into(),
        data_length: 7,
        row_count: 3,
        columns: vec!["id".into()],
        ..TableDefinition::default()
    }
}

#[tonic::async_trait]
impl TabletManager for Fake {
    async fn ping(&self, r: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.note("Ping".into())?;
        Ok(Response::new(PingResponse { payload: r.into_inner().payload }))
    }

    async fn refresh_state(&self, _: Request<RefreshStateRequest>) -> Result<Response<RefreshStateResponse>, Status> {
        self.note("RefreshState".into())?;
        Ok(Response::new(RefreshStateResponse {}))
    }

    async fn run_health_check(
        &self,
        _: Request<RunHealthCheckRequest>,
    ) -> Result<Response<RunHealthCheckResponse>, Status> {
        self.note("RunHealthCheck".into())?;
        Ok(Response::new(RunHealthCheckResponse {}))
    }

    async fn reload_schema(&self, r: Request<ReloadSchemaRequest>) -> Result<Response<ReloadSchemaResponse>, Status> {
        self.note(format!("ReloadSchema {}", r.into_inner().wait_position))?;
        Ok(Response::new(ReloadSchemaResponse {}))
    }

    async fn get_schema(&self, r: Request<GetSchemaRequest>) -> Result<Response<GetSchemaResponse>, Status> {
        let r = r.into_inner();
        self.note(format!(
            "GetSchema {:?} {:?} {} {}",
            r.tables, r.exclude_tables, r.include_views, r.table_schema_only
        ))?;
        let schema_definition = SchemaDefinition {
            database_schema: "create database vt_ks".into(),
            table_definitions: vec![table("a"), table("b")],
        };
        Ok(Response::new(GetSchemaResponse { schema_definition: Some(schema_definition) }))
    }

    async fn primary_position(
        &self,
        _: Request<PrimaryPositionRequest>,
    ) -> Result<Response<PrimaryPositionResponse>, Status> {
        Ok(Response::new(PrimaryPositionResponse { position: "MySQL56/x:1-7".into() }))
    }

    async fn execute_fetch_as_app(
        &self,
        r: Request<ExecuteFetchAsAppRequest>,
    ) -> Result<Response<ExecuteFetchAsAppResponse>, Status> {
        let r = r.into_inner();
        self.note(format!("App {} {}", String::from_utf8_lossy(&r.query), r.max_rows))?;
        let result = QueryResult { rows_affected: 1, ..QueryResult::default() };
        Ok(Response::new(ExecuteFetchAsAppResponse { result: Some(result) }))
    }

    async fn execute_fetch_as_dba(
        &self,
        r: Request<ExecuteFetchAsDbaRequest>,
    ) -> Result<Response<ExecuteFetchAsDbaResponse>, Status> {
        let r = r.into_inner();
        let query = String::from_utf8_lossy(&r.query).into_owned();
        self.note(format!("Dba {}: {query} {} {} {}", r.db_name, r.max_rows, r.disable_binlogs, r.reload_schema))?;
        let result = QueryResult { rows_affected: 2, ..QueryResult::default() };
        Ok(Response::new(ExecuteFetchAsDbaResponse { result: Some(result) }))
    }

    async fn execute_multi_fetch_as_dba(
        &self,
        r: Request<ExecuteMultiFetchAsDbaRequest>,
    ) -> Result<Response<ExecuteMultiFetchAsDbaResponse>, Status> {
        let r = r.into_inner();
        let checks = if r.disable_foreign_key_checks { " without foreign key checks" } else { "" };
        self.note(format!("Multi {}: {}{checks}", r.db_name, String::from_utf8_lossy(&r.sql)))?;
        let results = vec![QueryResult { rows_affected: 2, ..QueryResult::default() }];
        Ok(Response::new(ExecuteMultiFetchAsDbaResponse { results }))
    }
}
