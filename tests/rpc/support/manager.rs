//! A tablet manager that answers as told and writes down what it was asked.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::query::{QueryResult, TransactionMetadata};
use vtmigrated_proto::replicationdata::{self, FullStatus};
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::tabletmanagerservice::tablet_manager_server::{TabletManager, TabletManagerServer};
use vtmigrated_proto::topodata::TabletType;

/// Calls so far, such as `Ping payload`.
pub type Calls = Arc<Mutex<Vec<String>>>;

/// What a tablet is told to be.
#[derive(Clone, Debug)]
pub struct Told {
    /// Methods that fail, with what they say.
    pub fails: Vec<(&'static str, &'static str)>,
    pub position: &'static str,
    /// `None` when it does not replicate.
    pub lag: Option<u32>,
    pub backup: bool,
    pub buffer_pool: u32,
    /// Addresses of connected replicas.
    pub replicas: Vec<&'static str>,
    /// Users and one grant of theirs.
    pub users: Vec<(&'static str, &'static str)>,
    /// Names of tables; `ApplySchema` adds one called `copied`.
    pub tables: Vec<&'static str>,
    /// What statements of the administrator find.
    pub found: QueryResult,
    /// Records of distributed transactions: those of `GetUnresolvedTransactions` and `ReadTransaction`.
    pub transactions: Vec<TransactionMetadata>,
    /// What it tells while a backup is taken or brought back, and how that ends.
    pub log: Vec<&'static str>,
    pub end: End,
}

/// How a long call ends.
#[derive(Clone, Debug)]
pub enum End {
    Done,
    Failed(&'static str),
    /// When this is notified.
    When(Arc<Notify>),
    /// When its caller goes away.
    Never,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            fails: vec![],
            position: "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-7",
            lag: Some(0),
            backup: false,
            buffer_pool: 0,
            replicas: vec!["127.0.0.1"],
            users: vec![("root", "Y")],
            tables: vec!["a", "b"],
            found: QueryResult::default(),
            transactions: vec![],
            log: vec!["begin", "end"],
            end: End::Done,
        }
    }
}

/// Starts a tablet. It answers an error to every query that contains `fail`. Answers its port.
pub async fn start(name: &str, calls: &Calls) -> u16 {
    start_told(name, calls, Told::default()).await
}

/// The same, told what to be.
pub async fn start_told(name: &str, calls: &Calls, told: Told) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = tonic::transport::Server::builder().add_service(service_told(name, calls, told));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    port
}

/// Its services, for a listener of the test's own.
pub fn service(name: &str, calls: &Calls) -> TabletManagerServer<impl TabletManager> {
    service_told(name, calls, Told::default())
}

fn service_told(name: &str, calls: &Calls, told: Told) -> TabletManagerServer<Fake> {
    TabletManagerServer::new(Fake { name: name.to_owned(), calls: Arc::clone(calls), told, copied: Mutex::default() })
}

/// What was called, sorted: parallel calls have no order.
pub fn sorted(calls: &Calls) -> Vec<String> {
    let mut calls = std::mem::take(&mut *calls.lock().unwrap());
    calls.sort();
    calls
}

/// What was called, in order.
pub fn taken(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut *calls.lock().unwrap())
}

struct Fake {
    name: String,
    calls: Calls,
    told: Told,
    copied: Mutex<bool>,
}

impl Fake {
    fn note(&self, call: String) -> Result<(), Status> {
        self.calls.lock().unwrap().push(format!("{} {call}", self.name));
        let told = self.told.fails.iter().find(|(method, _)| call.split(' ').next() == Some(*method));
        match told {
            Some((method, text)) => Err(Status::unknown(format!("TabletManager.{method} on {}: {text}", self.name))),
            None if call.contains("fail") => Err(Status::unknown(format!("TabletManager on {}: told to", self.name))),
            None => Ok(()),
        }
    }

    fn schema(&self) -> SchemaDefinition {
        let copied = self.copied.lock().unwrap().then_some("copied");
        let table = |name: &str| TableDefinition {
            name: name.into(),
            schema: format!("CREATE TABLE `{name}`"),
            r#type: "BASE TABLE".into(),
            data_length: 7,
            row_count: 3,
            columns: vec!["id".into()],
            ..TableDefinition::default()
        };
        SchemaDefinition {
            database_schema: "CREATE DATABASE `{{.DatabaseName}}`".into(),
            table_definitions: self.told.tables.iter().copied().chain(copied).map(table).collect(),
        }
    }

