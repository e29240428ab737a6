//! A light tablet: the calls that our server makes of it, answered from the world's memory.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tower::Service;
use tower::util::BoxCloneSyncService;
use vtmigrated::tablet::InProcess;
use vtmigrated::topo::shard;
use vtmigrated_proto::query::{
    ExecuteRequest, ExecuteResponse, QueryResult, RealtimeStats, StreamHealthRequest, StreamHealthResponse,
};
use vtmigrated_proto::queryservice::query_server::{Query, QueryServer};
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::{TabletManager, TabletManagerServer};

use crate::answers::{definition, update, workflows};
use crate::data::{Name, Shard, Table};
use crate::sql;
use crate::upset;
use crate::world::{SOURCE, State, World};

type Answer<T> = Result<Response<T>, Status>;

/// A tablet's services, by number.
#[derive(Clone)]
pub struct Light {
    world: Arc<World>,
    uid: u32,
}

#[derive(Clone)]
struct Served {
    light: Light,
    manager: TabletManagerServer<Light>,
    query: QueryServer<Light>,
}

/// The services of a tablet, for the connections of a server.
pub fn services(world: &Arc<World>, uid: u32) -> InProcess {
    let light = Light { world: Arc::clone(world), uid };
    let (manager, query) = (TabletManagerServer::new(light.clone()), QueryServer::new(light.clone()));
    BoxCloneSyncService::new(Served { light, manager, query })
}

type Boxed = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Served {
    fn serve(&mut self, request: http::Request<Body>) -> Boxed {
        let (down, hangs) = {
            let state = self.light.world.state();
            (state.is_down(self.light.uid), state.hung.contains(&self.light.uid))
        };
        if down {
            return Box::pin(async { Ok(Status::unavailable("connection refused").into_http()) });
        }
        if hangs {
            return Box::pin(std::future::pending());
        }
        if request.uri().path().starts_with("/queryservice") {
            return Box::pin(self.query.call(request));
        }
        Box::pin(self.manager.call(request))
    }
}

impl Service<http::Request<Body>> for Served {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Boxed {
        let mut me = self.clone();
        Box::pin(async move {
            // a call that has left goes on without those who wait for it
            let (begin, begun) = tokio::sync::oneshot::channel();
            let op = upset::operation();
            let served = tokio::spawn(async move {
                match begun.await {
                    Ok(Duration::ZERO) => {}
                    Ok(takes) => tokio::time::sleep(takes).await,
                    Err(_) => return Ok(Status::cancelled("it never left").into_http()),
                }
                upset::called_by(op, me.serve(request)).await
            });
            upset::call_of_tablet(begin, served.map(|answer| answer.unwrap()), || {
                Ok(Status::unavailable("connection reset by peer").into_http())
            })
            .await
        })
    }
}

impl Light {
    fn failed(&self, method: &str, why: &str) -> Status {
        Status::unknown(format!("TabletManager.{method} on zone1-{:010}: {why}", self.uid))
    }

    /// Runs something on the shard's MySQL; with `write` only on its primary.
    fn on<T>(
        &self,
        method: &str,
        write: bool,
        run: impl FnOnce(&mut State, &mut Shard, &Name) -> Result<T, String>,
    ) -> Answer<T> {
        let mut state = self.world.state();
        let Some(name) = state.seats.get(&self.uid).map(|seat| seat.shard.clone()) else {
            return Err(self.failed(method, "the tablet is gone"));
        };
        if write && name.0 == SOURCE {
            let what = format!("the source's tablet {} is told to change something: {method}", self.uid);
            state.source_is_changed(upset::caller(), what);
        }
        let mut shard = state.shards.remove(&name).unwrap_or_default();
        let answer = if write && shard.primary != self.uid {
            Err("the tablet is not a primary: vreplication engine is closed".to_owned())
        } else {
            run(&mut state, &mut shard, &name)
        };
        state.shards.insert(name, shard);
        answer.map(Response::new).map_err(|why| self.failed(method, &why))
    }

    fn sql(&self, method: &str, query: &[u8]) -> Result<Option<QueryResult>, Status> {
        let query = String::from_utf8_lossy(query).into_owned();
        let write = !query.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
        let answer = self.on(method, write, |state, shard, name| sql::run(state, shard, name, &query))?;
        Ok(Some(answer.into_inner()))
    }
}

