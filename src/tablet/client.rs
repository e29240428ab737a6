//! The tablet-manager RPCs that vtmigrated uses, one method each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::error::Elapsed;
use tracing::{Instrument, Span};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::{self as data, *};
use vtmigrated_proto::tabletmanagerservice::tablet_manager_client::TabletManagerClient;
use vtmigrated_proto::topodata::Tablet;

use super::connection::{Connection, InProcess};
use super::{Error, Options, Pool, Result, address, alias, db_name, is_shut_down};
use crate::error::{Code, with_cause};
use crate::telemetry::grpc_code::name as code_name;
use crate::telemetry::{metrics, traces};
use crate::{deadline, failpoint};

pub(super) const SERVICE: &str = "tabletmanagerservice.TabletManager";
/// Said of tablets that do not see the client's certificate, which may be what they miss.
const WITHHELD: &str = " (the certificate of --tablet_manager_grpc_cert is not sent to this tablet: only to this \
    cluster's and to those of clusters whose topology servers the file of --mount-settings names)";
/// Bound of calls that may run DDL or read large schemas, when the caller set none.
const LONG: Duration = Duration::from_secs(3600);

/// Calls tablets. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
    /// Timeout of calls that a healthy tablet answers immediately (`--remote_operation_timeout`).
    short: Duration,
    max_message: usize,
}

/// A kind of call.
pub(super) struct Kind {
    pub service: &'static str,
    pub method: &'static str,
    pub limit: Duration,
    /// True when it is a side effect.
    pub changes: bool,
}

/// What to read of a schema.
#[derive(Clone, Debug, Default)]
pub struct GetSchema {
    pub tables: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub include_views: bool,
    pub table_schema_only: bool,
}

/// Declares `name(tablet, request) -> response` for an RPC of the same name. The closure says whether a request changes
/// anything on the cluster.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($rpc:literal, $limit:ident, $changes:expr, $request:ty) -> $response:ty;)*) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $name(&self, tablet: &Tablet, request: $request) -> Result<$response> {
                let changes: fn(&$request) -> bool = $changes;
                let (limit, changes) = (self.limit(stringify!($limit)), changes(&request));
                let kind = Kind { service: SERVICE, method: $rpc, limit, changes };
                self.call(tablet, kind, |mut client| async move { client.$name(request).await }).await
            })*
        }
    };
}

