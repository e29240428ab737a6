//! What is read of one table on both sides, and by which columns rows are told apart.

use std::{collections::HashSet, time::Duration};

use mysql_async::{Conn, prelude::Queryable};
use sqlparser::{
    ast::{BinaryOperator, Expr, SelectItem, SetExpr, Statement},
    dialect::MySqlDialect,
    parser::Parser,
};
use tonic::{
    Code,
    transport::{self, Channel, Endpoint},
};
use vtmigrated::topo;
use vtmigrated_proto::{
    query::{Field, QueryResult, Type},
    tabletmanagerdata::{ExecuteFetchAsAppRequest, GetSchemaRequest, TableDefinition, VDiffTableLastPk},
    tabletmanagerservice::tablet_manager_client::TabletManagerClient,
    topodata::Tablet,
};

use super::{controller::Run, workflow::Workflow};
use crate::{
    engine::{
        apply::Zones,
        error::{Error, Result, go_name},
        plan::TableRule,
    },
    prototext,
    schema::{Column, Table, key},
    sql,
    value::{self, Cell},
};

/// A client of a tablet's manager.
type TabletManager = TabletManagerClient<Channel>;

/// How long a tablet's port may take to answer, and the largest message that its manager sends and takes.
const DIAL: Duration = Duration::from_secs(5);
const MESSAGE_LIMIT: usize = 16 << 20;

/// Bit of a field's flags: the column cannot be NULL.
const NOT_NULL: u32 = 1;

/// One column of both selects.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Column of the target.
    pub column: Column,
    /// As it stands in the source's select.
    pub source: String,
    /// As it stands in the target's select.
    pub target: String,
}

/// How a table is compared.
#[derive(Clone, Debug)]
pub(super) struct TablePlan {
    /// The target's table.
    pub table: Table,
    /// The tables' names as they stand in the selects.
    pub source_table: String,
    pub target_table: String,
    pub columns: Vec<Selected>,
    /// Indexes of the target's key columns into `columns`, in the key's order.
    pub key: Vec<usize>,
    /// The same of the source's key; empty when the source has no such table.
    source_key: Vec<usize>,
    pub source_query: String,
    pub target_query: String,
}

/// Words that a name must be put into back-quotes for: those that MySQL reserves. Stock quotes a few more.
pub(super) struct Reserved(HashSet<String>);

impl Reserved {
    /// # Errors
    /// Those of the server.
    pub(super) async fn read(conn: &mut Conn) -> Result<Self> {
        let sql = "select lower(word) from information_schema.keywords where reserved = 1";
        let words: Vec<String> = conn.query(sql).await.map_err(|error| Error::mysql(&error, sql.as_bytes()))?;
        Ok(Self(words.into_iter().collect()))
    }

    fn identifier(&self, name: &str) -> String {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let plain = plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if plain && !self.0.contains(&name.to_lowercase()) { name.to_owned() } else { sql::quote(name) }
    }
}

/// Plans a table of the target by its rule, and asks the source for its key.
///
/// # Errors
/// Columns that the target does not have; the source cannot be asked.
pub(super) async fn build(
    run: &Run,
    workflow: &Workflow,
    rule: &TableRule,
    table: Table,
    reserved: &Reserved,
) -> Result<TablePlan> {
    let mut plan = of_rule(rule, table, &workflow.zones, reserved, run)?;
    let of = |error: Error| {
        let keyspace = &workflow.keyspace;
        error.wrap(format!("could not get the primary key columns from the {keyspace} source keyspace"))
    };
    let source_key = source_key(run, workflow, &rule.source).await.map_err(of)?;
    let place = |name: &String| plan.columns.iter().position(|c| unquoted(&c.source).eq_ignore_ascii_case(name));
    plan.source_key = source_key.iter().filter_map(place).collect();
    Ok(plan)
}

