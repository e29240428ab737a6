//! `vtctlservice.Vtctld`: one line for each RPC.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctld_server::Vtctld as Service;

use super::status::logged;
use super::{
    cell, keyspace, migrate, mount, routing_rules, schema, serving, shard, tablet, topology, vdiff, vschema, workflow,
};
use crate::context::Context;
use crate::error::Explain;

/// The service. Calls that change something are finished even when their caller goes away: they run on `tasks`, which
/// the program waits for before it ends.
pub struct Vtctld {
    context: Arc<Context>,
    tasks: TaskTracker,
}

type Answer<T> = Result<Response<T>, Status>;

impl Vtctld {
    /// `tasks` is closed and waited for by whoever stops the program.
    pub fn new(context: Arc<Context>, tasks: TaskTracker) -> Self {
        Self { context, tasks }
    }

    /// Answers a call that changes nothing; it ends when its caller goes away.
    async fn read<'a, Q, R, E, F>(&'a self, request: Request<Q>, handler: impl FnOnce(&'a Context, Q) -> F) -> Answer<R>
    where
        E: Explain,
        F: Future<Output = Result<R, E>>,
    {
        handler(&self.context, request.into_inner()).await.map(Response::new).map_err(|e| logged(&e))
    }

    /// Answers a call that changes something; it goes on to its end whatever its caller does.
    async fn change<Q, R, E, F>(&self, request: Request<Q>, handler: impl FnOnce(Arc<Context>, Q) -> F) -> Answer<R>
    where
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let work = handler(Arc::clone(&self.context), request.into_inner());
        match self.tasks.spawn(work.in_current_span()).await {
            Ok(Ok(response)) => Ok(Response::new(response)),
            Ok(Err(error)) => Err(logged(&error)),
            Err(_) => Err(Status::internal("the operation was cut short inside the server: see its log")),
        }
    }
}

#[tonic::async_trait]
impl Service for Vtctld {
    async fn add_cell_info(&self, r: Request<AddCellInfoRequest>) -> Answer<AddCellInfoResponse> {
        self.change(r, cell::add).await
    }

    async fn add_cells_alias(&self, r: Request<AddCellsAliasRequest>) -> Answer<AddCellsAliasResponse> {
        self.change(r, cell::add_alias).await
    }

    async fn apply_keyspace_routing_rules(
        &self,
        r: Request<ApplyKeyspaceRoutingRulesRequest>,
    ) -> Answer<ApplyKeyspaceRoutingRulesResponse> {
        self.change(r, routing_rules::apply_keyspaces).await
    }

    async fn apply_routing_rules(&self, r: Request<ApplyRoutingRulesRequest>) -> Answer<ApplyRoutingRulesResponse> {
        self.change(r, routing_rules::apply).await
    }

    async fn apply_schema(&self, r: Request<ApplySchemaRequest>) -> Answer<ApplySchemaResponse> {
        self.change(r, schema::apply).await
    }

    async fn apply_shard_routing_rules(
        &self,
        r: Request<ApplyShardRoutingRulesRequest>,
    ) -> Answer<ApplyShardRoutingRulesResponse> {
        self.change(r, routing_rules::apply_shards).await
    }

    async fn apply_v_schema(&self, r: Request<ApplyVSchemaRequest>) -> Answer<ApplyVSchemaResponse> {
        self.change(r, vschema::apply).await
    }

    async fn create_keyspace(&self, r: Request<CreateKeyspaceRequest>) -> Answer<CreateKeyspaceResponse> {
        self.change(r, keyspace::create).await
    }

    async fn create_shard(&self, r: Request<CreateShardRequest>) -> Answer<CreateShardResponse> {
        self.change(r, shard::create).await
    }

    async fn delete_cell_info(&self, r: Request<DeleteCellInfoRequest>) -> Answer<DeleteCellInfoResponse> {
        self.change(r, cell::delete).await
    }

