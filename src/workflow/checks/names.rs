//! Names of tables that cannot come over as they are, for reasons of tablets, of MySQL, or of what the target has already.

use std::collections::{BTreeMap, BTreeSet};

use super::servers::Server;
use super::tables::{Definitions, list};
use crate::error::check;
use crate::workflow::findings::Finding;

/// Bytes of a table's name that tablets keep: `_vt.copy_state`, `_vt.post_copy_action` and `_vt.vdiff_table` (Vitess 22.0.3
/// and 24.0.4). MySQL takes 64 characters, which may be more.
const KEPT: usize = 128;
/// Says how a server treats the letter case of tables: 0 keeps it apart; 1 and 2 do not.
const LETTER_CASE: &str = "lower_case_table_names";

/// Names that streams cannot carry.
pub fn unfit(tables: &[String]) -> Vec<Finding> {
    let why = |table: &String| {
        if table.starts_with('/') {
            return Some("streams take a name that begins with a slash for a pattern".to_owned());
        }
        if table.contains('`') {
            return Some("tablets cannot read the columns of a table with a back-quote in its name".to_owned());
        }
        let bytes = table.len();
        (bytes > KEPT).then(|| format!("it has {bytes} bytes, and tablets keep {KEPT} of them (_vt.copy_state)"))
    };
    let finding = |table: &String| {
        let cause = format!("the name of table {table} cannot be carried by a stream: {}", why(table)?);
        let fix = "rename it in the source, or leave it out with --exclude-tables";
        Some(Finding::new(&check::TABLE_NAME_UNFIT, format!("table {table}"), cause, fix))
    };
    tables.iter().filter_map(finding).collect()
}

/// Tables of the target, moved or not, beside which its tablets run no stream: one finding. Before a stream runs, a tablet
/// reads the columns of all tables, and fails at such a name (Vitess 22.0.4 and 24.0.4, `buildColInfoMap`).
pub fn unreadable(keyspace: &str, there: &[Definitions]) -> Option<Finding> {
    let names = there.iter().flat_map(|tables| tables.keys().map(String::as_str));
    let names: BTreeSet<&str> = names.filter(|name| name.contains('`')).collect();
    let first = names.first()?;
    let cause = format!(
        "tables of target keyspace {keyspace} have a back-quote in their names: its tablets cannot read the columns of any table \
         then, and every stream ends: {}",
        list(&names.iter().copied().collect::<Vec<_>>())
    );
    let fix = format!("rename or drop them in {keyspace} (RENAME TABLE)");
    Some(Finding::new(&check::TARGET_NAME_UNREADABLE, format!("table {first}"), cause, fix))
}

/// Tables that all tables meant, and that stay behind for their names: one finding.
pub fn left_out(keyspace: &str, internal: &[String]) -> Option<Finding> {
    internal.first()?;
    let names: Vec<&str> = internal.iter().map(String::as_str).collect();
    let cause = format!(
        "tables with names like those that Vitess gives its own do not come over, its streams leave them out: {}",
        list(&names)
    );
    let fix = "if one of them is yours: rename it in the source (RENAME TABLE), then create the workflow again";
    Some(Finding::new(&check::INTERNAL_LEFT_OUT, format!("keyspace {keyspace}"), cause, fix))
}

/// Views of the target that have the name of a table.
pub fn views_in_the_way(tables: &[String], target: &[Server]) -> Vec<Finding> {
    let mut found = Vec::new();
    let exact: BTreeSet<&String> = tables.iter().collect();
    // of several tables the first one
    let folded: BTreeMap<String, &String> = tables.iter().rev().map(|table| (table.to_lowercase(), table)).collect();
    for server in target {
        let Ok(answers) = &server.answers else { continue };
        let views = answers.inventory.iter().filter(|(kind, _)| kind == "view").map(|(_, name)| name);
        for view in views {
            let same = if folds(server) { folded.get(&view.to_lowercase()) } else { exact.get(view) };
            let Some(table) = same else { continue };
            let cause = format!(
                "Table '{table}' already exists: on target shard {} it is a view, which stands in the way of the table",
                server.shard
            );
            let fix =
                format!("drop or rename the view there with ApplySchema, or leave {table} out with --exclude-tables");
            found.push(Finding::new(&check::VIEW_ON_TARGET, format!("table {table}"), cause, fix));
        }
    }
    found
}

/// Names that the target's servers would not keep apart, or would spell otherwise. `deferred`: a tablet looks its table up
/// without regard to letter case before it defers secondary keys, among all that are there, and gives up when it finds two.
pub fn letter_case(tables: &[String], target: &[Server], there: &BTreeSet<&str>, deferred: bool) -> Vec<Finding> {
    let folding = target.iter().find(|server| folds(server));
    let mut twins: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for table in tables {
        twins.entry(table.to_lowercase()).or_default().push(table);
    }
    // for a server that folds names a table of another spelling is the moved one itself
    for other in there.iter().filter(|_| deferred && folding.is_none()) {
        if let Some(names) = twins.get_mut(&other.to_lowercase()).filter(|names| !names.contains(other)) {
            names.push(other);
        }
    }
    twins.retain(|_, names| names.len() > 1);
    let mut found = Vec::new();
    for names in twins.into_values() {
        let subject = format!("table {}", names[0]);
        let names = list(&names);
        if let Some(Server { alias, .. }) = folding {
            let cause =
                format!("tables {names} are one for target tablet {alias}, whose lower_case_table_names is not 0");
            let fix = "rename one of them in the source, or leave it out with --exclude-tables";
            found.push(Finding::new(&check::LETTER_CASE, subject, cause, fix));
        } else if deferred {
            let cause = format!(
                "tables {names} differ in letter case only: tablets cannot tell them apart when they defer secondary keys"
            );
            let fix = "run create with --defer-secondary-keys=false";
            found.push(Finding::new(&check::LETTER_CASE, subject, cause, fix));
        }
    }
    if let Some(Server { alias, .. }) = target.iter().find(|server| letter_case_of(server) == Some("1")) {
        let capital: BTreeSet<&str> =
            tables.iter().map(String::as_str).filter(|table| table.to_lowercase() != *table).collect();
        if let Some(first) = capital.first() {
            let names: Vec<&str> = capital.iter().copied().collect();
            let cause = format!(
                "target tablet {alias} has lower_case_table_names=1 and would spell these tables in small letters, \
                 under which streams do not find them: {}",
                list(&names)
            );
            let fix =
                "rename them in the source, or let the target's MySQL keep letter case (lower_case_table_names=0)";
            found.push(Finding::new(&check::LETTER_CASE, format!("table {first}"), cause, fix));
        }
    }
    found
}

/// The server does not keep tables apart whose names differ in letter case only.
fn folds(server: &Server) -> bool {
    letter_case_of(server).is_some_and(|value| value != "0")
}

fn letter_case_of(server: &Server) -> Option<&str> {
    server.answers.as_ref().ok()?.variables.get(LETTER_CASE).map(String::as_str)
}

#[cfg(test)]
mod tests;
