//! `vtctlservice.Vtctld`: one line for each RPC.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctld_server::Vtctld as Service;

use super::events::{Ends, Events};
use super::status::logged;
use super::{
    audit, backup, cell, graph, keyspace, migrate, mount, reparent, replication, routing_rules, schema,
    schema_migration, serving, shard, tablet, throttler, topology, transaction, validate, vdiff, vschema, whole,
    workflow,
};
use crate::context::Context;
use crate::deadline;
use crate::error::Explain;
use crate::guard::Place;

/// Events that wait for a caller to read them.
const EVENTS: usize = 64;

/// The service. Calls that change something are finished even when their caller goes away: they run on `tasks`, which
/// the program waits for before it ends.
pub struct Vtctld {
    context: Arc<Context>,
    tasks: TaskTracker,
}

pub(super) type Answer<T> = Result<Response<T>, Status>;

impl Vtctld {
    /// `tasks` is closed and waited for by whoever stops the program.
    pub fn new(context: Arc<Context>, tasks: TaskTracker) -> Self {
        Self { context, tasks }
    }

    /// Answers a call that changes nothing; it ends when its caller goes away.
    pub(super) async fn read<'a, Q, R, E, F>(
        &'a self,
        request: Request<Q>,
        handler: impl FnOnce(&'a Context, Q) -> F,
    ) -> Answer<R>
    where
        E: Explain,
        F: Future<Output = Result<R, E>>,
    {
        handler(&self.context, request.into_inner()).await.map(Response::new).map_err(|e| logged(&e))
    }

    /// Answers a call that changes something; it goes on to its end whatever its caller does.
    pub(super) async fn change<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q) -> F,
    ) -> Answer<R>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
    {
        let line = audit::Entry::begin(&request);
        let place = Place::of(request.extensions());
        let message = whole::Whole::message(request.extensions());
        let work = line.around(whole::scope(message, handler(Arc::clone(&self.context), request.into_inner())));
        // the line is written, and the place given back, when the work ends, which may be after the caller went away
        let audited = async move {
            let done = work.await;
            line.end(&done);
            drop(place);
            done
        };
        match self.tasks.spawn(audited.in_current_span()).await {
            Ok(Ok(response)) => Ok(Response::new(response)),
            Ok(Err(error)) => Err(logged(&error)),
            Err(_) => Err(Status::internal("the operation was cut short inside the server: see its log")),
        }
    }

    /// Answers a call that changes something with events on the way; it ends when its caller goes away.
    pub(super) async fn tell<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.events(request, Ends::WithItsCaller, handler).await
    }

    /// The same for one that goes on to its end whatever its caller does.
    pub(super) async fn tell_to_the_end<Q, R, E, F>(
        &self,
        request: Request<Q>,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.events(request, Ends::WhenDone, handler).await
    }

    async fn events<Q, R, E, F>(
        &self,
        request: Request<Q>,
        ends: Ends,
        handler: impl FnOnce(Arc<Context>, Q, Events<R>) -> F,
    ) -> Answer<BoxStream<R>>
    where
        Q: prost::Message,
        R: Send + 'static,
        E: Explain + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let line = audit::Entry::begin(&request);
        let place = Place::of(request.extensions());
        let (sender, mut events) = mpsc::channel(EVENTS);
        let until = deadline::current().filter(|_| ends == Ends::WithItsCaller);
        let work = handler(Arc::clone(&self.context), request.into_inner(), Events::new(sender.clone()));
        let work = deadline::scope(until, line.around(work));
        let audited = async move {
            let done = match ends {
                Ends::WhenDone => Some(work.await),
                Ends::WithItsCaller => tokio::select! {
                    done = work => Some(done),
                    () = sender.closed() => None,
                },
            };
            match &done {
                Some(done) => line.end(done),
                None => line.end_with(tonic::Code::Cancelled),
            }
            drop(place);
            if let Some(Err(error)) = done {
                sender.send(Err(logged(&error))).await.ok();
            }
        };
        self.tasks.spawn(audited.in_current_span());
        // a failure before the first event answers the call itself
        let first = events.recv().await.transpose()?;
        Ok(Response::new(stream::iter(first.map(Ok)).chain(ReceiverStream::new(events)).boxed()))
    }
}

