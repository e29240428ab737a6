//! The calls of the tablet manager that the life of a Migrate has, from either vtctld (Vitess 24.0.4).

use std::time::SystemTime;

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use vtmigrated_proto::{
    query::{Field, QueryResult, Type},
    tabletmanagerdata::*,
    topodata::TabletType,
};

use super::{contents::Contents, result::changed, statement::Which, tablet::Tablet};

/// More rows than these are no answer of the engine's (Vitess 22.0.3).
const EXEC_ROWS: u64 = 10_000;

impl Tablet {
    /// Answers a call, encoded.
    ///
    /// # Errors
    /// What a tablet refuses.
    pub(super) fn manage(&self, method: &str, request: &Bytes) -> Result<Bytes, Status> {
        let of = Call { tablet: self, method, request };
        match method {
            "Ping" => of.read(|_, r: PingRequest| Ok(PingResponse { payload: r.payload })),
            "GetSchema" => of.read(get_schema),
            "ApplySchema" => {
                let now = of.tablet.now();
                of.write(|contents, r: ApplySchemaRequest| apply_schema(contents, &r.sql, now))
            }
            "ReloadSchema" => of.read(|_, _: ReloadSchemaRequest| Ok(ReloadSchemaResponse {})),
            "RefreshState" => of.read(|_, _: RefreshStateRequest| Ok(RefreshStateResponse {})),
            "PrimaryPosition" => {
                let position = self.seat.position.clone();
                of.read(|_, _: PrimaryPositionRequest| Ok(PrimaryPositionResponse { position }))
            }
            "ValidateVReplicationPermissions" => of.read(|_, _: ValidateVReplicationPermissionsRequest| {
                Ok(ValidateVReplicationPermissionsResponse { ok: true, ..Default::default() })
            }),
            _ if method.contains("VReplication") || method == "VDiff" => of.streams(),
            _ if method.starts_with("Execute") => of.statements(),
            _ => Err(Status::unimplemented(format!("a light tablet has no {method}"))),
        }
    }
}

/// A call under way.
struct Call<'a> {
    tablet: &'a Tablet,
    method: &'a str,
    request: &'a Bytes,
}

impl Call<'_> {
    fn read<Q, A>(&self, run: impl FnOnce(&mut Contents, Q) -> Result<A, String>) -> Result<Bytes, Status>
    where
        Q: Message + Default,
        A: Message,
    {
        let request = Q::decode(self.request.clone());
        let request = request.map_err(|e| Status::internal(format!("{}: {e}", self.method)))?;
        let answer = self.tablet.on(|contents, _| run(contents, request));
        answer.map(|answer| answer.encode_to_vec().into()).map_err(|why| self.tablet.failed(self.method, &why))
    }

    /// Only a primary changes anything.
    fn write<Q, A>(&self, run: impl FnOnce(&mut Contents, Q) -> Result<A, String>) -> Result<Bytes, Status>
    where
        Q: Message + Default,
        A: Message,
    {
        if self.tablet.seat.kind != TabletType::Primary {
            return Err(self.tablet.failed(self.method, "the tablet is not a primary: vreplication engine is closed"));
        }
        self.read(run)
    }

    fn streams(&self) -> Result<Bytes, Status> {
        let now = self.tablet.now();
        match self.method {
            "CreateVReplicationWorkflow" => self.write(|contents, r: CreateVReplicationWorkflowRequest| {
                let result = changed(r.binlog_source.len());
                contents.insert(r, now);
                Ok(CreateVReplicationWorkflowResponse { result: Some(result) })
            }),
            "HasVReplicationWorkflows" => self.read(|contents, _: HasVReplicationWorkflowsRequest| {
                Ok(HasVReplicationWorkflowsResponse { has: !contents.streams.is_empty() })
            }),
            "ReadVReplicationWorkflow" => self.read(|contents, r: ReadVReplicationWorkflowRequest| {
                let include_workflows = vec![r.workflow];
                let asked = ReadVReplicationWorkflowsRequest { include_workflows, ..Default::default() };
                Ok(contents.told(&asked, now).pop().unwrap_or_default())
            }),
            "ReadVReplicationWorkflows" => self.read(|contents, r: ReadVReplicationWorkflowsRequest| {
                Ok(ReadVReplicationWorkflowsResponse { workflows: contents.told(&r, now) })
            }),
            "UpdateVReplicationWorkflow" => self.write(|contents, r: UpdateVReplicationWorkflowRequest| {
                let count = contents.update(&r, now)?;
                Ok(UpdateVReplicationWorkflowResponse { result: (count > 0).then(|| changed(count)) })
            }),
            "DeleteVReplicationWorkflow" => self.write(|contents, r: DeleteVReplicationWorkflowRequest| {
                let count = contents.delete(&Which::Workflows(vec![r.workflow]));
                Ok(DeleteVReplicationWorkflowResponse { result: Some(changed(count)) })
            }),
            "VReplicationExec" => self.read(|contents, r: VReplicationExecRequest| {
                Ok(VReplicationExecResponse { result: Some(contents.run(&r.query, EXEC_ROWS, now)?) })
            }),
            "VReplicationWaitForPos" => self.read(|contents, r: VReplicationWaitForPosRequest| {
                let stream = contents.streams.iter().find(|stream| stream.id == r.id);
                let stream = stream.ok_or_else(|| format!("vreplication stream {} not found", r.id))?;
                match stream.told(now).pos == r.position.as_bytes() {
                    true => Ok(VReplicationWaitForPosResponse {}),
                    false => Err("error waiting for pos: context deadline exceeded".to_owned()),
                }
            }),
            "VDiff" => self.write(|contents, r: VDiffRequest| contents.diff(&r, now)),
            other => Err(Status::unimplemented(format!("a light tablet has no {other}"))),
        }
    }

    fn statements(&self) -> Result<Bytes, Status> {
        let now = self.tablet.now();
        let writes = self.tablet.seat.kind == TabletType::Primary;
        let one = |contents: &mut Contents, query: &str, max_rows: u64| -> Result<QueryResult, String> {
            if !writes && !query.trim_start_matches('(').to_ascii_lowercase().starts_with("select") {
                return Err("The MySQL server is running with the --super-read-only option so it cannot execute this statement \
                            (errno 1290) (sqlstate HY000)"
                    .to_owned());
            }
            contents.run(query, max_rows, now)
        };
        let run = |contents: &mut Contents, query: &[u8], max_rows: u64| -> Result<Option<QueryResult>, String> {
            one(contents, &String::from_utf8_lossy(query), max_rows).map(Some)
        };
        match self.method {
            "ExecuteFetchAsApp" => self.read(|contents, r: ExecuteFetchAsAppRequest| {
                Ok(ExecuteFetchAsAppResponse { result: run(contents, &r.query, r.max_rows)? })
            }),
            "ExecuteFetchAsDba" => self.read(|contents, r: ExecuteFetchAsDbaRequest| {
                Ok(ExecuteFetchAsDbaResponse { result: run(contents, &r.query, r.max_rows)? })
            }),
            "ExecuteFetchAsAllPrivs" => self.read(|contents, r: ExecuteFetchAsAllPrivsRequest| {
                Ok(ExecuteFetchAsAllPrivsResponse { result: run(contents, &r.query, r.max_rows)? })
            }),
            "ExecuteMultiFetchAsDba" => self.read(|contents, r: ExecuteMultiFetchAsDbaRequest| {
                let sql = String::from_utf8_lossy(&r.sql).into_owned();
                let queries = sql.split(';').map(str::trim).filter(|query| !query.is_empty());
                let results = queries.map(|query| one(contents, query, r.max_rows)).collect::<Result<_, _>>()?;
                Ok(ExecuteMultiFetchAsDbaResponse { results })
            }),
            other => Err(Status::unimplemented(format!("a light tablet has no {other}"))),
        }
    }
}

