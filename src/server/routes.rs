//! Which RPCs this program serves itself. The table is asked before the generated service.

use std::convert::Infallible;
use std::task::{Context as TaskContext, Poll};

use futures::future::Either;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Path prefix of the service that the table is about.
const SERVICE: &str = "/vtctlservice.Vtctld/";

/// RPCs of `vtctlservice.Vtctld` that are served here, ascending.
pub const NATIVE: &[&str] = &[
    "AddCellInfo",
    "AddCellsAlias",
    "ApplyKeyspaceRoutingRules",
    "ApplyRoutingRules",
    "ApplySchema",
    "ApplyShardRoutingRules",
    "ApplyVSchema",
    "ChangeTabletTags",
    "ChangeTabletType",
    "CheckThrottler",
    "CopySchemaShard",
    "CreateKeyspace",
    "CreateShard",
    "DeleteCellInfo",
    "DeleteCellsAlias",
    "DeleteKeyspace",
    "DeleteShards",
    "DeleteSrvVSchema",
    "DeleteTablets",
    "ExecuteFetchAsApp",
    "ExecuteFetchAsDBA",
    "ExecuteHook",
    "ExecuteMultiFetchAsDBA",
    "FindAllShardsInKeyspace",
    "GetCellInfo",
    "GetCellInfoNames",
    "GetCellsAliases",
    "GetFullStatus",
    "GetKeyspace",
    "GetKeyspaceRoutingRules",
    "GetKeyspaces",
    "GetMirrorRules",
    "GetPermissions",
    "GetRoutingRules",
    "GetSchema",
    "GetShard",
    "GetShardReplication",
    "GetShardRoutingRules",
    "GetSrvKeyspaceNames",
    "GetSrvKeyspaces",
    "GetSrvVSchema",
    "GetSrvVSchemas",
    "GetTablet",
    "GetTablets",
    "GetThrottlerStatus",
    "GetTopologyPath",
    "GetVSchema",
    "GetVersion",
    "GetWorkflows",
    "InitShardPrimary",
    "MigrateCreate",
    "MountList",
    "MountRegister",
    "MountShow",
    "MountUnregister",
    "MoveTablesComplete",
    "PingTablet",
    "PlannedReparentShard",
    "RebuildKeyspaceGraph",
    "RebuildVSchemaGraph",
    "RefreshState",
    "RefreshStateByShard",
    "ReloadSchema",
    "ReloadSchemaKeyspace",
    "ReloadSchemaShard",
    "RemoveKeyspaceCell",
    "RemoveShardCell",
    "ReparentTablet",
    "RunHealthCheck",
    "SetKeyspaceDurabilityPolicy",
    "SetShardIsPrimaryServing",
    "SetShardTabletControl",
    "SetWritable",
    "ShardReplicationAdd",
    "ShardReplicationFix",
    "ShardReplicationPositions",
    "ShardReplicationRemove",
    "SleepTablet",
    "SourceShardAdd",
    "SourceShardDelete",
    "StartReplication",
    "StopReplication",
    "TabletExternallyReparented",
    "UpdateCellInfo",
    "UpdateCellsAlias",
    "UpdateThrottlerConfig",
    "VDiffCreate",
    "VDiffDelete",
    "VDiffResume",
    "VDiffShow",
    "VDiffStop",
    "Validate",
    "ValidateKeyspace",
    "ValidatePermissionsKeyspace",
    "ValidateSchemaKeyspace",
    "ValidateShard",
    "ValidateVSchema",
    "ValidateVersionKeyspace",
    "ValidateVersionShard",
    "WorkflowDelete",
    "WorkflowMirrorTraffic",
    "WorkflowStatus",
    "WorkflowSwitchTraffic",
    "WorkflowUpdate",
];

/// True when an RPC is served here.
pub fn is_native(rpc: &str) -> bool {
    NATIVE.binary_search(&rpc).is_ok()
}

/// Answers UNIMPLEMENTED, naming the RPC, for those that are not served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Router;

/// A service behind the table.
#[derive(Clone, Debug)]
pub struct Routed<S> {
    inner: S,
}

impl<S> Layer<S> for Router {
    type Service = Routed<S>;

    fn layer(&self, inner: S) -> Routed<S> {
        Routed { inner }
    }
}

impl<S, R> Service<http::Request<R>> for Routed<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Either<S::Future, std::future::Ready<Result<S::Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        match request.uri().path().strip_prefix(SERVICE) {
            Some(rpc) if !is_native(rpc) => {
                let shown: String = rpc.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
                let status = Status::unimplemented(format!(
                    "vtctlservice.Vtctld/{shown} is not served by vtmigrated: send this command to a stock vtctld of the same cluster"
                ));
                Either::Right(std::future::ready(Ok(status.into_http())))
            }
            _ => Either::Left(self.inner.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(NATIVE.is_sorted());
        assert!(is_native("MountShow"));
        assert!(!is_native("EmergencyReparentShard"));
    }
}