impl TablePlan {
    #[cfg(test)]
    pub(super) fn for_tests(table: Table, source_table: &str, columns: Vec<Selected>) -> Self {
        Self {
            source_table: source_table.to_owned(),
            target_table: table.name.clone(),
            key: table.key.clone(),
            source_key: table.key.clone(),
            source_query: String::new(),
            target_query: String::new(),
            columns,
            table,
        }
    }

    /// Where both sides go on after a saved key: the source's, then the target's.
    ///
    /// # Errors
    /// The text is no such message.
    pub(super) fn decode_last(&self, text: &[u8]) -> Result<(Option<QueryResult>, Option<QueryResult>)> {
        if text.is_empty() {
            return Ok((None, None));
        }
        let last: VDiffTableLastPk = prototext::decode(text).map_err(|error| {
            let text = String::from_utf8_lossy(text);
            Error::unknown(format!(
                "failed to unmarshal lastpk value of {text} for the {} table: {error}",
                self.table.name
            ))
        })?;
        Ok((last.source.or_else(|| last.target.clone()), last.target))
    }

    /// The key of a row in the form that is saved; the source's own is there only when it is another one.
    ///
    /// # Errors
    /// None that a generated message can cause.
    pub(super) fn encode_last(&self, row: &[Cell]) -> Result<(String, VDiffTableLastPk)> {
        let result = |key: &[usize]| QueryResult {
            fields: key.iter().map(|&n| self.columns[n].column.field.clone()).collect(),
            rows: vec![value::to_row(key.iter().filter_map(|&n| row.get(n)))],
            ..QueryResult::default()
        };
        let source = (self.source_key != self.key).then(|| result(&self.source_key));
        let last = VDiffTableLastPk { target: Some(result(&self.key)), source };
        let text = prototext::encode(&last).map_err(|error| Error::unknown(error.to_string()))?;
        Ok((text, last))
    }
}

fn of_rule(rule: &TableRule, table: Table, zones: &Zones, reserved: &Reserved, run: &Run) -> Result<TablePlan> {
    let filter_identifier = |name: &str| reserved.identifier(name);
    let (selection, sources) = analyze(&rule.query)?;
    let names: Vec<String> = match &rule.columns {
        None => table.columns.iter().map(|column| column.name().to_owned()).collect(),
        Some(names) => names.clone(),
    };
    let sources = sources.unwrap_or_else(|| names.clone());
    let mut columns = Vec::with_capacity(names.len());
    for (name, source) in names.iter().zip(sources) {
        let Some(at) = table.column(name) else {
            let (table, tablet) = (&table.name, run.tablet());
            return Err(Error::unknown(format!("column {name} not found in table {table} on tablet {tablet}")));
        };
        let source = if *name == source {
            filter_identifier(&source)
        } else {
            format!("{} as {}", filter_identifier(&source), filter_identifier(name))
        };
        let column = table.columns[at].clone();
        let mut target = filter_identifier(name);
        // the stream has converted it on its way to the target
        if !zones.source.is_empty() && column.field.r#type() == Type::Datetime {
            target = format!(
                "convert_tz({target}, {}, {}) as {target}",
                sql::string(&zones.target),
                sql::string(&zones.source)
            );
        }
        columns.push(Selected { column, source, target });
    }
    let mut key = Vec::with_capacity(table.key.len());
    for &at in &table.key {
        let name = table.columns[at].name();
        let place = columns.iter().position(|c| c.column.name() == name);
        let missing = || Error::unknown(format!("column {name} not found in table {}", table.name));
        key.push(place.ok_or_else(missing)?);
    }
    let order = key.iter().map(|&at| format!("{} asc", filter_identifier(columns[at].column.name())));
    let order: Vec<String> = order.collect();
    let order = order.join(", ");
    let list = |text: fn(&Selected) -> &String| columns.iter().map(text).cloned().collect::<Vec<_>>().join(", ");
    let conditions = |kept: Vec<String>| match kept.as_slice() {
        [] => String::new(),
        kept => format!(" where {}", kept.join(" and ")),
    };
    let of_target = selection.iter().filter(|expr| !is_key_range(expr)).map(ToString::to_string).collect();
    let of_source = selection.iter().map(ToString::to_string).collect();
    Ok(TablePlan {
        source_query: format!(
            "select {} from {}{} order by {order}",
            list(|c| &c.source),
            filter_identifier(&rule.source),
            conditions(of_source)
        ),
        target_query: format!(
            "select {} from {}{} order by {order}",
            list(|c| &c.target),
            filter_identifier(&table.name),
            conditions(of_target)
        ),
        source_table: filter_identifier(&rule.source),
        target_table: filter_identifier(&table.name),
        source_key: Vec::new(),
        columns,
        key,
        table,
    })
}