    /// The events of a long call, each made a message. Its end by its caller is written down.
    fn log<T: Send + 'static>(&self, method: &str, message: fn(Event) -> T) -> BoxStream<T> {
        struct Left(Calls, String);
        impl Drop for Left {
            fn drop(&mut self) {
                self.0.lock().unwrap().push(std::mem::take(&mut self.1));
            }
        }
        let event = |value: &&str| Ok(message(Event { value: (*value).to_owned(), ..Event::default() }));
        let told = stream::iter(self.told.log.iter().map(event).collect::<Vec<_>>());
        match &self.told.end {
            End::Done => told.boxed(),
            End::Failed(text) => {
                let text = format!("TabletManager.{method} on {}: {text}", self.name);
                told.chain(stream::iter([Err(Status::unknown(text))])).boxed()
            }
            End::When(notify) => {
                let notify = Arc::clone(notify);
                let wait = stream::once(async move { notify.notified().await });
                told.chain(wait.filter_map(|()| std::future::ready(None))).boxed()
            }
            End::Never => {
                let left = Left(Arc::clone(&self.calls), format!("{} {method} was left", self.name));
                let open = stream::pending().map(move |message| {
                    let _kept = &left;
                    message
                });
                told.chain(open).boxed()
            }
        }
    }

    fn permissions(&self) -> Permissions {
        let user = |(name, grant): &(&str, &str)| UserPermission {
            host: "%".into(),
            user: (*name).into(),
            privileges: [("Select_priv".to_owned(), (*grant).to_owned())].into(),
            ..UserPermission::default()
        };
        Permissions { user_permissions: self.told.users.iter().map(user).collect(), ..Permissions::default() }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Declares the service: each method writes down what it was asked, and then answers.
macro_rules! calls {
    ($($name:ident($request:ty) -> $response:ty { |$me:ident, $r:ident| $note:expr, $answer:expr })*) => {
        #[tonic::async_trait]
        impl TabletManager for Fake {
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                let ($me, $r) = (self, request.into_inner());
                $me.note($note)?;
                let _ = &$r;
                Ok(Response::new($answer))
            })*
        }
    };
}