#[tonic::async_trait]
impl TabletManager for Light {
    async fn ping(&self, r: Request<PingRequest>) -> Answer<PingResponse> {
        Ok(Response::new(PingResponse { payload: r.into_inner().payload }))
    }

    async fn get_schema(&self, _: Request<GetSchemaRequest>) -> Answer<GetSchemaResponse> {
        self.on("GetSchema", false, |_, shard, _| {
            let table_definitions = shard.tables.iter().map(|(name, table)| definition(name, table)).collect();
            let schema = SchemaDefinition { table_definitions, ..SchemaDefinition::default() };
            Ok(GetSchemaResponse { schema_definition: Some(schema) })
        })
    }

    async fn apply_schema(&self, r: Request<ApplySchemaRequest>) -> Answer<ApplySchemaResponse> {
        let sql = r.into_inner().sql;
        self.on("ApplySchema", true, |state, shard, of| {
            let made = state.clock().0;
            for name in sql.split("CREATE TABLE `").skip(1).filter_map(|rest| rest.split('`').next()) {
                if shard.tables.contains_key(name) {
                    return Err(format!("Table '{name}' already exists (errno 1050) (sqlstate 42S01)"));
                }
                state.dropped_by_users.remove(&(of.clone(), name.to_owned()));
                shard.tables.insert(name.to_owned(), Table { made, ..Table::default() });
            }
            Ok(ApplySchemaResponse::default())
        })
    }

    async fn reload_schema(&self, _: Request<ReloadSchemaRequest>) -> Answer<ReloadSchemaResponse> {
        Ok(Response::new(ReloadSchemaResponse {}))
    }

    async fn create_v_replication_workflow(
        &self,
        r: Request<CreateVReplicationWorkflowRequest>,
    ) -> Answer<CreateVReplicationWorkflowResponse> {
        let request = r.into_inner();
        self.on("CreateVReplicationWorkflow", true, |_, shard, _| {
            shard.insert_streams(&request);
            Ok(CreateVReplicationWorkflowResponse::default())
        })
    }

    async fn read_v_replication_workflows(
        &self,
        r: Request<ReadVReplicationWorkflowsRequest>,
    ) -> Answer<ReadVReplicationWorkflowsResponse> {
        let wanted = r.into_inner().include_workflows;
        let answer = self.on("ReadVReplicationWorkflows", false, |_, shard, name| {
            Ok(ReadVReplicationWorkflowsResponse { workflows: workflows(shard, name, &wanted) })
        });
        // what is told may be old when it arrives
        self.world.state().tick();
        answer
    }

    async fn update_v_replication_workflow(
        &self,
        r: Request<UpdateVReplicationWorkflowRequest>,
    ) -> Answer<UpdateVReplicationWorkflowResponse> {
        self.on("UpdateVReplicationWorkflow", true, |_, shard, _| {
            let rows_affected = update(shard, r.get_ref())?;
            let result = (rows_affected > 0).then(|| QueryResult { rows_affected, ..QueryResult::default() });
            Ok(UpdateVReplicationWorkflowResponse { result })
        })
    }

    async fn v_replication_exec(&self, r: Request<VReplicationExecRequest>) -> Answer<VReplicationExecResponse> {
        let result = self.sql("VReplicationExec", r.into_inner().query.as_bytes())?;
        Ok(Response::new(VReplicationExecResponse { result }))
    }

    async fn v_replication_wait_for_pos(
        &self,
        r: Request<VReplicationWaitForPosRequest>,
    ) -> Answer<VReplicationWaitForPosResponse> {
        let VReplicationWaitForPosRequest { id, position } = r.into_inner();
        for _ in 0..100 {
            let answer =
                self.on("VReplicationWaitForPos", false, |state, shard, _| state.waits(shard, id, &position))?;
            if answer.into_inner() {
                return Ok(Response::new(VReplicationWaitForPosResponse {}));
            }
            self.world.state().tick();
        }
        Err(self.failed("VReplicationWaitForPos", "error waiting for pos: context deadline exceeded"))
    }

    async fn execute_fetch_as_app(&self, r: Request<ExecuteFetchAsAppRequest>) -> Answer<ExecuteFetchAsAppResponse> {
        let result = self.sql("ExecuteFetchAsApp", &r.into_inner().query)?;
        Ok(Response::new(ExecuteFetchAsAppResponse { result }))
    }

