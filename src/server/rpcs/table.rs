//! The table: one line for each RPC of each service, out of which come the services, too.
//!
//! `Name: Role marks, method = how(handler) if "condition";`
//!
//! - `Name` is the RPC's name in `proto/`, `Role` the least role that may call it. An RPC without a line does not compile, nor
//!   does a line without a role.
//! - `marks` are said of reads, and are functions of [`Spec`]: `shared`, `large`, `unshadowed`.
//! - `method` is its name in the service's trait, `how` a function of [`Calls`]: `read` ends when its caller leaves, `change`
//!   runs to its end, `tell` and `tell_to_the_end` stream events, `pass` leaves all to its handler.
//! - `condition` says which cases are served here. In all others the handler fails before its first side effect, with an error
//!   that [is forwarded](crate::error::Explain::is_forwarded).
//! - `forwarded` stands in the place of what an RPC that is not served here would have.

use tonic::Request;
use vtmigrated_proto::vtctlservice::{vtctl_rpcs, vtctl_server, vtctld_rpcs, vtctld_server};
use vtmigrated_proto::vtmigrated::{advisor_rpcs, advisor_server, way_back_rpcs, way_back_server};

use super::{Route, Spec};
use crate::guard::Role;
use crate::server::calls::{Answer, Calls};
use crate::server::{
    advisor, backup, cell, graph, keyspace, migrate, mount, reparent, replication, routing_rules, schema,
    schema_migration, serving, shard, tablet, throttler, topology, transaction, validate, vdiff, vschema, vtctl,
    way_back, workflow,
};

macro_rules! route {
    (forwarded) => {
        Route::Forwarded
    };
    ($method:ident $how:ident) => {
        Route::Native
    };
    ($method:ident $how:ident $condition:literal) => {
        Route::Conditional($condition)
    };
}