calls! {
    /// Echo.
    ping("Ping", short, |_| false, PingRequest) -> PingResponse;
    /// Runs DDL.
    apply_schema("ApplySchema", long, |_| true, ApplySchemaRequest) -> ApplySchemaResponse;
    /// Inserts the streams of a workflow, stopped.
    create_v_replication_workflow("CreateVReplicationWorkflow", long, |_| true, CreateVReplicationWorkflowRequest)
        -> CreateVReplicationWorkflowResponse;
    /// Reads the streams of several workflows.
    read_v_replication_workflows("ReadVReplicationWorkflows", short, |_| false, ReadVReplicationWorkflowsRequest)
        -> ReadVReplicationWorkflowsResponse;
    /// Changes the streams of a workflow.
    update_v_replication_workflow("UpdateVReplicationWorkflow", short, |_| true, UpdateVReplicationWorkflowRequest)
        -> UpdateVReplicationWorkflowResponse;
    /// Starts, stops, shows or deletes a diff.
    v_diff("VDiff", short, |r| r.action != "show", VDiffRequest) -> VDiffResponse;
    /// Makes the tablet read its shard record again.
    refresh_state("RefreshState", short, |_| true, RefreshStateRequest) -> RefreshStateResponse;
    /// Makes the tablet read its schema again.
    reload_schema("ReloadSchema", long, |_| true, ReloadSchemaRequest) -> ReloadSchemaResponse;
    /// Checks its own health.
    run_health_check("RunHealthCheck", short, |_| false, RunHealthCheckRequest) -> RunHealthCheckResponse;
    /// One statement as the application user.
    execute_fetch_as_app("ExecuteFetchAsApp", long, |r| !is_select(&r.query), ExecuteFetchAsAppRequest) -> ExecuteFetchAsAppResponse;
    /// One statement as the administrator.
    execute_fetch_as_dba("ExecuteFetchAsDba", long, |r| !is_select(&r.query), ExecuteFetchAsDbaRequest) -> ExecuteFetchAsDbaResponse;
    /// Several statements as the administrator.
    execute_multi_fetch_as_dba("ExecuteMultiFetchAsDba", long, |_| true, ExecuteMultiFetchAsDbaRequest)
        -> ExecuteMultiFetchAsDbaResponse;
    /// Whether the user of vreplication may write the sidecar tables; tablets before 23 do not know the call.
    validate_v_replication_permissions("ValidateVReplicationPermissions", short, |_| false, ValidateVReplicationPermissionsRequest)
        -> ValidateVReplicationPermissionsResponse;
    /// Greatest values of columns that sequences are to begin after; tablets before 23 do not know the call.
    get_max_value_for_sequences("GetMaxValueForSequences", short, |_| false, GetMaxValueForSequencesRequest)
        -> GetMaxValueForSequencesResponse;
    /// The GTIDs that the server has executed.
    primary_position("PrimaryPosition", short, |_| false, PrimaryPositionRequest) -> PrimaryPositionResponse;
    /// Replication and settings of the MySQL server.
    full_status("FullStatus", short, |_| false, FullStatusRequest) -> FullStatusResponse;
    /// Users and grants.
    get_permissions("GetPermissions", short, |_| false, GetPermissionsRequest) -> GetPermissionsResponse;
    /// Counters of the MySQL server.
    get_global_status_vars("GetGlobalStatusVars", short, |_| false, GetGlobalStatusVarsRequest)
        -> GetGlobalStatusVarsResponse;
    /// Where a replica is.
    replication_status("ReplicationStatus", short, |_| false, ReplicationStatusRequest) -> ReplicationStatusResponse;
    /// Addresses of the connected replicas.
    get_replicas("GetReplicas", short, |_| false, GetReplicasRequest) -> GetReplicasResponse;
    /// Asks the throttler whether an app may go on.
    check_throttler("CheckThrottler", short, |_| false, CheckThrottlerRequest) -> CheckThrottlerResponse;
    /// What the throttler knows.
    get_throttler_status("GetThrottlerStatus", short, |_| false, GetThrottlerStatusRequest) -> GetThrottlerStatusResponse;
    /// Changes the tablet's tags.
    change_tags("ChangeTags", short, |_| true, ChangeTagsRequest) -> ChangeTagsResponse;
    /// Changes the tablet's type.
    change_type("ChangeType", short, |_| true, ChangeTypeRequest) -> ChangeTypeResponse;
    /// Makes MySQL refuse writes.
    set_read_only("SetReadOnly", short, |_| true, SetReadOnlyRequest) -> SetReadOnlyResponse;
    /// Makes MySQL take writes.
    set_read_write("SetReadWrite", short, |_| true, SetReadWriteRequest) -> SetReadWriteResponse;
    /// Starts replication.
    start_replication("StartReplication", short, |_| true, StartReplicationRequest) -> StartReplicationResponse;
    /// Stops replication.
    stop_replication("StopReplication", short, |_| true, StopReplicationRequest) -> StopReplicationResponse;
    /// Forgets replication and all transactions.
    reset_replication("ResetReplication", long, |_| true, ResetReplicationRequest) -> ResetReplicationResponse;
    /// Makes the tablet the first primary of its shard.
    init_primary("InitPrimary", long, |_| true, InitPrimaryRequest) -> InitPrimaryResponse;
    /// Makes the tablet a replica of the first primary.
    init_replica("InitReplica", long, |_| true, InitReplicaRequest) -> InitReplicaResponse;
    /// Makes the tablet replicate from another.
    set_replication_source("SetReplicationSource", long, |_| true, SetReplicationSourceRequest)
        -> SetReplicationSourceResponse;
    /// Writes the row that replicas wait for.
    populate_reparent_journal("PopulateReparentJournal", long, |_| true, PopulateReparentJournalRequest)
        -> PopulateReparentJournalResponse;
    /// Holds the tablet's lock for a while.
    sleep("Sleep", long, |_| true, SleepRequest) -> SleepResponse;
    /// Runs a program on the tablet's host.
    execute_hook("ExecuteHook", long, |_| true, ExecuteHookRequest) -> ExecuteHookResponse;
    /// One statement through the query service, as a caller; such as `alter vitess_migration …`.
    execute_query("ExecuteQuery", long, |r| !is_select(&r.query), ExecuteQueryRequest) -> ExecuteQueryResponse;
    /// Distributed transactions that the tablet keeps the record of and that are not resolved.
    get_unresolved_transactions("GetUnresolvedTransactions", short, |_| false, GetUnresolvedTransactionsRequest)
        -> GetUnresolvedTransactionsResponse;
    /// The record of a distributed transaction.
    read_transaction("ReadTransaction", short, |_| false, ReadTransactionRequest) -> ReadTransactionResponse;
    /// What the tablet has prepared of a distributed transaction.
    get_transaction_info("GetTransactionInfo", short, |_| false, GetTransactionInfoRequest)
        -> GetTransactionInfoResponse;
    /// Rolls back what the tablet has prepared of a distributed transaction, or deletes its record.
    conclude_transaction("ConcludeTransaction", short, |_| true, ConcludeTransactionRequest)
        -> ConcludeTransactionResponse;
    /// One statement as the user with all privileges.
    execute_fetch_as_all_privs("ExecuteFetchAsAllPrivs", long, |r| !is_select(&r.query), ExecuteFetchAsAllPrivsRequest)
        -> ExecuteFetchAsAllPrivsResponse;
}