/// The conditions of a rule that must all hold, and the source's column names unless it is `*`.
fn analyze(query: &str) -> Result<(Vec<Expr>, Option<Vec<String>>)> {
    let unexpected = || Error::unknown(format!("unexpected: {query}"));
    let mut statements = Parser::parse_sql(&MySqlDialect {}, query).map_err(|_| unexpected())?;
    let Some(Statement::Query(parsed)) = statements.pop() else { return Err(unexpected()) };
    let SetExpr::Select(select) = *parsed.body else { return Err(unexpected()) };
    let mut conditions = Vec::new();
    if let Some(selection) = select.selection {
        split(selection, &mut conditions);
    }
    if let [SelectItem::Wildcard(_)] = select.projection.as_slice() {
        return Ok((conditions, None));
    }
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name))
        | SelectItem::ExprWithAlias { expr: Expr::Identifier(name), .. } => Ok(name.value.clone()),
        other => Err(Error::unknown(format!("expression needs an alias: {other}"))),
    };
    let names = select.projection.iter().map(name).collect::<Result<_>>()?;
    Ok((conditions, Some(names)))
}

fn split(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, into);
            split(*right, into);
        }
        other => into.push(other),
    }
}

fn is_key_range(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("in_keyrange"))
}

/// The column of `a`, `` `a` `` and `a as b`.
fn unquoted(text: &str) -> String {
    let name = text.split(" as ").next().unwrap_or_default();
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(inner) => inner.replace("``", "`"),
        None => name.to_owned(),
    }
}

/// Names of the columns that order the table on the source, as its primary tells; none when it has no such table.
async fn source_key(run: &Run, workflow: &Workflow, table: &str) -> Result<Vec<String>> {
    let tablet = source_primary(run, workflow).await?;
    let alias = topo::paths::alias_text(&tablet.alias.clone().unwrap_or_default());
    let mut manager = dial(&tablet).await?;
    let request = GetSchemaRequest { tables: vec![table.to_owned()], ..GetSchemaRequest::default() };
    let answer = manager.get_schema(request).await.map_err(|status| {
        of_status(&status).wrap(format!("failed to get the schema for table {table} from source tablet {alias}"))
    })?;
    let definitions = answer.into_inner().schema_definition.unwrap_or_default().table_definitions;
    let Some(found) = definitions.into_iter().next() else {
        tracing::warn!(table, alias, "table not found on the source: all rows of the target will be extra");
        return Ok(Vec::new());
    };
    if !found.primary_key_columns.is_empty() {
        return Ok(found.primary_key_columns);
    }
    key_equivalent(&mut manager, &tablet, &found).await
}

