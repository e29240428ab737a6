//! The gRPC service `tabletmanagerservice.TabletManager`: what vtctld asks of a tablet.
//!
//! Every failure is UNKNOWN with the text `TabletManager.<Method> on <alias>: <cause>`, as in Vitess 22.0.3. Methods that no
//! Migrate needs answer UNIMPLEMENTED.

mod ddl;
mod permissions;
mod query;
mod read;
mod reparent;
mod schema;
mod status;
pub(crate) mod wait;
mod workflow;

use std::{future::Future, sync::Arc};

use tonic::{Code, Request, Response, Status};
use vtmigrated_proto::{tabletmanagerdata as data, tabletmanagerservice::tablet_manager_server::TabletManager};

use super::{
    engine::{
        Context, Engine,
        error::{Error, Result},
    },
    generation::Generation,
    records, vdiff,
};

/// Serves one tablet.
#[derive(Clone)]
pub struct Manager {
    context: Arc<Context>,
    engine: Arc<Engine>,
    vdiff: Arc<vdiff::Engine>,
}

impl Manager {
    #[must_use]
    pub fn new(context: Arc<Context>, engine: Arc<Engine>, vdiff: Arc<vdiff::Engine>) -> Self {
        Self { context, engine, vdiff }
    }

    async fn answer<T>(&self, method: &str, work: impl Future<Output = Result<T>>) -> Answer<T> {
        work.await.map(Response::new).map_err(|error| {
            let text = format!("TabletManager.{method} on {}: {error}", self.context.shared.options.alias_text());
            let code = if error.code() == Code::Unimplemented { Code::Unimplemented } else { Code::Unknown };
            Status::new(code, text)
        })
    }
}

type Answer<T> = std::result::Result<Response<T>, Status>;

#[async_trait::async_trait]
impl TabletManager for Manager {
    async fn ping(&self, request: Request<data::PingRequest>) -> Answer<data::PingResponse> {
        Ok(Response::new(data::PingResponse { payload: request.into_inner().payload }))
    }

    async fn get_schema(&self, request: Request<data::GetSchemaRequest>) -> Answer<data::GetSchemaResponse> {
        self.answer("GetSchema", schema::get(&self.context, &request.into_inner())).await
    }

    async fn apply_schema(&self, request: Request<data::ApplySchemaRequest>) -> Answer<data::ApplySchemaResponse> {
        self.answer("ApplySchema", ddl::apply(&self.context, request.into_inner())).await
    }

    async fn reload_schema(&self, request: Request<data::ReloadSchemaRequest>) -> Answer<data::ReloadSchemaResponse> {
        self.answer("ReloadSchema", wait::reload_schema(&self.context, &request.into_inner())).await
    }

    async fn execute_fetch_as_dba(
        &self,
        request: Request<data::ExecuteFetchAsDbaRequest>,
    ) -> Answer<data::ExecuteFetchAsDbaResponse> {
        self.answer("ExecuteFetchAsDba", query::as_dba(&self.context, &request.into_inner())).await
    }

    async fn execute_multi_fetch_as_dba(
        &self,
        request: Request<data::ExecuteMultiFetchAsDbaRequest>,
    ) -> Answer<data::ExecuteMultiFetchAsDbaResponse> {
        self.answer("ExecuteMultiFetchAsDba", query::multi_as_dba(&self.context, &request.into_inner())).await
    }

    async fn execute_fetch_as_all_privs(
        &self,
        request: Request<data::ExecuteFetchAsAllPrivsRequest>,
    ) -> Answer<data::ExecuteFetchAsAllPrivsResponse> {
        self.answer("ExecuteFetchAsAllPrivs", query::as_all_privs(&self.context, &request.into_inner())).await
    }

    async fn execute_fetch_as_app(
        &self,
        request: Request<data::ExecuteFetchAsAppRequest>,
    ) -> Answer<data::ExecuteFetchAsAppResponse> {
        self.answer("ExecuteFetchAsApp", query::as_app(&self.context, &request.into_inner())).await
    }

    async fn execute_query(&self, request: Request<data::ExecuteQueryRequest>) -> Answer<data::ExecuteQueryResponse> {
        self.answer("ExecuteQuery", query::execute(&self.context, &request.into_inner())).await
    }

    async fn create_v_replication_workflow(
        &self,
        request: Request<data::CreateVReplicationWorkflowRequest>,
    ) -> Answer<data::CreateVReplicationWorkflowResponse> {
        let work = workflow::create(&self.context, &self.engine, request.into_inner());
        self.answer("CreateVReplicationWorkflow", work).await
    }

    async fn update_v_replication_workflow(
        &self,
        request: Request<data::UpdateVReplicationWorkflowRequest>,
    ) -> Answer<data::UpdateVReplicationWorkflowResponse> {
        let work = workflow::update(&self.context, &self.engine, request.into_inner());
        self.answer("UpdateVReplicationWorkflow", work).await
    }

    async fn delete_v_replication_workflow(
        &self,
        request: Request<data::DeleteVReplicationWorkflowRequest>,
    ) -> Answer<data::DeleteVReplicationWorkflowResponse> {
        let work = workflow::delete(&self.context, &self.engine, request.into_inner());
        self.answer("DeleteVReplicationWorkflow", work).await
    }

    async fn read_v_replication_workflow(
        &self,
        request: Request<data::ReadVReplicationWorkflowRequest>,
    ) -> Answer<data::ReadVReplicationWorkflowResponse> {
        self.answer("ReadVReplicationWorkflow", read::one(&self.context, &request.into_inner().workflow)).await
    }

    async fn read_v_replication_workflows(
        &self,
        request: Request<data::ReadVReplicationWorkflowsRequest>,
    ) -> Answer<data::ReadVReplicationWorkflowsResponse> {
        self.answer("ReadVReplicationWorkflows", read::many(&self.context, &request.into_inner())).await
    }