impl Client {
    /// A client without connections.
    pub fn new(options: Options) -> Self {
        let (short, max_message) = (options.short, options.max_message);
        Self { pool: Arc::new(Pool::new(options)), short, max_message }
    }

    /// From now on the calls to `address` (`host:port`) go to services of this process, without a socket: for tests with
    /// very many tablets.
    pub fn serve_in_process(&self, address: &str, services: InProcess) {
        self.pool.serve_in_process(address, services);
    }

    /// Reads tables (and views when asked): definitions sorted by name.
    pub async fn get_schema(&self, tablet: &Tablet, what: GetSchema) -> Result<SchemaDefinition> {
        let request = GetSchemaRequest {
            tables: what.tables,
            include_views: what.include_views,
            exclude_tables: what.exclude_tables,
            table_schema_only: what.table_schema_only,
        };
        let call = |mut client: TabletManagerClient<Connection>| async move { client.get_schema(request).await };
        let kind = Kind { service: SERVICE, method: "GetSchema", limit: LONG, changes: false };
        Ok(self.call(tablet, kind, call).await?.schema_definition.unwrap_or_default())
    }

    /// Runs a statement on the workflow tables, through the tablet's vreplication engine.
    pub async fn v_replication_exec(&self, tablet: &Tablet, query: String) -> Result<QueryResult> {
        let changes = !is_select(query.as_bytes());
        let kind = Kind { service: SERVICE, method: "VReplicationExec", limit: LONG, changes };
        let request = VReplicationExecRequest { query };
        let call =
            |mut client: TabletManagerClient<Connection>| async move { client.v_replication_exec(request).await };
        Ok(self.call(tablet, kind, call).await?.result.unwrap_or_default())
    }

    /// One read-only statement as the administrator, at most `max_rows` rows.
    pub async fn read(&self, tablet: &Tablet, query: String, max_rows: u64) -> Result<QueryResult> {
        let request = ExecuteFetchAsDbaRequest {
            query: query.into_bytes(),
            db_name: db_name(tablet),
            max_rows,
            ..ExecuteFetchAsDbaRequest::default()
        };
        Ok(self.execute_fetch_as_dba(tablet, request).await?.result.unwrap_or_default())
    }

    /// Timeout of calls that a healthy tablet answers immediately.
    pub(super) fn short(&self) -> Duration {
        self.short
    }

    /// The kept connection to a tablet.
    fn channel(&self, tablet: &Tablet, method: &'static str) -> Result<Connection> {
        let address = address(tablet);
        if let Some(detail) = undialable(tablet) {
            return Err(Error::Unreachable { alias: alias(tablet), address, method, detail });
        }
        self.pool.channel(&address).map_err(|detail| Error::Unreachable {
            alias: alias(tablet),
            address,
            method,
            detail,
        })
    }

    /// The largest message that is taken, in bytes.
    pub(super) fn max_message(&self) -> usize {
        self.max_message
    }

    /// A client of a tablet's manager.
    pub(super) fn manager(&self, tablet: &Tablet, method: &'static str) -> Result<TabletManagerClient<Connection>> {
        Ok(self.manager_over(self.channel(tablet, method)?))
    }

    fn manager_over(&self, connection: Connection) -> TabletManagerClient<Connection> {
        let client = TabletManagerClient::new(connection);
        client.max_decoding_message_size(self.max_message).max_encoding_message_size(self.max_message)
    }