/// The best unique key, else all columns.
async fn key_equivalent(manager: &mut TabletManager, tablet: &Tablet, table: &TableDefinition) -> Result<Vec<String>> {
    let database = if tablet.db_name_override.is_empty() {
        format!("vt_{}", tablet.keyspace)
    } else {
        tablet.db_name_override.clone()
    };
    let query = format!(
        "select index_name, column_name, sub_part from information_schema.statistics \
         where table_schema = {} and table_name = {} and non_unique = 0 order by index_name, seq_in_index",
        sql::string(&database),
        sql::string(&table.name)
    );
    let request = ExecuteFetchAsAppRequest { query: query.into_bytes(), max_rows: 1000 };
    let answer = manager.execute_fetch_as_app(request).await.map_err(|status| {
        let table = &table.name;
        of_status(&status).wrap(format!("failed to get a primary key equivalent for the {table} table"))
    })?;
    let rows = answer.into_inner().result.unwrap_or_default().rows;
    let parts = rows.iter().map(|row| {
        let cells = sql::values(row).map_err(Error::unknown)?;
        let text = |at: usize| cells.get(at).copied().flatten().map(|v: &[u8]| String::from_utf8_lossy(v).into_owned());
        Ok((text(0).unwrap_or_default(), text(1), text(2).and_then(|length| length.parse().ok())))
    });
    let columns: Vec<Column> = table.fields.iter().map(column_of).collect();
    let (_, chosen) = key::choose(parts.collect::<Result<_>>()?, &columns);
    Ok(chosen.into_iter().map(|at| columns[at].name().to_owned()).collect())
}

fn column_of(field: &Field) -> Column {
    Column {
        field: field.clone(),
        charset: None,
        nullable: field.flags & NOT_NULL == 0,
        generated: false,
        members: Vec::new(),
    }
}

async fn source_primary(run: &Run, workflow: &Workflow) -> Result<Tablet> {
    let keyspace = &workflow.keyspace;
    let Some(shard) = workflow.sources.keys().next() else {
        let text = format!("no source shards found in {keyspace} keyspace");
        return Err(Error::new(Code::FailedPrecondition, text));
    };
    let failed = |error: topo::Error| Error::unknown(error.to_string());
    let topo = workflow.topo(run).await?;
    let record = topo::shard::get(topo.global(), keyspace, shard).await;
    let record = record.map_err(|error| failed(error).wrap(format!("failed to get source shard {shard}")))?;
    let Some(alias) = record.value.primary_alias else {
        let text = format!("source shard {shard} has no primary");
        return Err(Error::new(Code::FailedPrecondition, text));
    };
    let tablet = async { topo::tablet::get(&topo.cells().await?, &alias).await };
    tablet
        .await
        .map_err(|error| failed(error).wrap(format!("failed to get primary tablet in source shard {keyspace}/{shard}")))
}

/// Dials a tablet's manager.
///
/// # Errors
/// Nobody listens there.
pub(super) async fn dial(tablet: &Tablet) -> Result<TabletManager> {
    let port = tablet.port_map.get("grpc").copied().unwrap_or_default();
    let connected = async {
        let endpoint = Endpoint::from_shared(format!("http://{}:{port}", tablet.hostname))?;
        endpoint.connect_timeout(DIAL).tcp_nodelay(true).connect().await
    };
    let channel = connected
        .await
        .map_err(|error: transport::Error| Error::unknown(format!("rpc error: code = Unavailable desc = {error}")))?;
    let client = TabletManager::new(channel);
    Ok(client.max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
}

/// What a tablet manager answered, as Go's gRPC library prints it.
pub(super) fn of_status(status: &tonic::Status) -> Error {
    Error::new(status.code(), format!("rpc error: code = {} desc = {}", go_name(status.code()), status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_taken_apart_and_names_are_the_sources() {
        let (conditions, names) =
            analyze("select id, `order` as rank_no from t where in_keyrange(id, 'c.hash', '-80') and tenant = 1")
                .unwrap();
        assert_eq!(names, Some(vec!["id".to_owned(), "order".to_owned()]));
        let kept: Vec<String> = conditions.iter().filter(|expr| !is_key_range(expr)).map(ToString::to_string).collect();
        assert_eq!(kept, ["tenant = 1"]);
        assert_eq!(unquoted("`or``der` as b"), "or`der");
        assert!(analyze("select count(*) from t").is_err());
    }
}
