//! VTAdmin 22's pages work without a fallback, but for what is for a stock vtctld.

use std::collections::BTreeSet;

use vtmigrated::server::rpcs::{Route, route};

/// The RPCs behind VTAdmin's pages, by page (read from its API, 22.0.3).
const PAGES: &[(&str, &[&str])] = &[
    (
        "keyspaces",
        &[
            "CreateKeyspace",
            "DeleteKeyspace",
            "FindAllShardsInKeyspace",
            "GetKeyspace",
            "GetKeyspaces",
            "GetSrvKeyspaces",
            "RebuildKeyspaceGraph",
            "ReloadSchemaKeyspace",
            "RemoveKeyspaceCell",
            "Validate",
            "ValidateKeyspace",
            "ValidateSchemaKeyspace",
            "ValidateVersionKeyspace",
        ],
    ),
    (
        "shards",
        &[
            "CreateShard",
            "DeleteShards",
            "ReloadSchemaShard",
            "ShardReplicationPositions",
            "ValidateShard",
            "ValidateVersionShard",
        ],
    ),
    (
        "tablets",
        &[
            "DeleteTablets",
            "GetFullStatus",
            "PingTablet",
            "RefreshState",
            "ReparentTablet",
            "RunHealthCheck",
            "SetWritable",
            "StartReplication",
            "StopReplication",
            "TabletExternallyReparented",
        ],
    ),
    ("schemas", &["GetSchema", "ReloadSchema"]),
    ("vschemas", &["GetSrvVSchema", "GetSrvVSchemas", "GetVSchema"]),
    ("workflows", &["GetWorkflows", "VDiffCreate", "VDiffShow", "WorkflowUpdate"]),
    (
        "schema migrations",
        &[
            "CancelSchemaMigration",
            "CleanupSchemaMigration",
            "CompleteSchemaMigration",
            "GetSchemaMigrations",
            "LaunchSchemaMigration",
            "RetrySchemaMigration",
        ],
    ),
    ("transactions", &["ConcludeTransaction", "GetTransactionInfo", "GetUnresolvedTransactions"]),
    ("cells and topology", &["GetCellInfo", "GetCellInfoNames", "GetCellsAliases", "GetTopologyPath"]),
];

/// Native in the case that is ours: direct DDL, workflows of type Migrate, the first election.
const ON_A_CONDITION: &[&str] = &[
    "ApplySchema",
    "MoveTablesComplete",
    "PlannedReparentShard",
    "WorkflowDelete",
    "WorkflowStatus",
    "WorkflowSwitchTraffic",
];

/// Pages and buttons for what is forwarded: failovers, lists of backups, other workflows.
const FORWARDED: &[&str] =
    &["EmergencyReparentShard", "GetBackups", "MaterializeCreate", "MoveTablesCreate", "ReshardCreate"];

#[test]
fn pages_of_vtadmin_are_served_here() {
    for (page, rpcs) in PAGES {
        for rpc in *rpcs {
            assert_eq!(route(rpc), Route::Native, "{page}: {rpc}");
        }
    }
    for rpc in ON_A_CONDITION {
        assert!(matches!(route(rpc), Route::Conditional(_)), "{rpc}");
    }
    for rpc in FORWARDED {
        assert_eq!(route(rpc), Route::Forwarded, "{rpc}");
    }
    let pages = PAGES.iter().flat_map(|(_, rpcs)| rpcs.iter());
    let all: Vec<&&str> = pages.chain(ON_A_CONDITION).chain(FORWARDED).collect();
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(all.len(), 62, "calls of VTAdmin 22.0.3");
}