    async fn delete_cells_alias(&self, r: Request<DeleteCellsAliasRequest>) -> Answer<DeleteCellsAliasResponse> {
        self.change(r, cell::delete_alias).await
    }

    async fn delete_keyspace(&self, r: Request<DeleteKeyspaceRequest>) -> Answer<DeleteKeyspaceResponse> {
        self.change(r, keyspace::delete).await
    }

    async fn delete_shards(&self, r: Request<DeleteShardsRequest>) -> Answer<DeleteShardsResponse> {
        self.change(r, shard::delete).await
    }

    async fn delete_srv_v_schema(&self, r: Request<DeleteSrvVSchemaRequest>) -> Answer<DeleteSrvVSchemaResponse> {
        self.change(r, serving::delete_vschema).await
    }

    async fn execute_fetch_as_app(&self, r: Request<ExecuteFetchAsAppRequest>) -> Answer<ExecuteFetchAsAppResponse> {
        self.change(r, tablet::execute_fetch_as_app).await
    }

    async fn execute_fetch_as_dba(&self, r: Request<ExecuteFetchAsDbaRequest>) -> Answer<ExecuteFetchAsDbaResponse> {
        self.change(r, tablet::execute_fetch_as_dba).await
    }

    async fn find_all_shards_in_keyspace(
        &self,
        r: Request<FindAllShardsInKeyspaceRequest>,
    ) -> Answer<FindAllShardsInKeyspaceResponse> {
        self.read(r, shard::all).await
    }

    async fn get_cell_info(&self, r: Request<GetCellInfoRequest>) -> Answer<GetCellInfoResponse> {
        self.read(r, cell::get).await
    }

    async fn get_cell_info_names(&self, r: Request<GetCellInfoNamesRequest>) -> Answer<GetCellInfoNamesResponse> {
        self.read(r, cell::names).await
    }

    async fn get_cells_aliases(&self, r: Request<GetCellsAliasesRequest>) -> Answer<GetCellsAliasesResponse> {
        self.read(r, cell::aliases).await
    }

    async fn get_keyspace(&self, r: Request<GetKeyspaceRequest>) -> Answer<GetKeyspaceResponse> {
        self.read(r, keyspace::get).await
    }

    async fn get_keyspace_routing_rules(
        &self,
        r: Request<GetKeyspaceRoutingRulesRequest>,
    ) -> Answer<GetKeyspaceRoutingRulesResponse> {
        self.read(r, routing_rules::get_keyspaces).await
    }

    async fn get_keyspaces(&self, r: Request<GetKeyspacesRequest>) -> Answer<GetKeyspacesResponse> {
        self.read(r, keyspace::all).await
    }

    async fn get_mirror_rules(&self, r: Request<GetMirrorRulesRequest>) -> Answer<GetMirrorRulesResponse> {
        self.read(r, routing_rules::get_mirror).await
    }

    async fn get_routing_rules(&self, r: Request<GetRoutingRulesRequest>) -> Answer<GetRoutingRulesResponse> {
        self.read(r, routing_rules::get).await
    }

    async fn get_schema(&self, r: Request<GetSchemaRequest>) -> Answer<GetSchemaResponse> {
        self.read(r, schema::get).await
    }

    async fn get_shard(&self, r: Request<GetShardRequest>) -> Answer<GetShardResponse> {
        self.read(r, shard::get).await
    }

    async fn get_shard_replication(
        &self,
        r: Request<GetShardReplicationRequest>,
    ) -> Answer<GetShardReplicationResponse> {
        self.read(r, tablet::replication).await
    }

    async fn get_shard_routing_rules(
        &self,
        r: Request<GetShardRoutingRulesRequest>,
    ) -> Answer<GetShardRoutingRulesResponse> {
        self.read(r, routing_rules::get_shards).await
    }

    async fn get_srv_keyspace_names(
        &self,
        r: Request<GetSrvKeyspaceNamesRequest>,
    ) -> Answer<GetSrvKeyspaceNamesResponse> {
        self.read(r, serving::keyspace_names).await
    }