    /// The error of an answer, or of there being none.
    fn failure(&self, alias: String, address: String, method: &'static str, status: &tonic::Status) -> Error {
        let withheld = self.pool.withholds(&address);
        let mut error = failure(alias, address, method, status);
        if let Error::Unreachable { detail, .. } = &mut error
            && withheld
        {
            detail.push_str(WITHHELD);
        }
        error
    }

    fn limit(&self, name: &str) -> Duration {
        if name == "short" { self.short } else { LONG }
    }

    async fn call<T, F>(
        &self,
        tablet: &Tablet,
        kind: Kind,
        send: impl FnOnce(TabletManagerClient<Connection>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    {
        self.over(tablet, kind, |connection| send(self.manager_over(connection))).await
    }

    /// A call that is made in whatever way: with span, limit, numbers, and the tablet in its error.
    pub(super) async fn over<T, F>(
        &self,
        tablet: &Tablet,
        Kind { service, method, limit, changes }: Kind,
        send: impl FnOnce(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    {
        let (alias, address) = (alias(tablet), address(tablet));
        let connection = self.channel(tablet, method)?;
        let span = span(tablet, service, method, &alias);
        let limit = deadline::remaining(limit);
        let sent = tokio::time::timeout(limit, send(connection).instrument(span.clone()));
        let start = Instant::now();
        let answer = failpoint::around(changes, sent).await;
        let code = code(&answer);
        traces::called(&span, code);
        metrics::tablet_call(&format!("{service}/{method}"), &address, code_name(code), start.elapsed());
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.failure(alias, address, method, &status)),
            Err(_) => Err(Error::Slow { alias, address, method, seconds: limit.as_secs() }),
        }
    }
}

/// Why a tablet's record names nothing to dial, in stock's words.
fn undialable(tablet: &Tablet) -> Option<String> {
    let port = tablet.port_map.get("grpc").copied();
    match port {
        _ if is_shut_down(tablet) => Some("tablet is shutdown".to_owned()),
        _ if tablet.hostname.is_empty() => Some("empty tablet hostname".to_owned()),
        _ if tablet.port_map.is_empty() => Some("no tablet port map".to_owned()),
        None | Some(..=0) => Some(format!("invalid tablet grpc port: {}", port.unwrap_or_default())),
        Some(_) => None,
    }
}

/// How a call with a time limit ended.
fn code<T>(answer: &std::result::Result<std::result::Result<T, tonic::Status>, Elapsed>) -> tonic::Code {
    match answer {
        Ok(Ok(_)) => tonic::Code::Ok,
        Ok(Err(status)) => status.code(),
        Err(_) => tonic::Code::DeadlineExceeded,
    }
}

/// The span of a call, by OpenTelemetry's conventions.
pub(super) fn span(tablet: &Tablet, service: &str, method: &str, alias: &str) -> Span {
    let method = format!("{service}/{method}");
    tracing::info_span!(
        traces::TABLET,
        otel.name = method,
        otel.kind = "client",
        rpc.system.name = "grpc",
        rpc.method = method,
        vitess.tablet.alias = alias,
        vitess.keyspace = tablet.keyspace,
        vitess.shard = tablet.shard,
        server.address = tablet.hostname,
        server.port = tablet.port_map.get("grpc").copied().unwrap_or_default(),
    )
}

fn is_select(query: &[u8]) -> bool {
    query.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"select"))
}

pub(super) fn failure(alias: String, address: String, method: &'static str, status: &tonic::Status) -> Error {
    let message = status.message().to_owned();
    let of_mysql = super::error::mysql_of(&message).is_some();
    let code = match status.code() {
        // from Vitess 23 on tablets give errors of MySQL a code
        tonic::Code::Unavailable if of_mysql => Code::Unavailable,
        tonic::Code::Unavailable => {
            return Error::Unreachable { alias, address, method, detail: with_cause(status.message(), status) };
        }
        // what a tablet sends has no cause: this is of the connection, so that nobody knows whether the tablet acted
        _ if std::error::Error::source(status).is_some() => {
            return Error::Unreachable { alias, address, method, detail: with_cause(status.message(), status) };
        }
        code => Code::of_grpc(code),
    };
    Error::Answered { alias, method, code, message }
}

/// The messages of these calls.
pub mod messages {
    pub use super::data::*;
}
