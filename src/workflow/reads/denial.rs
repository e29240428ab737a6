//! Whether clients are denied the tables that a shard's record denies, as its primary says.
//!
//! A tablet tells of a record that it could not put in force when it is refreshed (Vitess 22.0.4 and 24.0.4, `RefreshState`), but not when
//! it starts or is promoted while its MySQL does not answer (`tmState.Open`): from then on it denies nothing. Nor does its query service
//! deny a table that it does not know, such as one that somebody made in MySQL less than half an hour ago.

use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::sql::quote;
use crate::tablet;

/// A write of a client's that changes nothing.
fn write(table: &str) -> String {
    format!("delete from {} where 1 = 0 limit 0", quote::identifier(table))
}

/// True when a primary denies clients the first of some tables that is there, or none is. A tablet puts all that a record denies in force at
/// once, so one of those that were denied together stands for all: one call.
///
/// # Errors
/// A primary that does not tell, such as one that does not serve.
pub async fn is_in_force(context: &Context, on: &Tablet, tables: &[&String]) -> tablet::Result<bool> {
    for table in tables {
        match context.tablets.denies(on, write(table)).await {
            Err(error) if error.is_missing_table() => {}
            told => return told,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_changes_nothing() {
        assert_eq!(write("a`b"), "delete from `a``b` where 1 = 0 limit 0");
    }
}