    async fn get_srv_keyspaces(&self, r: Request<GetSrvKeyspacesRequest>) -> Answer<GetSrvKeyspacesResponse> {
        self.read(r, serving::keyspaces).await
    }

    async fn get_srv_v_schema(&self, r: Request<GetSrvVSchemaRequest>) -> Answer<GetSrvVSchemaResponse> {
        self.read(r, serving::vschema).await
    }

    async fn get_srv_v_schemas(&self, r: Request<GetSrvVSchemasRequest>) -> Answer<GetSrvVSchemasResponse> {
        self.read(r, serving::vschemas).await
    }

    async fn get_tablet(&self, r: Request<GetTabletRequest>) -> Answer<GetTabletResponse> {
        self.read(r, tablet::get).await
    }

    async fn get_tablets(&self, r: Request<GetTabletsRequest>) -> Answer<GetTabletsResponse> {
        self.read(r, tablet::list).await
    }

    async fn get_topology_path(&self, r: Request<GetTopologyPathRequest>) -> Answer<GetTopologyPathResponse> {
        self.read(r, topology::get_path).await
    }

    async fn get_v_schema(&self, r: Request<GetVSchemaRequest>) -> Answer<GetVSchemaResponse> {
        self.read(r, vschema::get).await
    }

    async fn ping_tablet(&self, r: Request<PingTabletRequest>) -> Answer<PingTabletResponse> {
        self.read(r, tablet::ping).await
    }

    async fn rebuild_keyspace_graph(
        &self,
        r: Request<RebuildKeyspaceGraphRequest>,
    ) -> Answer<RebuildKeyspaceGraphResponse> {
        self.change(r, serving::rebuild_keyspace).await
    }

    async fn rebuild_v_schema_graph(
        &self,
        r: Request<RebuildVSchemaGraphRequest>,
    ) -> Answer<RebuildVSchemaGraphResponse> {
        self.change(r, serving::rebuild_vschema).await
    }

    async fn refresh_state(&self, r: Request<RefreshStateRequest>) -> Answer<RefreshStateResponse> {
        self.change(r, tablet::refresh_state).await
    }

    async fn refresh_state_by_shard(
        &self,
        r: Request<RefreshStateByShardRequest>,
    ) -> Answer<RefreshStateByShardResponse> {
        self.change(r, tablet::refresh_state_by_shard).await
    }

    async fn reload_schema(&self, r: Request<ReloadSchemaRequest>) -> Answer<ReloadSchemaResponse> {
        self.change(r, tablet::reload_schema).await
    }

    async fn reload_schema_keyspace(
        &self,
        r: Request<ReloadSchemaKeyspaceRequest>,
    ) -> Answer<ReloadSchemaKeyspaceResponse> {
        self.change(r, tablet::reload_schema_keyspace).await
    }

    async fn reload_schema_shard(&self, r: Request<ReloadSchemaShardRequest>) -> Answer<ReloadSchemaShardResponse> {
        self.change(r, tablet::reload_schema_shard).await
    }

    async fn run_health_check(&self, r: Request<RunHealthCheckRequest>) -> Answer<RunHealthCheckResponse> {
        self.change(r, tablet::run_health_check).await
    }

    async fn set_keyspace_durability_policy(
        &self,
        r: Request<SetKeyspaceDurabilityPolicyRequest>,
    ) -> Answer<SetKeyspaceDurabilityPolicyResponse> {
        self.change(r, keyspace::set_durability_policy).await
    }

    async fn set_shard_is_primary_serving(
        &self,
        r: Request<SetShardIsPrimaryServingRequest>,
    ) -> Answer<SetShardIsPrimaryServingResponse> {
        self.change(r, shard::set_primary_serving).await
    }

    async fn set_shard_tablet_control(
        &self,
        r: Request<SetShardTabletControlRequest>,
    ) -> Answer<SetShardTabletControlResponse> {
        self.change(r, shard::set_tablet_control).await
    }

