//! ApplySchema.

use vtmigrated_proto::tabletmanagerdata::{
    ApplySchemaRequest, ApplySchemaResponse, GetSchemaRequest, SchemaDefinition,
};

use super::schema;
use crate::{
    engine::{
        Context,
        error::{Error, Result},
        fetch,
    },
    sql,
};

/// Runs a script in one session, with the schema compared before and after if that was asked for.
pub async fn apply(context: &Context, request: ApplySchemaRequest) -> Result<ApplySchemaResponse> {
    let everything = GetSchemaRequest { include_views: true, ..GetSchemaRequest::default() };
    let before = schema::definition(context, &everything).await?;
    if let Some(expected) = &request.before_schema
        && !same(expected, &before)
    {
        if request.after_schema.as_ref().is_some_and(|after| same(after, &before)) {
            return Ok(ApplySchemaResponse { before_schema: Some(before.clone()), after_schema: Some(before) });
        }
        if !request.force {
            return Err(Error::unknown("BeforeSchema differs"));
        }
    }
    run(context, &request).await?;
    let after = schema::definition(context, &everything).await?;
    if request.after_schema.as_ref().is_some_and(|expected| !same(expected, &after)) && !request.force {
        return Err(Error::unknown("AfterSchema differs"));
    }
    Ok(ApplySchemaResponse { before_schema: Some(before), after_schema: Some(after) })
}

async fn run(context: &Context, request: &ApplySchemaRequest) -> Result<()> {
    let options = &context.shared.options;
    let mut script = format!("use {};\n", sql::quote(&options.db_name));
    if request.disable_foreign_key_checks {
        script.push_str("set foreign_key_checks = 0;\n");
    }
    if !request.allow_replication {
        script.push_str("set sql_log_bin = 0;\n");
    }
    if !request.sql_mode.is_empty() {
        script.push_str(&format!("set @@session.sql_mode={};\n", sql::string(&request.sql_mode)));
    }
    script.push_str(request.sql.trim().trim_end_matches(';'));
    let mut conn = context.shared.connect().await.map_err(|error| Error::connect(&error, options.mysql_port))?;
    let result = fetch::fetch_all(&mut conn, script.as_bytes(), u64::MAX).await;
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    result.map(|_| ())
}

/// The same names and statements.
fn same(left: &SchemaDefinition, right: &SchemaDefinition) -> bool {
    let tables = |schema: &SchemaDefinition| {
        let tables = schema.table_definitions.iter();
        tables.map(|table| (table.name.clone(), table.r#type.clone(), table.schema.clone())).collect::<Vec<_>>()
    };
    tables(left) == tables(right)
}