calls! {
    ping(PingRequest) -> PingResponse { |me, r| "Ping".into(), PingResponse { payload: r.payload } }
    refresh_state(RefreshStateRequest) -> RefreshStateResponse { |me, r| "RefreshState".into(), RefreshStateResponse {} }
    run_health_check(RunHealthCheckRequest) -> RunHealthCheckResponse {
        |me, r| "RunHealthCheck".into(), RunHealthCheckResponse {}
    }
    reload_schema(ReloadSchemaRequest) -> ReloadSchemaResponse {
        |me, r| format!("ReloadSchema {}", r.wait_position), ReloadSchemaResponse {}
    }
    get_schema(GetSchemaRequest) -> GetSchemaResponse {
        |me, r| format!("GetSchema {:?} {:?} {} {}", r.tables, r.exclude_tables, r.include_views, r.table_schema_only),
        GetSchemaResponse { schema_definition: Some(me.schema()) }
    }
    apply_schema(ApplySchemaRequest) -> ApplySchemaResponse {
        |me, r| format!("ApplySchema {} {} {}", r.sql, r.allow_replication, r.sql_mode),
        { *me.copied.lock().unwrap() = true; ApplySchemaResponse::default() }
    }
    primary_position(PrimaryPositionRequest) -> PrimaryPositionResponse {
        |me, r| "PrimaryPosition".into(), PrimaryPositionResponse { position: me.told.position.into() }
    }
    replication_status(ReplicationStatusRequest) -> ReplicationStatusResponse {
        |me, r| "ReplicationStatus".into(),
        ReplicationStatusResponse { status: Some(replicationdata::Status {
            position: me.told.position.into(),
            replication_lag_seconds: me.told.lag.unwrap_or_default(),
            replication_lag_unknown: me.told.lag.is_none(),
            backup_running: me.told.backup,
            ..replicationdata::Status::default()
        }) }
    }
    execute_fetch_as_app(ExecuteFetchAsAppRequest) -> ExecuteFetchAsAppResponse {
        |me, r| format!("App {} {}", text(&r.query), r.max_rows),
        ExecuteFetchAsAppResponse { result: Some(QueryResult { rows_affected: 1, ..QueryResult::default() }) }
    }
    execute_fetch_as_dba(ExecuteFetchAsDbaRequest) -> ExecuteFetchAsDbaResponse {
        |me, r| format!("Dba {}: {} {} {} {}", r.db_name, text(&r.query), r.max_rows, r.disable_binlogs, r.reload_schema),
        ExecuteFetchAsDbaResponse { result: Some(QueryResult { rows_affected: 2, ..me.told.found.clone() }) }
    }
    execute_query(ExecuteQueryRequest) -> ExecuteQueryResponse {
        |me, r| {
            let caller = r.caller_id.clone().map(|caller| format!(" by {}", caller.principal)).unwrap_or_default();
            format!("Query {}: {} {}{caller}", r.db_name, text(&r.query), r.max_rows)
        },
        ExecuteQueryResponse { result: Some(QueryResult { rows_affected: 3, ..QueryResult::default() }) }
    }
    get_unresolved_transactions(GetUnresolvedTransactionsRequest) -> GetUnresolvedTransactionsResponse {
        |me, r| format!("GetUnresolvedTransactions {}", r.abandon_age),
        GetUnresolvedTransactionsResponse { transactions: me.told.transactions.clone() }
    }
    read_transaction(ReadTransactionRequest) -> ReadTransactionResponse {
        |me, r| format!("ReadTransaction {}", r.dtid),
        {
            let found = me.told.transactions.iter().find(|record| record.dtid == r.dtid).cloned();
            ReadTransactionResponse { transaction: Some(found.unwrap_or_default()) }
        }
    }
    get_transaction_info(GetTransactionInfoRequest) -> GetTransactionInfoResponse {
        |me, r| format!("GetTransactionInfo {}", r.dtid),
        GetTransactionInfoResponse {
            state: "PREPARED".into(),
            message: String::new(),
            time_created: 7,
            statements: vec![format!("update {}", me.name)],
        }
    }
    conclude_transaction(ConcludeTransactionRequest) -> ConcludeTransactionResponse {
        |me, r| format!("ConcludeTransaction {} {}", r.dtid, r.mm), ConcludeTransactionResponse {}
    }
    backup(BackupRequest) -> BoxStream<BackupResponse> {
        |me, r| {
            let engine = r.backup_engine.clone().unwrap_or_default();
            let sql = r.init_sql.clone().map(|sql| sql.queries.join(";")).unwrap_or_default();
            let seconds = r.mysql_shutdown_timeout.map(|timeout| timeout.seconds).unwrap_or_default();
            let BackupRequest { concurrency, allow_primary, incremental_from_pos, upgrade_safe, .. } = &r;
            format!("Backup {concurrency} {allow_primary} [{incremental_from_pos}] {upgrade_safe} [{engine}] {seconds} [{sql}]")
        },
        me.log("Backup", |event| BackupResponse { event: Some(event) })
    }
    restore_from_backup(RestoreFromBackupRequest) -> BoxStream<RestoreFromBackupResponse> {
        |me, r| {
            let at = r.backup_time.map(|time| time.seconds).unwrap_or_default();
            format!("RestoreFromBackup {at} [{}] {} {:?}", r.restore_to_pos, r.dry_run, r.allowed_backup_engines)
        },
        me.log("RestoreFromBackup", |event| RestoreFromBackupResponse { event: Some(event) })
    }
    execute_multi_fetch_as_dba(ExecuteMultiFetchAsDbaRequest) -> ExecuteMultiFetchAsDbaResponse {
        |me, r| {
            let checks = if r.disable_foreign_key_checks { " without foreign key checks" } else { "" };
            format!("Multi {}: {}{checks}", r.db_name, text(&r.sql))
        },
        ExecuteMultiFetchAsDbaResponse { results: vec![QueryResult { rows_affected: 2, ..QueryResult::default() }] }
    }
    full_status(FullStatusRequest) -> FullStatusResponse {
        |me, r| "FullStatus".into(),
        FullStatusResponse { status: Some(FullStatus { server_uuid: me.name.clone(), ..FullStatus::default() }) }
    }
    get_permissions(GetPermissionsRequest) -> GetPermissionsResponse {
        |me, r| "GetPermissions".into(), GetPermissionsResponse { permissions: Some(me.permissions()) }
    }
    get_global_status_vars(GetGlobalStatusVarsRequest) -> GetGlobalStatusVarsResponse {
        |me, r| format!("GetGlobalStatusVars {:?}", r.variables),
        GetGlobalStatusVarsResponse {
            status_values: [(r.variables.concat(), me.told.buffer_pool.to_string())].into(),
        }
    }
    get_replicas(GetReplicasRequest) -> GetReplicasResponse {
        |me, r| "GetReplicas".into(),
        GetReplicasResponse { addrs: me.told.replicas.iter().map(|address| (*address).to_owned()).collect() }
    }
    check_throttler(CheckThrottlerRequest) -> CheckThrottlerResponse {
        |me, r| format!("CheckThrottler {} {} {} {}", r.app_name, r.scope, r.skip_request_heartbeats, r.ok_if_not_exists),
        CheckThrottlerResponse { threshold: 5.0, ..CheckThrottlerResponse::default() }
    }
    get_throttler_status(GetThrottlerStatusRequest) -> GetThrottlerStatusResponse {
        |me, r| "GetThrottlerStatus".into(),
        GetThrottlerStatusResponse { is_enabled: true, ..GetThrottlerStatusResponse::default() }
    }
    change_tags(ChangeTagsRequest) -> ChangeTagsResponse {
        |me, r| format!("ChangeTags {:?} {}", r.tags, r.replace), ChangeTagsResponse { tags: r.tags }
    }
    change_type(ChangeTypeRequest) -> ChangeTypeResponse {
        |me, r| {
            let tablet_type = TabletType::try_from(r.tablet_type).unwrap().as_str_name();
            format!("ChangeType {tablet_type} {}", r.semi_sync)
        },
        ChangeTypeResponse {}
    }
    set_read_only(SetReadOnlyRequest) -> SetReadOnlyResponse { |me, r| "SetReadOnly".into(), SetReadOnlyResponse {} }
    set_read_write(SetReadWriteRequest) -> SetReadWriteResponse { |me, r| "SetReadWrite".into(), SetReadWriteResponse {} }
    start_replication(StartReplicationRequest) -> StartReplicationResponse {
        |me, r| format!("StartReplication {}", r.semi_sync), StartReplicationResponse {}
    }
    stop_replication(StopReplicationRequest) -> StopReplicationResponse {
        |me, r| "StopReplication".into(), StopReplicationResponse {}
    }
    reset_replication(ResetReplicationRequest) -> ResetReplicationResponse {
        |me, r| "ResetReplication".into(), ResetReplicationResponse {}
    }
    init_primary(InitPrimaryRequest) -> InitPrimaryResponse {
        |me, r| format!("InitPrimary {}", r.semi_sync), InitPrimaryResponse { position: me.told.position.into() }
    }
    init_replica(InitReplicaRequest) -> InitReplicaResponse {
        |me, r| format!("InitReplica {} {}", r.parent.clone().unwrap().uid, r.semi_sync), InitReplicaResponse {}
    }
    set_replication_source(SetReplicationSourceRequest) -> SetReplicationSourceResponse {
        |me, r| {
            let waits = if r.time_created_ns == 0 { "" } else { " and waits" };
            format!("SetReplicationSource {} {}{waits}", r.parent.clone().unwrap().uid, r.semi_sync)
        },
        SetReplicationSourceResponse {}
    }
    populate_reparent_journal(PopulateReparentJournalRequest) -> PopulateReparentJournalResponse {
        |me, r| {
            let uid = r.primary_alias.clone().unwrap().uid;
            format!("PopulateReparentJournal {} {uid} {}", r.action_name, r.replication_position)
        },
        PopulateReparentJournalResponse {}
    }
    sleep(SleepRequest) -> SleepResponse { |me, r| format!("Sleep {}", r.duration), SleepResponse {} }
    execute_hook(ExecuteHookRequest) -> ExecuteHookResponse {
        |me, r| format!("ExecuteHook {} {:?}", r.name, r.parameters),
        ExecuteHookResponse { exit_status: 3, stdout: "out".into(), stderr: "err".into() }
    }
}
