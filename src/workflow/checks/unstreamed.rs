//! What tablets cannot copy, or whose changes they cannot stream (Vitess 22.0.4 and 24.0.4 alike). MySQL takes all of it.
//!
//! A key with an expression has a hidden column, which is in the binlog and in no list of columns: a tablet copies the rows
//! of such a table, and ends the stream at the first change of one. The hidden column of a key of arrays has a type that
//! tablets do not know, and they read what the binlog says of a table before they ask whether it is wanted: a change of any
//! such table of the server ends every stream. Names are quoted where Vitess's parser has a word of that name, and MySQL
//! reserves some that it has not.

use std::collections::{BTreeMap, BTreeSet};

use super::servers::{Server, Servers};
use super::tables::{Definitions, Shapes, list};
use crate::error::check;
use crate::sql::ddl::{self, Key};
use crate::workflow::findings::{Finding, Severity};

/// A version of MySQL.
type Version = (u32, u32, u32);

const ALWAYS: Version = (0, 0, 0);
const NEVER: Version = (u32::MAX, 0, 0);
/// Words that tablets write without quotes, and the versions of MySQL from which and up to which it reserves them.
const UNQUOTED: &[(&str, Version, Version)] = &[
    ("cube", (8, 0, 11), NEVER),
    ("dual", ALWAYS, NEVER),
    ("except", (8, 0, 11), NEVER),
    ("external", (9, 4, 0), NEVER),
    ("intersect", (8, 0, 31), NEVER),
    ("io_before_gtids", ALWAYS, NEVER),
    ("library", (9, 4, 0), NEVER),
    ("master_ssl_verify_server_cert", ALWAYS, (8, 4, 0)),
];

/// Keys that keep changes from being streamed: those with expressions of `tables`, those of arrays of any table. `source` are
/// the source's shards with all their tables.
pub fn keys(tables: &[String], source: &[(String, &Definitions)]) -> Vec<Finding> {
    let moved: BTreeSet<&String> = tables.iter().collect();
    let mut functional: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut arrays: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (table, definition) in source.iter().flat_map(|(_, definitions)| definitions.iter()) {
        // most definitions need not be taken apart
        let text = definition.schema.as_str();
        let concerns = text.contains(" array)") || moved.contains(table) && has_expression(text);
        if !concerns {
            continue;
        }
        for key in ddl::shape(text).unwrap_or_default().keys.into_iter().filter(Key::is_functional) {
            if key.multi_valued {
                arrays.entry(table).or_default().insert(key.name);
            } else if moved.contains(table) {
                functional.entry(table).or_default().insert(key.name);
            }
        }
    }
    let of_arrays = arrays.iter().map(|(table, keys)| {
        let cause = format!(
            "unhandled data type: tablets cannot read changes of table {table}, moved or not: the first write to it on the source \
             ends every stream from its shard, for MySQL keeps arrays for {}",
            named(keys)
        );
        Finding::new(&check::MULTI_VALUED_KEY, format!("table {table}"), cause, FIX)
    });
    let of_expressions = functional.iter().map(|(table, keys)| {
        let cause = format!(
            "cannot determine table columns: tablets copy table {table}, and cannot stream its changes: the first write to it on \
             the source ends the streams from its shard, for MySQL keeps a hidden column for {}",
            named(keys)
        );
        let fix = format!("{FIX}; or leave it out with --exclude-tables");
        Finding::new(&check::FUNCTIONAL_KEY, format!("table {table}"), cause, fix)
    });
    of_arrays.chain(of_expressions).collect()
}

const FIX: &str = "drop the key in the source before create, and make it on the target after complete; or let nobody write to \
                    the table until then";

/// False where no key can have an expression: its part begins with a parenthesis.
fn has_expression(definition: &str) -> bool {
    definition.contains("KEY") && (definition.contains("((") || definition.contains(",("))
}

fn named(keys: &BTreeSet<String>) -> String {
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    format!("key{} {}", if names.len() == 1 { "" } else { "s" }, list(&names))
}

/// Tables whose name, or a column's, tablets do not quote although MySQL reserves it. That blocks where no tablet that streams
/// may read from could read the rows; `newer` are tablets of versions of which nobody knows what they quote.
pub fn names(tables: &[String], shapes: &Shapes, servers: &Servers, newer: bool) -> Vec<Finding> {
    let read: Vec<Option<Version>> = servers.source.iter().filter(|server| server.candidate).map(version).collect();
    let written: Vec<Option<Version>> = servers.target.iter().map(version).collect();
    let mut found = Vec::new();
    for table in tables {
        let columns = shapes.get(table).into_iter().flat_map(|shape| &shape.columns).map(|column| &column.name);
        let (mut bad, mut certain) = (BTreeSet::new(), false);
        for name in std::iter::once(table).chain(columns) {
            let known = UNQUOTED.iter().find(|(word, ..)| name.eq_ignore_ascii_case(word));
            let Some((_, from, before)) = known else { continue };
            let reserves = |version: &Version| version >= from && version < before;
            if read.iter().chain(&written).any(|version| version.as_ref().is_none_or(reserves)) {
                bad.insert(name.as_str());
                let all = read.iter().all(|version| version.as_ref().is_some_and(reserves));
                certain |= all && !read.is_empty() && !newer;
            }
        }
        if bad.is_empty() {
            continue;
        }
        let names: Vec<&str> = bad.into_iter().collect();
        let cause = format!(
            "You have an error in your SQL syntax: tablets do not quote these names of table {table}, which MySQL reserves, and \
             {}: {}",
            if certain { "cannot copy it" } else { "may not be able to copy it" },
            list(&names)
        );
        let fix =
            "rename them in the source (ALTER TABLE ... RENAME COLUMN), or leave the table out with --exclude-tables";
        let severity = if certain { Severity::Blocks } else { Severity::Warns };
        let finding = Finding::new(&check::NAME_NOT_QUOTED, format!("table {table}"), cause, fix);
        found.push(Finding { severity, ..finding });
    }
    found
}

/// The version of a server; `None` when it did not tell, or is MariaDB, which reserves other words.
fn version(server: &Server) -> Option<Version> {
    let text = server.answers.as_ref().ok()?.variables.get("version")?;
    if text.to_lowercase().contains("mariadb") {
        return None;
    }
    let mut parts = text.split(['.', '-']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests;
