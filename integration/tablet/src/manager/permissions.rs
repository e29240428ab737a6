//! GetPermissions.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use vtmigrated_proto::{
    query::QueryResult,
    tabletmanagerdata::{DbPermission, GetPermissionsResponse, Permissions, UserPermission},
};

use crate::{
    engine::{
        Context,
        error::{Error, Result},
        fetch,
    },
    sql,
};

/// Users and databases of the server; passwords only as a checksum.
pub async fn get(context: &Context) -> Result<GetPermissionsResponse> {
    let port = context.shared.options.mysql_port;
    let mut conn = context.shared.connect().await.map_err(|error| Error::connect(&error, port))?;
    let users = fetch::fetch(&mut conn, b"select * from mysql.user order by host, user", 10_000).await;
    let dbs = fetch::fetch(&mut conn, b"select * from mysql.db order by host, db, user", 10_000).await;
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    let user_permissions = named(&users?).into_iter().map(user).collect();
    let db_permissions = named(&dbs?).into_iter().map(db).collect();
    Ok(GetPermissionsResponse { permissions: Some(Permissions { user_permissions, db_permissions }) })
}

fn user(mut row: HashMap<String, String>) -> UserPermission {
    let password = row.remove("authentication_string").unwrap_or_default();
    row.remove("password_last_changed");
    let mut hasher = DefaultHasher::new();
    password.hash(&mut hasher);
    UserPermission {
        host: row.remove("host").unwrap_or_default(),
        user: row.remove("user").unwrap_or_default(),
        password_checksum: if password.is_empty() { 0 } else { hasher.finish() },
        privileges: row,
    }
}

fn db(mut row: HashMap<String, String>) -> DbPermission {
    DbPermission {
        host: row.remove("host").unwrap_or_default(),
        db: row.remove("db").unwrap_or_default(),
        user: row.remove("user").unwrap_or_default(),
        privileges: row,
    }
}

/// Rows by lower-case column name, NULL left out.
fn named(result: &QueryResult) -> Vec<HashMap<String, String>> {
    let rows = result.rows.iter().filter_map(|row| sql::values(row).ok());
    rows.map(|row| {
        let pairs = result.fields.iter().zip(row);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        pairs.filter_map(|(field, value)| value.map(|value| (field.name.to_lowercase(), text(value)))).collect()
    })
    .collect()
}
