//! Secondary keys: dropped before a copy, made again after it.

use serde::{Deserialize, Serialize};

use super::{
    db::{Db, text},
    error::{Error, Result},
    log::Kind,
    stream::Stream,
};
use crate::sql::{self, quote};

/// A row of `post_copy_action`. Type 1 is an SQL statement, the only one there is.
#[derive(Debug, Deserialize, Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: i32,
    task: String,
}

const SQL_ACTION: i32 = 1;
const DUPLICATE_KEY_NAME: u16 = 1061;
const CANNOT_DROP_KEY: u16 = 1091;

/// Saves the statement that makes a table's secondary keys, then drops them. Doing it again is harmless.
///
/// # Errors
/// Those of the server.
pub async fn stash(stream: &Stream, table: &str) -> Result<()> {
    let mut db = side_connection(stream, "saving secondary keys for deferred creation").await?;
    let result = stash_with(stream, table, &mut db).await;
    db.close().await;
    result
}

async fn stash_with(stream: &Stream, table: &str, db: &mut Db) -> Result<()> {
    let name = qualified(stream, table);
    let keys = droppable_keys(&create_statement(db, &name).await?);
    if keys.is_empty() {
        return Ok(());
    }
    let added: Vec<String> = keys.iter().map(|key| format!("add {}", key.definition)).collect();
    let dropped: Vec<String> = keys.iter().map(|key| format!("drop key {}", key.name)).collect();
    let action = Action { kind: SQL_ACTION, task: format!("alter table {name} {}", added.join(", ")) };
    let action = serde_json::to_string(&action).map_err(|error| Error::unknown(error.to_string()))?;
    // a row that is there already was saved before an interruption, when the keys still existed
    let insert = format!(
        "insert ignore into {}(vrepl_id, table_name, action) values({}, {}, _utf8mb4{})",
        stream.table("post_copy_action"),
        stream.id,
        sql::string(table),
        sql::string(&action)
    );
    db.run(insert).await?;
    match db.run(format!("alter table {name} {}", dropped.join(", "))).await {
        // another stream into the same table was faster
        Err(error) if error.errno() == Some(CANNOT_DROP_KEY) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Does what was saved for a table.
///
/// # Errors
/// Those of the server.
pub async fn restore(stream: &mut Stream, table: &str) -> Result<()> {
    let mut db = side_connection(stream, "executing post copy actions").await?;
    let result = restore_with(stream, table, &mut db).await;
    db.close().await;
    result
}

async fn restore_with(stream: &mut Stream, table: &str, db: &mut Db) -> Result<()> {
    let actions = stream.table("post_copy_action");
    let name = sql::string(table);
    let rows = db
        .rows(format!("select id, action from {actions} where vrepl_id = {} and table_name = {name}", stream.id))
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    stream.log(Kind::CopyStarted, &format!("Executing {} post copy action(s) for {table} table", rows.len())).await?;
    for row in rows {
        let action: Action = serde_json::from_str(&text(&row, 1)).map_err(|error| Error::unknown(error.to_string()))?;
        if action.kind != SQL_ACTION {
            return Err(Error::unknown(format!("unsupported post copy action type: {}", action.kind)));
        }
        let id = text(&row, 0);
        if !others_will_do(stream, table, db, &text(&row, 1)).await? {
            run_action(stream, table, db, &action.task).await?;
        }
        db.run(format!("delete from {actions} where id = {id}")).await?;
    }
    stream.log(Kind::CopyStarted, &format!("Completed all post copy actions for {table} table")).await
}

/// Several streams may copy into one table: the last one makes the keys.
async fn others_will_do(stream: &Stream, table: &str, db: &mut Db, action: &str) -> Result<bool> {
    let sql = format!(
        "select p.action from {} as p join {} as v on v.id = p.vrepl_id \
         where p.table_name = {} and p.vrepl_id != {} and v.db_name = {}",
        stream.table("post_copy_action"),
        stream.table("vreplication"),
        sql::string(table),
        stream.id,
        sql::string(&stream.shared.options.db_name)
    );
    Ok(db.rows(sql).await?.iter().any(|row| text(row, 0) == action))
}

async fn run_action(stream: &Stream, table: &str, db: &mut Db, task: &str) -> Result<()> {
    let Err(error) = db.run(task).await else { return Ok(()) };
    if error.errno() != Some(DUPLICATE_KEY_NAME) {
        return Err(error);
    }
    // done before an interruption, if every key is there as it should be
    let create = create_statement(db, &qualified(stream, table)).await?;
    let wanted = task.split_once("add ").map(|(_, keys)| keys).unwrap_or_default();
    let done = wanted.split(", add ").all(|key| key_lines(&create).any(|line| line == key));
    if done { Ok(()) } else { Err(error) }
}

/// A session without the stream's transaction: DDL commits.
async fn side_connection(stream: &Stream, purpose: &str) -> Result<Db> {
    let mut db = Db::connect_stream(&stream.shared)
        .await
        .map_err(|error| error.wrap(format!("unable to connect to the database when {purpose}")))?;
    db.run("set @@session.foreign_key_checks = 0").await?;
    Ok(db)
}

fn qualified(stream: &Stream, table: &str) -> String {
    format!("{}.{}", quote(&stream.shared.options.db_name), quote(table))
}

async fn create_statement(db: &mut Db, name: &str) -> Result<String> {
    let rows = db.rows(format!("show create table {name}")).await?;
    Ok(rows.first().map(|row| text(row, 1)).unwrap_or_default())
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    /// In backticks.
    name: String,
    /// As in the CREATE statement.
    definition: String,
}

fn key_lines(create: &str) -> impl Iterator<Item = &str> {
    let lines = create.lines().map(|line| line.trim().trim_end_matches(','));
    lines.filter(|line| ["KEY ", "UNIQUE KEY ", "SPATIAL KEY "].iter().any(|start| line.starts_with(start)))
}

/// Keys that the copy can do without. Full-text keys stay (each would rebuild the table), and so do those that a foreign
/// key or an auto-increment column needs, and unique keys that stand in for a primary key.
fn droppable_keys(create: &str) -> Vec<Key> {
    let lines = || create.lines().map(str::trim);
    let has_primary = lines().any(|line| line.starts_with("PRIMARY KEY "));
    let mut needed: Vec<String> = Vec::new();
    for line in lines() {
        if let Some((_, rest)) = line.split_once(" FOREIGN KEY (") {
            needed.extend(rest.split_once(')').map(|(columns, _)| columns.replace(", ", ",").to_lowercase()));
        } else if line.starts_with('`') && line.contains(" AUTO_INCREMENT") {
            needed.extend(line.split_inclusive('`').nth(1).map(|rest| format!("`{rest}").to_lowercase()));
        }
    }
    let mut keys = Vec::new();
    for line in key_lines(create) {
        let Some((name, columns)) = name_and_columns(line) else { continue };
        let is_needed = needed
            .iter()
            .any(|needed| columns.strip_prefix(needed.as_str()).is_some_and(|rest| rest.starts_with([',', ')'])));
        if is_needed || (line.starts_with("UNIQUE ") && !has_primary) {
            continue;
        }
        keys.push(Key { name: name.to_owned(), definition: line.to_owned() });
    }
    keys
}

/// The quoted name of a key line, and what follows its `(`, lower case.
fn name_and_columns(line: &str) -> Option<(&str, String)> {
    let name = &line[line.find('`')?..];
    let bytes = name.as_bytes();
    let mut end = 1;
    while bytes.get(end..end + 2) == Some(b"``") || *bytes.get(end)? != b'`' {
        end += if bytes[end] == b'`' { 2 } else { 1 };
    }
    Some((&name[..=end], name[end + 1..].split_once('(')?.1.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(create: &str) -> Vec<String> {
        droppable_keys(create).into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn keys_that_something_needs_stay() {
        let create = "CREATE TABLE `t` (\n  `id` bigint NOT NULL,\n  `n` int NOT NULL AUTO_INCREMENT,\n  `a` int,\n  `b c` int,\n  \
                      PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`),\n  KEY `n` (`n`),\n  KEY `f` (`a`,`b c`),\n  KEY `b (x` (`b c`) USING BTREE,\n  \
                      FULLTEXT KEY `ft` (`t`),\n  CONSTRAINT `fk` FOREIGN KEY (`a`, `b c`) REFERENCES `p` (`x`, `y`)\n) ENGINE=InnoDB";
        let keys = droppable_keys(create);
        assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["`u`", "`b (x`"]);
        assert_eq!(keys[1].definition, "KEY `b (x` (`b c`) USING BTREE");
    }

    #[test]
    fn without_a_primary_key_the_unique_keys_stay() {
        let create = "CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `b` int,\n  UNIQUE KEY `u` (`a`),\n  KEY `k` (`b`)\n)";
        assert_eq!(names(create), ["`k`"]);
    }
}