    async fn shard_replication_add(
        &self,
        r: Request<ShardReplicationAddRequest>,
    ) -> Answer<ShardReplicationAddResponse> {
        self.change(r, tablet::replication_add).await
    }

    async fn shard_replication_remove(
        &self,
        r: Request<ShardReplicationRemoveRequest>,
    ) -> Answer<ShardReplicationRemoveResponse> {
        self.change(r, tablet::replication_remove).await
    }

    async fn update_cell_info(&self, r: Request<UpdateCellInfoRequest>) -> Answer<UpdateCellInfoResponse> {
        self.change(r, cell::update).await
    }

    async fn update_cells_alias(&self, r: Request<UpdateCellsAliasRequest>) -> Answer<UpdateCellsAliasResponse> {
        self.change(r, cell::update_alias).await
    }

    async fn mount_list(&self, r: Request<MountListRequest>) -> Answer<MountListResponse> {
        self.read(r, mount::list).await
    }

    async fn mount_register(&self, r: Request<MountRegisterRequest>) -> Answer<MountRegisterResponse> {
        self.change(r, mount::register).await
    }

    async fn mount_show(&self, r: Request<MountShowRequest>) -> Answer<MountShowResponse> {
        self.read(r, mount::show).await
    }

    async fn mount_unregister(&self, r: Request<MountUnregisterRequest>) -> Answer<MountUnregisterResponse> {
        self.change(r, mount::unregister).await
    }

    async fn get_workflows(&self, r: Request<GetWorkflowsRequest>) -> Answer<GetWorkflowsResponse> {
        self.read(r, workflow::get_workflows).await
    }

    async fn migrate_create(&self, r: Request<MigrateCreateRequest>) -> Answer<WorkflowStatusResponse> {
        self.change(r, migrate::create).await
    }

    async fn move_tables_complete(&self, r: Request<MoveTablesCompleteRequest>) -> Answer<MoveTablesCompleteResponse> {
        self.change(r, migrate::complete).await
    }

    async fn v_diff_create(&self, r: Request<VDiffCreateRequest>) -> Answer<VDiffCreateResponse> {
        self.change(r, vdiff::create).await
    }

    async fn v_diff_delete(&self, r: Request<VDiffDeleteRequest>) -> Answer<VDiffDeleteResponse> {
        self.change(r, vdiff::delete).await
    }

    async fn v_diff_resume(&self, r: Request<VDiffResumeRequest>) -> Answer<VDiffResumeResponse> {
        self.change(r, vdiff::resume).await
    }

    async fn v_diff_show(&self, r: Request<VDiffShowRequest>) -> Answer<VDiffShowResponse> {
        self.read(r, vdiff::show).await
    }

    async fn v_diff_stop(&self, r: Request<VDiffStopRequest>) -> Answer<VDiffStopResponse> {
        self.change(r, vdiff::stop).await
    }

    async fn workflow_delete(&self, r: Request<WorkflowDeleteRequest>) -> Answer<WorkflowDeleteResponse> {
        self.change(r, workflow::delete).await
    }

    async fn workflow_mirror_traffic(
        &self,
        _: Request<WorkflowMirrorTrafficRequest>,
    ) -> Answer<WorkflowMirrorTrafficResponse> {
        migrate::no_traffic("MirrorTraffic").map(Response::new).map_err(|e| logged(&e))
    }

    async fn workflow_status(&self, r: Request<WorkflowStatusRequest>) -> Answer<WorkflowStatusResponse> {
        self.read(r, workflow::status).await
    }

    async fn workflow_switch_traffic(
        &self,
        _: Request<WorkflowSwitchTrafficRequest>,
    ) -> Answer<WorkflowSwitchTrafficResponse> {
        migrate::no_traffic("SwitchTraffic").map(Response::new).map_err(|e| logged(&e))
    }

    async fn workflow_update(&self, r: Request<WorkflowUpdateRequest>) -> Answer<WorkflowUpdateResponse> {
        self.change(r, workflow::update).await
    }
}