    async fn execute_fetch_as_dba(&self, r: Request<ExecuteFetchAsDbaRequest>) -> Answer<ExecuteFetchAsDbaResponse> {
        let result = self.sql("ExecuteFetchAsDba", &r.into_inner().query)?;
        Ok(Response::new(ExecuteFetchAsDbaResponse { result }))
    }

    async fn execute_multi_fetch_as_dba(
        &self,
        r: Request<ExecuteMultiFetchAsDbaRequest>,
    ) -> Answer<ExecuteMultiFetchAsDbaResponse> {
        let sql = String::from_utf8_lossy(&r.into_inner().sql).into_owned();
        let mut results = Vec::new();
        for query in sql.split(';').map(str::trim).filter(|query| !query.is_empty()) {
            results.extend(self.sql("ExecuteMultiFetchAsDba", query.as_bytes())?);
        }
        Ok(Response::new(ExecuteMultiFetchAsDbaResponse { results }))
    }

    async fn execute_fetch_as_all_privs(
        &self,
        r: Request<ExecuteFetchAsAllPrivsRequest>,
    ) -> Answer<ExecuteFetchAsAllPrivsResponse> {
        let result = self.sql("ExecuteFetchAsAllPrivs", &r.into_inner().query)?;
        Ok(Response::new(ExecuteFetchAsAllPrivsResponse { result }))
    }

    async fn refresh_state(&self, _: Request<RefreshStateRequest>) -> Answer<RefreshStateResponse> {
        self.world.refresh(self.uid).await;
        Ok(Response::new(RefreshStateResponse {}))
    }

    async fn v_diff(&self, r: Request<VDiffRequest>) -> Answer<VDiffResponse> {
        let write = r.get_ref().action != "show";
        self.on("VDiff", write, |state, shard, _| sql::vdiff(state, shard, r.get_ref()))
    }

    async fn primary_position(&self, _: Request<PrimaryPositionRequest>) -> Answer<PrimaryPositionResponse> {
        self.on("PrimaryPosition", false, |state, shard, _| {
            let events = state.replaced.get(&self.uid).copied().unwrap_or(shard.log.len());
            Ok(PrimaryPositionResponse { position: shard.position(events) })
        })
    }

    async fn validate_v_replication_permissions(
        &self,
        _: Request<ValidateVReplicationPermissionsRequest>,
    ) -> Answer<ValidateVReplicationPermissionsResponse> {
        Ok(Response::new(ValidateVReplicationPermissionsResponse { ok: true, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl Query for Light {
    async fn execute(&self, r: Request<ExecuteRequest>) -> Answer<ExecuteResponse> {
        let query = r.into_inner().query.unwrap_or_default().sql;
        let state = self.world.state();
        let denied = state.seats.get(&self.uid).map(|seat| &seat.denied);
        match sql::quoted(&query, '`').first().is_some_and(|table| denied.is_some_and(|of| of.contains(table))) {
            true => Err(Status::failed_precondition("disallowed due to rule: enforce denied tables")),
            false => Ok(Response::new(ExecuteResponse::default())),
        }
    }

    async fn stream_health(
        &self,
        _: Request<StreamHealthRequest>,
    ) -> Answer<tonic::codegen::BoxStream<StreamHealthResponse>> {
        let realtime_stats = Some(RealtimeStats::default());
        let answer = StreamHealthResponse { serving: true, realtime_stats, ..StreamHealthResponse::default() };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)))))
    }
}

impl World {
    /// A tablet reads its shard's record.
    pub async fn refresh(&self, uid: u32) {
        let Some(name) = self.state().seats.get(&uid).map(|seat| seat.shard.clone()) else { return };
        let Some(record) = self.record(&name.0, &name.1).await else { return };
        let denied = shard::denied(&record);
        let mut state = self.state();
        // a tablet denies those tables that are there when it reads the record (Vitess 24.0.4, `applyDenyList`)
        let there = state.shards.get(&name).map(|shard| shard.tables.keys().cloned().collect()).unwrap_or_default();
        let there: BTreeSet<String> = there;
        if let Some(seat) = state.seats.get_mut(&uid) {
            seat.denied = denied.iter().filter(|table| there.contains(*table)).cloned().collect();
        }
        state.look_who_writes();
        let Some(shard) = state.shards.get_mut(&name).filter(|shard| shard.primary == uid) else { return };
        for (_, table) in shard.tables.iter_mut().filter(|(table, _)| !denied.contains(table)) {
            table.of_user |= table.handed_over;
        }
    }
}
