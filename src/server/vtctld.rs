//! `vtctlservice.Vtctld`: one line for each RPC.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctld_server::Vtctld as Service;

use super::status::status;
use super::{migrate, mount, workflow};
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

fn logged(error: &dyn Explain) -> Status {
    tracing::warn!(error.code = %error.code(), error.reason = error.reason(), "call failed: {error}");
    status(error)
}

#[tonic::async_trait]
impl Service for Vtctld {
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