/// Declares the service: `rpc(request) -> response = read|change|tell|tell_to_the_end(handler)`.
macro_rules! rpcs {
    ($($name:ident($request:ty) -> $response:ty = $how:ident($handler:path);)*) => {
        #[tonic::async_trait]
        impl Service for Vtctld {
            $(async fn $name(&self, request: Request<$request>) -> Answer<$response> {
                self.$how(request, $handler).await
            })*
        }
    };
}

rpcs! {
    add_cell_info(AddCellInfoRequest) -> AddCellInfoResponse = change(cell::add);
    add_cells_alias(AddCellsAliasRequest) -> AddCellsAliasResponse = change(cell::add_alias);
    apply_keyspace_routing_rules(ApplyKeyspaceRoutingRulesRequest) -> ApplyKeyspaceRoutingRulesResponse
        = change(routing_rules::apply_keyspaces);
    apply_routing_rules(ApplyRoutingRulesRequest) -> ApplyRoutingRulesResponse = change(routing_rules::apply);
    apply_schema(ApplySchemaRequest) -> ApplySchemaResponse = change(schema::apply);
    apply_shard_routing_rules(ApplyShardRoutingRulesRequest) -> ApplyShardRoutingRulesResponse
        = change(routing_rules::apply_shards);
    apply_v_schema(ApplyVSchemaRequest) -> ApplyVSchemaResponse = change(vschema::apply);
    backup(BackupRequest) -> BoxStream<BackupResponse> = tell(backup::of_tablet);
    backup_shard(BackupShardRequest) -> BoxStream<BackupResponse> = tell(backup::of_shard);
    cancel_schema_migration(CancelSchemaMigrationRequest) -> CancelSchemaMigrationResponse
        = change(schema_migration::cancel);
    change_tablet_tags(ChangeTabletTagsRequest) -> ChangeTabletTagsResponse = change(tablet::change_tags);
    change_tablet_type(ChangeTabletTypeRequest) -> ChangeTabletTypeResponse = change(replication::change_type);
    check_throttler(CheckThrottlerRequest) -> CheckThrottlerResponse = read(throttler::check);
    cleanup_schema_migration(CleanupSchemaMigrationRequest) -> CleanupSchemaMigrationResponse
        = change(schema_migration::cleanup);
    complete_schema_migration(CompleteSchemaMigrationRequest) -> CompleteSchemaMigrationResponse
        = change(schema_migration::complete);
    conclude_transaction(ConcludeTransactionRequest) -> ConcludeTransactionResponse = change(transaction::conclude);
    copy_schema_shard(CopySchemaShardRequest) -> CopySchemaShardResponse = change(schema::copy);
    create_keyspace(CreateKeyspaceRequest) -> CreateKeyspaceResponse = change(keyspace::create);
    create_shard(CreateShardRequest) -> CreateShardResponse = change(shard::create);
    delete_cell_info(DeleteCellInfoRequest) -> DeleteCellInfoResponse = change(cell::delete);
    delete_cells_alias(DeleteCellsAliasRequest) -> DeleteCellsAliasResponse = change(cell::delete_alias);
    delete_keyspace(DeleteKeyspaceRequest) -> DeleteKeyspaceResponse = change(keyspace::delete);
    delete_shards(DeleteShardsRequest) -> DeleteShardsResponse = change(shard::delete);
    delete_srv_v_schema(DeleteSrvVSchemaRequest) -> DeleteSrvVSchemaResponse = change(serving::delete_vschema);
    delete_tablets(DeleteTabletsRequest) -> DeleteTabletsResponse = change(tablet::delete);
    execute_fetch_as_app(ExecuteFetchAsAppRequest) -> ExecuteFetchAsAppResponse = change(tablet::execute_fetch_as_app);
    execute_fetch_as_dba(ExecuteFetchAsDbaRequest) -> ExecuteFetchAsDbaResponse = change(tablet::execute_fetch_as_dba);
    execute_hook(ExecuteHookRequest) -> ExecuteHookResponse = change(tablet::execute_hook);
    execute_multi_fetch_as_dba(ExecuteMultiFetchAsDbaRequest) -> ExecuteMultiFetchAsDbaResponse
        = change(tablet::execute_multi_fetch_as_dba);
    find_all_shards_in_keyspace(FindAllShardsInKeyspaceRequest) -> FindAllShardsInKeyspaceResponse = read(shard::all);
    force_cut_over_schema_migration(ForceCutOverSchemaMigrationRequest) -> ForceCutOverSchemaMigrationResponse
        = change(schema_migration::force_cut_over);
    get_cell_info(GetCellInfoRequest) -> GetCellInfoResponse = read(cell::get);
    get_cell_info_names(GetCellInfoNamesRequest) -> GetCellInfoNamesResponse = read(cell::names);
    get_cells_aliases(GetCellsAliasesRequest) -> GetCellsAliasesResponse = read(cell::aliases);
    get_full_status(GetFullStatusRequest) -> GetFullStatusResponse = read(tablet::full_status);
    get_keyspace(GetKeyspaceRequest) -> GetKeyspaceResponse = read(keyspace::get);
    get_keyspace_routing_rules(GetKeyspaceRoutingRulesRequest) -> GetKeyspaceRoutingRulesResponse
        = read(routing_rules::get_keyspaces);
    get_keyspaces(GetKeyspacesRequest) -> GetKeyspacesResponse = read(keyspace::all);
    get_mirror_rules(GetMirrorRulesRequest) -> GetMirrorRulesResponse = read(routing_rules::get_mirror);
    get_permissions(GetPermissionsRequest) -> GetPermissionsResponse = read(tablet::permissions);
    get_routing_rules(GetRoutingRulesRequest) -> GetRoutingRulesResponse = read(routing_rules::get);
    get_schema(GetSchemaRequest) -> GetSchemaResponse = read(schema::get);
    get_schema_migrations(GetSchemaMigrationsRequest) -> GetSchemaMigrationsResponse = read(schema_migration::get);
    get_shard(GetShardRequest) -> GetShardResponse = read(shard::get);
    get_shard_replication(GetShardReplicationRequest) -> GetShardReplicationResponse = read(graph::get);
    get_shard_routing_rules(GetShardRoutingRulesRequest) -> GetShardRoutingRulesResponse
        = read(routing_rules::get_shards);
    get_srv_keyspace_names(GetSrvKeyspaceNamesRequest) -> GetSrvKeyspaceNamesResponse = read(serving::keyspace_names);
    get_srv_keyspaces(GetSrvKeyspacesRequest) -> GetSrvKeyspacesResponse = read(serving::keyspaces);
    get_srv_v_schema(GetSrvVSchemaRequest) -> GetSrvVSchemaResponse = read(serving::vschema);
    get_srv_v_schemas(GetSrvVSchemasRequest) -> GetSrvVSchemasResponse = read(serving::vschemas);
    get_tablet(GetTabletRequest) -> GetTabletResponse = read(tablet::get);
    get_tablets(GetTabletsRequest) -> GetTabletsResponse = read(tablet::list);
    get_throttler_status(GetThrottlerStatusRequest) -> GetThrottlerStatusResponse = read(throttler::status);
    get_topology_path(GetTopologyPathRequest) -> GetTopologyPathResponse = read(topology::get_path);
    get_transaction_info(GetTransactionInfoRequest) -> GetTransactionInfoResponse = read(transaction::info);
    get_unresolved_transactions(GetUnresolvedTransactionsRequest) -> GetUnresolvedTransactionsResponse
        = read(transaction::unresolved);
    get_v_schema(GetVSchemaRequest) -> GetVSchemaResponse = read(vschema::get);
    get_version(GetVersionRequest) -> GetVersionResponse = read(tablet::version);
    get_workflows(GetWorkflowsRequest) -> GetWorkflowsResponse = read(workflow::get_workflows);
    init_shard_primary(InitShardPrimaryRequest) -> InitShardPrimaryResponse = change(reparent::init_shard_primary);
    launch_schema_migration(LaunchSchemaMigrationRequest) -> LaunchSchemaMigrationResponse
        = change(schema_migration::launch);
    migrate_create(MigrateCreateRequest) -> WorkflowStatusResponse = change(migrate::create);
    mount_list(MountListRequest) -> MountListResponse = read(mount::list);
    mount_register(MountRegisterRequest) -> MountRegisterResponse = change(mount::register);
    mount_show(MountShowRequest) -> MountShowResponse = read(mount::show);
    mount_unregister(MountUnregisterRequest) -> MountUnregisterResponse = change(mount::unregister);
    move_tables_complete(MoveTablesCompleteRequest) -> MoveTablesCompleteResponse = change(migrate::complete);
    ping_tablet(PingTabletRequest) -> PingTabletResponse = read(tablet::ping);
    planned_reparent_shard(PlannedReparentShardRequest) -> PlannedReparentShardResponse = change(reparent::planned);
    rebuild_keyspace_graph(RebuildKeyspaceGraphRequest) -> RebuildKeyspaceGraphResponse
        = change(serving::rebuild_keyspace);
    rebuild_v_schema_graph(RebuildVSchemaGraphRequest) -> RebuildVSchemaGraphResponse
        = change(serving::rebuild_vschema);
    refresh_state(RefreshStateRequest) -> RefreshStateResponse = change(tablet::refresh_state);
    refresh_state_by_shard(RefreshStateByShardRequest) -> RefreshStateByShardResponse
        = change(tablet::refresh_state_by_shard);
    reload_schema(ReloadSchemaRequest) -> ReloadSchemaResponse = change(tablet::reload_schema);
    reload_schema_keyspace(ReloadSchemaKeyspaceRequest) -> ReloadSchemaKeyspaceResponse
        = change(tablet::reload_schema_keyspace);
    reload_schema_shard(ReloadSchemaShardRequest) -> ReloadSchemaShardResponse = change(tablet::reload_schema_shard);
    remove_keyspace_cell(RemoveKeyspaceCellRequest) -> RemoveKeyspaceCellResponse = change(shard::remove_keyspace_cell);
    remove_shard_cell(RemoveShardCellRequest) -> RemoveShardCellResponse = change(shard::remove_cell);
    reparent_tablet(ReparentTabletRequest) -> ReparentTabletResponse = change(replication::reparent);
    restore_from_backup(RestoreFromBackupRequest) -> BoxStream<RestoreFromBackupResponse>
        = tell_to_the_end(backup::restore);
    retry_schema_migration(RetrySchemaMigrationRequest) -> RetrySchemaMigrationResponse
        = change(schema_migration::retry);
    run_health_check(RunHealthCheckRequest) -> RunHealthCheckResponse = change(tablet::run_health_check);
    set_keyspace_durability_policy(SetKeyspaceDurabilityPolicyRequest) -> SetKeyspaceDurabilityPolicyResponse
        = change(keyspace::set_durability_policy);
    set_shard_is_primary_serving(SetShardIsPrimaryServingRequest) -> SetShardIsPrimaryServingResponse
        = change(shard::set_primary_serving);
    set_shard_tablet_control(SetShardTabletControlRequest) -> SetShardTabletControlResponse
        = change(shard::set_tablet_control);
    set_vtorc_emergency_reparent(SetVtorcEmergencyReparentRequest) -> SetVtorcEmergencyReparentResponse
        = change(keyspace::set_emergency_reparent);
    set_writable(SetWritableRequest) -> SetWritableResponse = change(tablet::set_writable);
    shard_replication_add(ShardReplicationAddRequest) -> ShardReplicationAddResponse = change(graph::add);
    shard_replication_fix(ShardReplicationFixRequest) -> ShardReplicationFixResponse = change(graph::fix);
    shard_replication_positions(ShardReplicationPositionsRequest) -> ShardReplicationPositionsResponse
        = read(replication::positions);
    shard_replication_remove(ShardReplicationRemoveRequest) -> ShardReplicationRemoveResponse = change(graph::remove);
    sleep_tablet(SleepTabletRequest) -> SleepTabletResponse = change(tablet::sleep);
    source_shard_add(SourceShardAddRequest) -> SourceShardAddResponse = change(shard::add_source);
    source_shard_delete(SourceShardDeleteRequest) -> SourceShardDeleteResponse = change(shard::remove_source);
    start_replication(StartReplicationRequest) -> StartReplicationResponse = change(replication::start);
    stop_replication(StopReplicationRequest) -> StopReplicationResponse = change(replication::stop);
    tablet_externally_reparented(TabletExternallyReparentedRequest) -> TabletExternallyReparentedResponse
        = change(replication::externally_reparented);
    update_cell_info(UpdateCellInfoRequest) -> UpdateCellInfoResponse = change(cell::update);
    update_cells_alias(UpdateCellsAliasRequest) -> UpdateCellsAliasResponse = change(cell::update_alias);
    update_throttler_config(UpdateThrottlerConfigRequest) -> UpdateThrottlerConfigResponse = change(throttler::update);
    validate(ValidateRequest) -> ValidateResponse = read(validate::all);
    validate_keyspace(ValidateKeyspaceRequest) -> ValidateKeyspaceResponse = read(validate::keyspace);
    validate_permissions_keyspace(ValidatePermissionsKeyspaceRequest) -> ValidatePermissionsKeyspaceResponse
        = read(validate::permissions);
    validate_schema_keyspace(ValidateSchemaKeyspaceRequest) -> ValidateSchemaKeyspaceResponse = read(validate::schemas);
    validate_shard(ValidateShardRequest) -> ValidateShardResponse = read(validate::shard);
    validate_v_schema(ValidateVSchemaRequest) -> ValidateVSchemaResponse = read(validate::vschema);
    validate_version_keyspace(ValidateVersionKeyspaceRequest) -> ValidateVersionKeyspaceResponse
        = read(validate::version_keyspace);
    validate_version_shard(ValidateVersionShardRequest) -> ValidateVersionShardResponse = read(validate::version_shard);
    v_diff_create(VDiffCreateRequest) -> VDiffCreateResponse = change(vdiff::create);
    v_diff_delete(VDiffDeleteRequest) -> VDiffDeleteResponse = change(vdiff::delete);
    v_diff_resume(VDiffResumeRequest) -> VDiffResumeResponse = change(vdiff::resume);
    v_diff_show(VDiffShowRequest) -> VDiffShowResponse = read(vdiff::show);
    v_diff_stop(VDiffStopRequest) -> VDiffStopResponse = change(vdiff::stop);
    workflow_add_tables(WorkflowAddTablesRequest) -> WorkflowAddTablesResponse = read(workflow::add_tables);
    workflow_delete(WorkflowDeleteRequest) -> WorkflowDeleteResponse = change(workflow::delete);
    workflow_mirror_traffic(WorkflowMirrorTrafficRequest) -> WorkflowMirrorTrafficResponse
        = read(migrate::mirror_traffic);
    workflow_status(WorkflowStatusRequest) -> WorkflowStatusResponse = read(workflow::status);
    workflow_switch_traffic(WorkflowSwitchTrafficRequest) -> WorkflowSwitchTrafficResponse
        = read(migrate::switch_traffic);
    workflow_update(WorkflowUpdateRequest) -> WorkflowUpdateResponse = change(workflow::update);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::guard::{Answers, Places};
    use crate::workflow::Error;

    #[tokio::test]
    async fn a_change_whose_caller_leaves_holds_its_place_to_its_end() {
        let context = Arc::new(Context::of("memory", "test", "/r").await);
        let vtctld = Arc::new(Vtctld::new(context, TaskTracker::new()));
        let (places, connection) = (Places::new(1, usize::MAX), Arc::<Answers>::default());
        let place = Place::receiving(&connection);
        assert!(places.take(&place, &connection));
        let mut request = Request::new(CreateKeyspaceRequest::default());
        request.extensions_mut().insert(place);
        let (gate, done) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (held, told) = (Arc::clone(&gate), Arc::clone(&done));
        let work = move |_: Arc<Context>, _: CreateKeyspaceRequest| async move {
            held.notified().await;
            told.store(true, Ordering::Relaxed);
            Ok::<_, Error>(CreateKeyspaceResponse::default())
        };
        let caller = tokio::spawn(async move { vtctld.change(request, work).await.map(drop) });
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(places.are_taken() && !done.load(Ordering::Relaxed));
        gate.notify_one();
        while places.are_taken() {
            tokio::task::yield_now().await;
        }
        assert!(done.load(Ordering::Relaxed));
    }
}