    async fn has_v_replication_workflows(
        &self,
        _: Request<data::HasVReplicationWorkflowsRequest>,
    ) -> Answer<data::HasVReplicationWorkflowsResponse> {
        self.answer("HasVReplicationWorkflows", read::any(&self.context)).await
    }

    async fn v_replication_exec(
        &self,
        request: Request<data::VReplicationExecRequest>,
    ) -> Answer<data::VReplicationExecResponse> {
        let work = async {
            let result = self.engine.exec(&request.into_inner().query).await?;
            Ok(data::VReplicationExecResponse { result: Some(result) })
        };
        self.answer("VReplicationExec", work).await
    }

    async fn v_replication_wait_for_pos(
        &self,
        request: Request<data::VReplicationWaitForPosRequest>,
    ) -> Answer<data::VReplicationWaitForPosResponse> {
        let timeout = wait::timeout_of(&request);
        self.answer("VReplicationWaitForPos", wait::stream(&self.context, &request.into_inner(), timeout)).await
    }

    async fn v_diff(&self, request: Request<data::VDiffRequest>) -> Answer<data::VDiffResponse> {
        self.answer("VDiff", self.vdiff.perform(request.into_inner())).await
    }

    async fn refresh_state(&self, _: Request<data::RefreshStateRequest>) -> Answer<data::RefreshStateResponse> {
        let work = async {
            records::refresh(&self.context).await?;
            Ok(data::RefreshStateResponse {})
        };
        self.answer("RefreshState", work).await
    }

    async fn run_health_check(&self, _: Request<data::RunHealthCheckRequest>) -> Answer<data::RunHealthCheckResponse> {
        Ok(Response::new(data::RunHealthCheckResponse {}))
    }

    async fn primary_position(
        &self,
        _: Request<data::PrimaryPositionRequest>,
    ) -> Answer<data::PrimaryPositionResponse> {
        let work = async { Ok(data::PrimaryPositionResponse { position: wait::position(&self.context).await? }) };
        self.answer("PrimaryPosition", work).await
    }

    async fn get_max_value_for_sequences(
        &self,
        request: Request<data::GetMaxValueForSequencesRequest>,
    ) -> Answer<data::GetMaxValueForSequencesResponse> {
        let work = async {
            let known = self.context.shared.options.generation >= Generation::V23;
            // only who wants to know the generation asks
            if known && request.into_inner().sequences.is_empty() {
                return Ok(data::GetMaxValueForSequencesResponse::default());
            }
            Err(Error::new(Code::Unimplemented, "unknown method GetMaxValueForSequences"))
        };
        self.answer("GetMaxValueForSequences", work).await
    }

    async fn wait_for_position(
        &self,
        request: Request<data::WaitForPositionRequest>,
    ) -> Answer<data::WaitForPositionResponse> {
        let timeout = wait::timeout_of(&request);
        self.answer("WaitForPosition", wait::server(&self.context, &request.into_inner().position, timeout)).await
    }

    async fn get_permissions(&self, _: Request<data::GetPermissionsRequest>) -> Answer<data::GetPermissionsResponse> {
        self.answer("GetPermissions", permissions::get(&self.context)).await
    }

    async fn set_read_only(&self, _: Request<data::SetReadOnlyRequest>) -> Answer<data::SetReadOnlyResponse> {
        let work = async {
            status::set_read_only(&self.context, true).await?;
            Ok(data::SetReadOnlyResponse {})
        };
        self.answer("SetReadOnly", work).await
    }

    async fn set_read_write(&self, _: Request<data::SetReadWriteRequest>) -> Answer<data::SetReadWriteResponse> {
        let work = async {
            status::set_read_only(&self.context, false).await?;
            Ok(data::SetReadWriteResponse {})
        };
        self.answer("SetReadWrite", work).await
    }

    async fn full_status(&self, _: Request<data::FullStatusRequest>) -> Answer<data::FullStatusResponse> {
        self.answer("FullStatus", status::full(&self.context)).await
    }

    async fn get_global_status_vars(
        &self,
        request: Request<data::GetGlobalStatusVarsRequest>,
    ) -> Answer<data::GetGlobalStatusVarsResponse> {
        self.answer("GetGlobalStatusVars", status::variables(&self.context, &request.into_inner())).await
    }

    async fn replication_status(
        &self,
        _: Request<data::ReplicationStatusRequest>,
    ) -> Answer<data::ReplicationStatusResponse> {
        self.answer("ReplicationStatus", reparent::status(&self.context)).await
    }

    async fn init_primary(&self, _: Request<data::InitPrimaryRequest>) -> Answer<data::InitPrimaryResponse> {
        let work = async {
            let position = reparent::init_primary(&self.context).await?;
            self.engine.open().await?;
            Ok(data::InitPrimaryResponse { position })
        };
        self.answer("InitPrimary", work).await
    }

    async fn populate_reparent_journal(
        &self,
        request: Request<data::PopulateReparentJournalRequest>,
    ) -> Answer<data::PopulateReparentJournalResponse> {
        self.answer("PopulateReparentJournal", reparent::write_journal(&self.context, &request.into_inner())).await
    }

    async fn set_replication_source(
        &self,
        request: Request<data::SetReplicationSourceRequest>,
    ) -> Answer<data::SetReplicationSourceResponse> {
        self.answer("SetReplicationSource", reparent::follow(&self.context, &request.into_inner())).await
    }

    async fn get_replicas(&self, _: Request<data::GetReplicasRequest>) -> Answer<data::GetReplicasResponse> {
        self.answer("GetReplicas", status::replicas(&self.context)).await
    }
}