macro_rules! rpcs {
    ($(
        $(#[$doc:meta])*
        $server:ident::$service:ident, $rpcs:ident {
            $($name:ident: $role:ident $($mark:ident)*, $method:ident $(= $how:ident($handler:path))? $(if $condition:literal)?;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            pub struct $service {
                calls: Calls,
            }

            impl $service {
                /// `calls` runs its calls.
                pub fn new(calls: Calls) -> Self {
                    Self { calls }
                }

                /// What the table says of one of its RPCs.
                pub(super) fn spec(rpc: $rpcs::Rpc) -> Spec {
                    match rpc {
                        $($rpcs::Rpc::$name => const {
                            Spec::new(stringify!($name), Role::$role, route!($method $($how)? $($condition)?))$(.$mark())*
                        },)*
                    }
                }
            }

            #[tonic::async_trait]
            impl $server::$service for $service {
                $($(
                    async fn $method(&self, r: Request<$rpcs::requests::$name>) -> Answer<$rpcs::responses::$name> {
                        self.calls.$how(r, $handler).await
                    }
                )?)*
            }
        )*

        /// What the table says of an RPC of a service; `None` when there is no such RPC.
        pub(super) fn spec(service: &str, rpc: &str) -> Option<Spec> {
            match service {
                $($rpcs::Rpc::SERVICE => $rpcs::Rpc::named(rpc).map($service::spec),)*
                _ => None,
            }
        }
    };
}

rpcs! {
    /// `vtctlservice.Vtctld`.
    vtctld_server::Vtctld, vtctld_rpcs {
        AddCellInfo: Admin, add_cell_info = change(cell::add);
        AddCellsAlias: Admin, add_cells_alias = change(cell::add_alias);
        ApplyKeyspaceRoutingRules: Admin, apply_keyspace_routing_rules = change(routing_rules::apply_keyspaces);
        ApplyRoutingRules: Admin, apply_routing_rules = change(routing_rules::apply);
        ApplySchema: Admin, apply_schema = change(schema::apply)
            if "direct DDL, and alter vitess_migration except for throttling";
        ApplyShardRoutingRules: Admin, apply_shard_routing_rules = change(routing_rules::apply_shards);
        ApplyVSchema: Operate, apply_v_schema = change(vschema::apply);
        Backup: Admin, backup = tell(backup::of_tablet);
        BackupShard: Admin, backup_shard = tell(backup::of_shard);
        CancelSchemaMigration: Admin, cancel_schema_migration = change(schema_migration::cancel);
        ChangeTabletTags: Admin, change_tablet_tags = change(tablet::change_tags);
        ChangeTabletType: Admin, change_tablet_type = change(replication::change_type);
        CheckThrottler: Read unshadowed, check_throttler = read(throttler::check);
        CleanupSchemaMigration: Admin, cleanup_schema_migration = change(schema_migration::cleanup);
        CompleteSchemaMigration: Admin, complete_schema_migration = change(schema_migration::complete);
        ConcludeTransaction: Admin, conclude_transaction = change(transaction::conclude);
        CopySchemaShard: Admin, copy_schema_shard = change(schema::copy);
        CreateKeyspace: Admin, create_keyspace = change(keyspace::create);
        CreateShard: Admin, create_shard = change(shard::create);
        DeleteCellInfo: Admin, delete_cell_info = change(cell::delete);
        DeleteCellsAlias: Admin, delete_cells_alias = change(cell::delete_alias);
        DeleteKeyspace: Admin, delete_keyspace = change(keyspace::delete);
        DeleteShards: Admin, delete_shards = change(shard::delete);
        DeleteSrvVSchema: Admin, delete_srv_v_schema = change(serving::delete_vschema);
        DeleteTablets: Admin, delete_tablets = change(tablet::delete);
        EmergencyReparentShard: Admin, forwarded;
        ExecuteFetchAsApp: Admin, execute_fetch_as_app = change(tablet::execute_fetch_as_app);
        ExecuteFetchAsDBA: Admin, execute_fetch_as_dba = change(tablet::execute_fetch_as_dba);
        ExecuteHook: Admin, execute_hook = change(tablet::execute_hook);
        ExecuteMultiFetchAsDBA: Admin, execute_multi_fetch_as_dba = change(tablet::execute_multi_fetch_as_dba);
        FindAllShardsInKeyspace: Read shared, find_all_shards_in_keyspace = read(shard::all);
        ForceCutOverSchemaMigration: Admin, force_cut_over_schema_migration = change(schema_migration::force_cut_over);
        GetBackups: Read, forwarded;
        GetCellInfo: Read shared, get_cell_info = read(cell::get);
        GetCellInfoNames: Read shared, get_cell_info_names = read(cell::names);
        GetCellsAliases: Read shared, get_cells_aliases = read(cell::aliases);
        GetFullStatus: Read, get_full_status = read(tablet::full_status);
        GetKeyspace: Read shared, get_keyspace = read(keyspace::get);
        GetKeyspaceRoutingRules: Read shared, get_keyspace_routing_rules = read(routing_rules::get_keyspaces);
        GetKeyspaces: Read shared large, get_keyspaces = read(keyspace::all);
        GetMirrorRules: Read shared, get_mirror_rules = read(routing_rules::get_mirror);
        GetPermissions: Read, get_permissions = read(tablet::permissions);
        GetRoutingRules: Read shared, get_routing_rules = read(routing_rules::get);
        GetSchema: Read, get_schema = read(schema::get);
        GetSchemaMigrations: Read, get_schema_migrations = read(schema_migration::get);
        GetShard: Read shared, get_shard = read(shard::get);
        GetShardReplication: Read shared, get_shard_replication = read(graph::get);
        GetShardRoutingRules: Read shared, get_shard_routing_rules = read(routing_rules::get_shards);
        GetSrvKeyspaceNames: Read shared, get_srv_keyspace_names = read(serving::keyspace_names);
        GetSrvKeyspaces: Read shared, get_srv_keyspaces = read(serving::keyspaces);
        GetSrvVSchema: Read shared, get_srv_v_schema = read(serving::vschema);
        GetSrvVSchemas: Read shared, get_srv_v_schemas = read(serving::vschemas);
        GetTablet: Read shared, get_tablet = read(tablet::get);
        GetTablets: Read shared, get_tablets = read(tablet::list);
        GetThrottlerStatus: Read, get_throttler_status = read(throttler::status);
        GetTopologyPath: Read shared, get_topology_path = read(topology::get_path);
        GetTransactionInfo: Read, get_transaction_info = read(transaction::info);
        GetUnresolvedTransactions: Read, get_unresolved_transactions = read(transaction::unresolved);
        GetVSchema: Read shared, get_v_schema = read(vschema::get);
        GetVersion: Read, get_version = read(tablet::version);
        GetWorkflows: Read shared large, get_workflows = read(workflow::get_workflows);
        InitShardPrimary: Admin, init_shard_primary = change(reparent::init_shard_primary);
        LaunchSchemaMigration: Admin, launch_schema_migration = change(schema_migration::launch);
        LookupVindexComplete: Admin, forwarded;
        LookupVindexCreate: Admin, forwarded;
        LookupVindexExternalize: Admin, forwarded;
        LookupVindexInternalize: Admin, forwarded;
        MaterializeCreate: Admin, forwarded;
        MigrateCreate: Operate, migrate_create = change(migrate::create);
        MountList: Read shared, mount_list = read(mount::list);
        MountRegister: Operate, mount_register = change(mount::register);
        MountShow: Read shared, mount_show = read(mount::show);
        MountUnregister: Operate, mount_unregister = change(mount::unregister);
        MoveTablesComplete: Operate, move_tables_complete = change(migrate::complete) if "workflows of type Migrate";
        MoveTablesCreate: Admin, forwarded;
        PingTablet: Read, ping_tablet = read(tablet::ping);
        PlannedReparentShard: Admin, planned_reparent_shard = change(reparent::planned)
            if "the first election of a shard's primary";
        RebuildKeyspaceGraph: Admin, rebuild_keyspace_graph = change(serving::rebuild_keyspace);
        RebuildVSchemaGraph: Operate, rebuild_v_schema_graph = change(serving::rebuild_vschema);
        RefreshState: Operate, refresh_state = change(tablet::refresh_state);
        RefreshStateByShard: Operate, refresh_state_by_shard = change(tablet::refresh_state_by_shard);
        ReloadSchema: Operate, reload_schema = change(tablet::reload_schema);
        ReloadSchemaKeyspace: Operate, reload_schema_keyspace = change(tablet::reload_schema_keyspace);
        ReloadSchemaShard: Operate, reload_schema_shard = change(tablet::reload_schema_shard);
        RemoveBackup: Admin, forwarded;
        RemoveKeyspaceCell: Admin, remove_keyspace_cell = change(shard::remove_keyspace_cell);
        RemoveShardCell: Admin, remove_shard_cell = change(shard::remove_cell);
        ReparentTablet: Admin, reparent_tablet = change(replication::reparent);
        ReshardCreate: Admin, forwarded;
        RestoreFromBackup: Admin, restore_from_backup = tell_to_the_end(backup::restore);
        RetrySchemaMigration: Admin, retry_schema_migration = change(schema_migration::retry);
        RunHealthCheck: Operate, run_health_check = change(tablet::run_health_check);
        SetKeyspaceDurabilityPolicy: Admin, set_keyspace_durability_policy = change(keyspace::set_durability_policy);
        SetShardIsPrimaryServing: Admin, set_shard_is_primary_serving = change(shard::set_primary_serving);
        SetShardTabletControl: Admin, set_shard_tablet_control = change(shard::set_tablet_control);
        SetVtorcEmergencyReparent: Admin, set_vtorc_emergency_reparent = change(keyspace::set_emergency_reparent);
        SetWritable: Admin, set_writable = change(tablet::set_writable);
        ShardReplicationAdd: Admin, shard_replication_add = change(graph::add);
        ShardReplicationFix: Admin, shard_replication_fix = change(graph::fix);
        ShardReplicationPositions: Read, shard_replication_positions = read(replication::positions);
        ShardReplicationRemove: Admin, shard_replication_remove = change(graph::remove);
        SleepTablet: Admin, sleep_tablet = change(tablet::sleep);
        SourceShardAdd: Admin, source_shard_add = change(shard::add_source);
        SourceShardDelete: Admin, source_shard_delete = change(shard::remove_source);
        StartReplication: Admin, start_replication = change(replication::start);
        StopReplication: Admin, stop_replication = change(replication::stop);
        TabletExternallyReparented: Admin, tablet_externally_reparented = change(replication::externally_reparented);
        UpdateCellInfo: Admin, update_cell_info = change(cell::update);
        UpdateCellsAlias: Admin, update_cells_alias = change(cell::update_alias);
        UpdateThrottlerConfig: Admin, update_throttler_config = change(throttler::update);
        VDiffCreate: Operate, v_diff_create = change(vdiff::create);
        VDiffDelete: Operate, v_diff_delete = change(vdiff::delete);
        VDiffResume: Operate, v_diff_resume = change(vdiff::resume);
        VDiffShow: Read, v_diff_show = read(vdiff::show);
        VDiffStop: Operate, v_diff_stop = change(vdiff::stop);
        Validate: Read, validate = read(validate::all);
        ValidateKeyspace: Read, validate_keyspace = read(validate::keyspace);
        ValidatePermissionsKeyspace: Read, validate_permissions_keyspace = read(validate::permissions);
        ValidateSchemaKeyspace: Read, validate_schema_keyspace = read(validate::schemas);
        ValidateShard: Read, validate_shard = read(validate::shard);
        ValidateVSchema: Read, validate_v_schema = read(validate::vschema);
        ValidateVersionKeyspace: Read, validate_version_keyspace = read(validate::version_keyspace);
        ValidateVersionShard: Read, validate_version_shard = read(validate::version_shard);
        WorkflowAddTables: Admin, workflow_add_tables = read(workflow::add_tables)
            if "refused for workflows of type Migrate";
        WorkflowDelete: Operate, workflow_delete = change(workflow::delete) if "workflows of type Migrate";
        WorkflowMirrorTraffic: Operate, workflow_mirror_traffic = read(migrate::mirror_traffic)
            if "refused (a Migrate has no traffic to mirror), without a fallback";
        WorkflowStatus: Read shared large, workflow_status = read(workflow::status) if "workflows of type Migrate";
        WorkflowSwitchTraffic: Operate, workflow_switch_traffic = read(migrate::switch_traffic)
            if "refused (a Migrate has no traffic to switch), without a fallback";
        WorkflowUpdate: Operate, workflow_update = change(workflow::update);
    }

    /// `vtctlservice.Vtctl`, of the older client.
    vtctl_server::Vtctl, vtctl_rpcs {
        ExecuteVtctlCommand: Admin, execute_vtctl_command = pass(vtctl::execute) if "the commands that `help` lists";
    }

    /// `vtmigrated.Advisor`: verdicts, preflights, dry runs, leftovers.
    advisor_server::Advisor, advisor_rpcs {
        CleanLeftovers: Operate, clean_leftovers = change(advisor::clean);
        DryRunCancel: Read, dry_run_cancel = read(advisor::dry_cancel);
        DryRunComplete: Read, dry_run_complete = read(advisor::dry_complete);
        DryRunCreate: Read, dry_run_create = read(advisor::dry_create);
        FindLeftovers: Read, find_leftovers = read(advisor::leftovers);
        PreflightMount: Operate, preflight_mount = read(advisor::mount);
        Verdict: Read, verdict = read(advisor::judge);
    }

    /// `vtmigrated.WayBack`: the way back of a migration.
    way_back_server::WayBack, way_back_rpcs {
        Cancel: Operate, cancel = change(way_back::cancel);
        Complete: Operate, complete = change(way_back::complete);
        Prepare: Operate, prepare = change(way_back::prepare);
        Status: Read, status = read(way_back::status);
        VDiffCreate: Operate, v_diff_create = change(way_back::vdiff::create);
        VDiffDelete: Operate, v_diff_delete = change(way_back::vdiff::delete);
        VDiffResume: Operate, v_diff_resume = change(way_back::vdiff::resume);
        VDiffShow: Read, v_diff_show = read(way_back::vdiff::show);
        VDiffStop: Operate, v_diff_stop = change(way_back::vdiff::stop);
    }
}
