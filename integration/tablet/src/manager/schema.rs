//! GetSchema.

use mysql_async::{Conn, prelude::Queryable};
use regex::{Regex, RegexBuilder};
use vtmigrated_proto::tabletmanagerdata::{GetSchemaRequest, GetSchemaResponse, SchemaDefinition, TableDefinition};

use crate::{
    engine::{
        Context,
        error::{Error, Result},
        fetch,
    },
    schema, sql,
};

/// The tables that a request names.
pub async fn get(context: &Context, request: &GetSchemaRequest) -> Result<GetSchemaResponse> {
    Ok(GetSchemaResponse { schema_definition: Some(definition(context, request).await?) })
}

/// The same as a definition.
pub async fn definition(context: &Context, request: &GetSchemaRequest) -> Result<SchemaDefinition> {
    let wanted = Names::new(&request.tables)?;
    let excluded = Names::new(&request.exclude_tables)?;
    let options = &context.shared.options;
    let mut conn = context.shared.connect().await.map_err(|error| Error::connect(&error, options.mysql_port))?;
    let result = read(&mut conn, &options.db_name, request, &wanted, &excluded).await;
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    result
}

/// Exact names in any case, and patterns between slashes.
struct Names {
    exact: Vec<String>,
    patterns: Vec<Regex>,
}

impl Names {
    fn new(names: &[String]) -> Result<Self> {
        let mut exact = Vec::new();
        let mut patterns = Vec::new();
        for name in names {
            if let Some(pattern) = name.strip_prefix('/') {
                let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
                let compiled = RegexBuilder::new(pattern).case_insensitive(true).build();
                let refused = |error| Error::unknown(format!("cannot compile regexp {pattern} for table: {error}"));
                patterns.push(compiled.map_err(refused)?);
            } else {
                exact.push(name.to_lowercase());
            }
        }
        Ok(Self { exact, patterns })
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    fn contain(&self, name: &str) -> bool {
        self.exact.contains(&name.to_lowercase()) || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }
}

/// Name, type, bytes of data, estimated rows.
type Listed = (String, String, Option<u64>, Option<u64>);

async fn read(
    conn: &mut Conn,
    db: &str,
    request: &GetSchemaRequest,
    wanted: &Names,
    excluded: &Names,
) -> Result<SchemaDefinition> {
    // views name their database only to sessions elsewhere
    fetch::fetch(conn, b"use information_schema", 1).await?;
    let mut schema = SchemaDefinition::default();
    if !request.table_schema_only {
        let sql = format!("show create database if not exists {}", sql::quote(db));
        let created: Option<(String, String)> = query(conn, &sql).await?.into_iter().next();
        let text = created.map(|(_, text)| text).unwrap_or_default();
        schema.database_schema = text.replacen(&sql::quote(db), "`{{.DatabaseName}}`", 1);
    }
    let kinds = if request.include_views { "" } else { " and table_type = 'BASE TABLE'" };
    let sql = format!(
        "select table_name, table_type, data_length, table_rows from information_schema.tables \
         where table_schema = {}{kinds}",
        sql::string(db)
    );
    let mut listed: Vec<Listed> = query(conn, &sql).await?;
    listed.sort();
    for table in listed {
        if (wanted.is_empty() || wanted.contain(&table.0)) && !excluded.contain(&table.0) {
            schema.table_definitions.push(describe(conn, db, table, request.table_schema_only).await?);
        }
    }
    Ok(schema)
}

async fn describe(conn: &mut Conn, db: &str, listed: Listed, statement_only: bool) -> Result<TableDefinition> {
    let (name, kind, data_length, row_count) = listed;
    let is_view = kind == "VIEW";
    let qualified = format!("{}.{}", sql::quote(db), sql::quote(&name));
    let shown = conn.query_first::<mysql_async::Row, _>(format!("show create table {qualified}")).await;
    let Some(row) = gone(shown)?.flatten() else {
        return Ok(TableDefinition { name, ..TableDefinition::default() });
    };
    let text: String = row.get(1).unwrap_or_default();
    let mut table = TableDefinition {
        name: name.clone(),
        schema: if is_view {
            text.replace(&sql::quote(db), "`{{.DatabaseName}}`")
        } else {
            without_auto_increment(&text)
        },
        r#type: kind,
        data_length: data_length.unwrap_or_default(),
        row_count: row_count.unwrap_or_default(),
        ..TableDefinition::default()
    };
    if statement_only {
        return Ok(table);
    }
    if is_view {
        let sql = format!("select * from {qualified} where 1 != 1");
        table.fields = fetch::fetch(conn, sql.as_bytes(), 1).await?.fields;
        table.columns = table.fields.iter().map(|field| field.name.clone()).collect();
    } else if let Some(found) = gone(schema::read_table(conn, db, &name).await)?.flatten() {
        table.fields = found.fields();
        table.columns = found.columns.iter().map(|column| column.name().to_owned()).collect();
        let primary = found.key_index.as_deref() == Some("PRIMARY");
        let key = found.key.iter().filter(|_| primary);
        table.primary_key_columns = key.map(|&index| found.columns[index].name().to_owned()).collect();
    }
    Ok(table)
}

/// `None` for a table that was dropped meanwhile.
fn gone<T>(result: mysql_async::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(mysql_async::Error::Server(error)) if error.code == 1146 => Ok(None),
        Err(error) => Err(Error::mysql(&error, b"")),
    }
}

/// The text without ` AUTO_INCREMENT=<n>`, wherever it stands.
fn without_auto_increment(text: &str) -> String {
    let mut parts = text.split(" AUTO_INCREMENT=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

async fn query<T: mysql_async::prelude::FromRow + Send + 'static>(conn: &mut Conn, sql: &str) -> Result<Vec<T>> {
    conn.query(sql).await.map_err(|error| Error::mysql(&error, sql.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_or_patterns() {
        let names = Names::new(&["Customer".into(), "/^c.*r$/".into()]).unwrap();
        assert!(names.contain("customer") && names.contain("corder") && !names.contain("product"));
        assert!(Names::new(&["/(/".into()]).is_err());
    }

    #[test]
    fn counters_are_no_part_of_a_schema() {
        let text = "CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";
        assert_eq!(
            without_auto_increment(text),
            "CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
        );
    }
}
