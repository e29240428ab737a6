//! Which RPCs this program serves itself, which on a condition, and which it forwards.

use std::collections::BTreeSet;

use crate::guard::{self, Role};

/// RPCs of `vtctlservice.Vtctld` that are served here, ascending.
pub const NATIVE: &[&str] = &[
    "AddCellInfo",
    "AddCellsAlias",
    "ApplyKeyspaceRoutingRules",
    "ApplyRoutingRules",
    "ApplySchema",
    "ApplyShardRoutingRules",
    "ApplyVSchema",
    "Backup",
    "BackupShard",
    "CancelSchemaMigration",
    "ChangeTabletTags",
    "ChangeTabletType",
    "CheckThrottler",
    "CleanupSchemaMigration",
    "CompleteSchemaMigration",
    "ConcludeTransaction",
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
    "ForceCutOverSchemaMigration",
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
    "GetSchemaMigrations",
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
    "GetTransactionInfo",
    "GetUnresolvedTransactions",
    "GetVSchema",
    "GetVersion",
    "GetWorkflows",
    "InitShardPrimary",
    "LaunchSchemaMigration",
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
    "RestoreFromBackup",
    "RetrySchemaMigration",
    "RunHealthCheck",
    "SetKeyspaceDurabilityPolicy",
    "SetShardIsPrimaryServing",
    "SetShardTabletControl",
    "SetVtorcEmergencyReparent",
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
    "WorkflowAddTables",
    "WorkflowDelete",
    "WorkflowMirrorTraffic",
    "WorkflowStatus",
    "WorkflowSwitchTraffic",
    "WorkflowUpdate",
];

/// Those of them that are served here on a condition, which the request shows; every other case is forwarded. Without a
/// fallback it is refused.
pub const CONDITIONAL: &[(&str, &str)] = &[
    ("ApplySchema", "direct DDL, and what alter vitess_migration does but for throttling"),
    ("MoveTablesComplete", "workflows of type Migrate"),
    ("PlannedReparentShard", "the first election of a shard's primary"),
    ("WorkflowAddTables", "refused for workflows of type Migrate"),
    ("WorkflowDelete", "workflows of type Migrate"),
    ("WorkflowMirrorTraffic", "refused (a Migrate has no traffic to mirror), without a fallback"),
    ("WorkflowStatus", "workflows of type Migrate"),
    ("WorkflowSwitchTraffic", "refused (a Migrate has no traffic to switch), without a fallback"),
];

/// A read that is not asked in two places: the throttler counts who checks.
const NOT_SHADOWED: &str = "CheckThrottler";

/// Reads that tell all callers the same, ascending: of topologies, and of all tablets of a keyspace.
const SHAREABLE: &[&str] = &[
    "FindAllShardsInKeyspace",
    "GetCellInfo",
    "GetCellInfoNames",
    "GetCellsAliases",
    "GetKeyspace",
    "GetKeyspaceRoutingRules",
    "GetKeyspaces",
    "GetMirrorRules",
    "GetRoutingRules",
    "GetShard",
    "GetShardReplication",
    "GetShardRoutingRules",
    "GetSrvKeyspaceNames",
    "GetSrvKeyspaces",
    "GetSrvVSchema",
    "GetSrvVSchemas",
    "GetTablet",
    "GetTablets",
    "GetTopologyPath",
    "GetVSchema",
    "GetWorkflows",
    "MountList",
    "MountShow",
    "WorkflowStatus",
];

/// Those of them that ask all tablets of a keyspace, or for all records of a kind.
const LARGE: [&str; 3] = ["GetKeyspaces", "GetWorkflows", "WorkflowStatus"];

/// Where an RPC is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Native,
    /// Native when this holds, else forwarded.
    Conditional(&'static str),
    Forwarded,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Native => write!(f, "native"),
            Self::Conditional(condition) => write!(f, "native: {condition}; else forwarded"),
            Self::Forwarded => write!(f, "forwarded"),
        }
    }
}

/// True when an RPC is served here, be it on a condition.
pub fn is_native(rpc: &str) -> bool {
    NATIVE.binary_search(&rpc).is_ok()
}

/// The route of an RPC of `vtctlservice.Vtctld`; RPCs of newer versions are forwarded.
pub fn route(rpc: &str) -> Route {
    match CONDITIONAL.iter().find(|(name, _)| *name == rpc) {
        Some((_, condition)) => Route::Conditional(condition),
        None if is_native(rpc) => Route::Native,
        None => Route::Forwarded,
    }
}

/// The RPCs that `--shadow-rpcs` may name.
pub fn shadowable() -> impl Iterator<Item = &'static str> {
    let is_read = |rpc: &&str| guard::class(&format!("vtctlservice.Vtctld/{rpc}")) == Role::Read;
    NATIVE.iter().copied().filter(is_read).filter(|rpc| *rpc != NOT_SHADOWED)
}

/// A read that callers may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shareable {
    pub rpc: &'static str,
    /// It asks for much, and may take long.
    pub is_large: bool,
}

/// The read of this name, if callers may share it.
pub fn shareable(rpc: &str) -> Option<Shareable> {
    let at = SHAREABLE.binary_search(&rpc).ok()?;
    SHAREABLE.get(at).map(|&rpc| Shareable { rpc, is_large: LARGE.contains(&rpc) })
}

/// All RPCs of `vtctlservice.Vtctld` with their routes, as rows of a Markdown table.
pub fn table() -> String {
    let pool = crate::topo::json::pool();
    let service = pool.and_then(|pool| pool.get_service_by_name("vtctlservice.Vtctld"));
    let rpcs: BTreeSet<String> = service.iter().flat_map(|s| s.methods()).map(|m| m.name().to_owned()).collect();
    let mut table = String::from("| RPC | route |\n|---|---|\n");
    for rpc in rpcs {
        table.push_str(&format!("| {rpc} | {} |\n", route(&rpc)));
    }
    table
        .push_str("| ExecuteVtctlCommand (service Vtctl) | native: the commands that `help` lists; else forwarded |\n");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_name_rpcs() {
        assert!(NATIVE.is_sorted() && shadowable().is_sorted() && CONDITIONAL.is_sorted());
        assert_eq!(route("MountShow"), Route::Native);
        assert_eq!(route("MoveTablesComplete"), Route::Conditional("workflows of type Migrate"));
        assert_eq!(route("EmergencyReparentShard"), Route::Forwarded);
        assert_eq!(route("RpcOfTheFuture"), Route::Forwarded);
        let all = table();
        let conditional = CONDITIONAL.iter().map(|(name, _)| name);
        for rpc in NATIVE.iter().chain(conditional) {
            assert!(all.contains(&format!("\n| {rpc} | ")), "{rpc}");
        }
        assert!(shadowable().any(|rpc| rpc == "MountShow") && shadowable().all(|rpc| rpc != "CheckThrottler"));
        assert!(shadowable().all(|rpc| is_native(rpc) && rpc != "MigrateCreate"));
        assert!(CONDITIONAL.iter().all(|(name, _)| is_native(name)));
        assert!(SHAREABLE.is_sorted() && SHAREABLE.iter().all(|rpc| shadowable().any(|read| read == *rpc)));
        assert!(LARGE.iter().all(|rpc| shareable(rpc).is_some_and(|read| read.is_large && read.rpc == *rpc)));
        assert!(shareable("MountShow").is_some_and(|read| !read.is_large) && shareable("MountRegister").is_none());
    }
}