/// All tables, or those that are named; patterns other than `/.*/` are not known.
fn get_schema(contents: &mut Contents, r: GetSchemaRequest) -> Result<GetSchemaResponse, String> {
    let all = r.tables.is_empty() || r.tables.iter().any(|table| table == "/.*/");
    if let Some(pattern) = r.tables.iter().find(|table| !all && table.starts_with('/')) {
        return Err(format!("a light tablet does not match {pattern}"));
    }
    let named: std::collections::HashSet<&str> = r.tables.iter().map(String::as_str).collect();
    let there = contents.tables.iter().filter(|(name, _)| all || named.contains(&***name));
    let there = there.filter(|(name, _)| !r.exclude_tables.iter().any(|other| **other == ***name));
    let definitions = there.map(|(name, rows)| definition(name, *rows, r.table_schema_only)).collect();
    let schema = SchemaDefinition { table_definitions: definitions, ..SchemaDefinition::default() };
    Ok(GetSchemaResponse { schema_definition: Some(schema) })
}

fn definition(name: &str, rows: u64, schema_only: bool) -> TableDefinition {
    let columns = ["id", "v"];
    let field = |name: &str| Field {
        name: name.to_owned(),
        r#type: Type::Int64.into(),
        column_type: "bigint".to_owned(),
        ..Field::default()
    };
    let create = format!(
        "CREATE TABLE `{name}` (\n  `id` bigint NOT NULL,\n  `v` bigint DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB \
         DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    );
    let only = TableDefinition {
        name: name.to_owned(),
        schema: create,
        r#type: "BASE TABLE".to_owned(),
        ..Default::default()
    };
    if schema_only {
        return only;
    }
    TableDefinition {
        columns: columns.map(str::to_owned).to_vec(),
        primary_key_columns: vec!["id".to_owned()],
        row_count: rows,
        data_length: 16_384,
        fields: columns.map(field).to_vec(),
        ..only
    }
}

/// Makes the tables of a script one after the other, as MySQL does: those before one that fails are there.
fn apply_schema(contents: &mut Contents, sql: &str, now: SystemTime) -> Result<ApplySchemaResponse, String> {
    let lower = sql.to_ascii_lowercase();
    for (at, begin) in lower.match_indices("create table ") {
        let name = sql[at + begin.len()..].trim_start().trim_start_matches('`').split(['`', ' ', '(']).next();
        contents.create_table(name.unwrap_or_default(), now)?;
    }
    Ok(ApplySchemaResponse::default())
}
