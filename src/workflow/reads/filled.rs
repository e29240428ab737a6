//! Which tables hold rows.

use std::collections::BTreeSet;

use futures::FutureExt;
use vtmigrated_proto::tabletmanagerdata::ExecuteFetchAsAllPrivsRequest;
use vtmigrated_proto::topodata::Tablet;

use super::servers::few;
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::tablet::{self, db_name};
use crate::workflow::{Error, Result};

/// The rows that a look for rows sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workflow) enum Visibility {
    Committed,
    /// Those of transactions that have not ended yet, too: it waits for their ends. Denied tables keep statements out, and
    /// not the ends of transactions.
    UnderWay,
}

/// Those of some tables that hold a row, asked in one statement, or in one for each table when one of them is gone meanwhile,
/// which holds none.
pub(in crate::workflow) async fn with_rows(
    context: &Context,
    tablet: &Tablet,
    tables: &[&String],
    which: Visibility,
) -> Result<Vec<String>> {
    match look(context, tablet, tables, which).await {
        Err(error) if error.is_missing_table() && tables.len() == 1 => Ok(Vec::new()),
        Err(error) if error.is_missing_table() => {
            let mut one_by_one = Vec::new();
            for one in tables.chunks(1) {
                one_by_one.push(look_if_there(context, tablet, one, which).boxed());
            }
            Ok(few(one_by_one).await?.concat())
        }
        answer => answer.map_err(Error::from),
    }
}

/// The same of one table, which may be gone.
async fn look_if_there(
    context: &Context,
    tablet: &Tablet,
    one: &[&String],
    which: Visibility,
) -> tablet::Result<Vec<String>> {
    match look(context, tablet, one, which).await {
        Err(error) if error.is_missing_table() => Ok(Vec::new()),
        answer => answer,
    }
}

/// The same of tables that are there.
async fn look(
    context: &Context,
    tablet: &Tablet,
    tables: &[&String],
    which: Visibility,
) -> tablet::Result<Vec<String>> {
    let lock = match which {
        Visibility::Committed => "",
        Visibility::UnderWay => " lock in share mode",
    };
    let ask = |(number, table): (usize, &&String)| {
        format!("select {number} from (select 1 from {} limit 1{lock}) as t{number}", quote::identifier(table))
    };
    let asks: Vec<String> = tables.iter().enumerate().map(ask).collect();
    let request = ExecuteFetchAsAllPrivsRequest {
        query: asks.join(" union all ").into_bytes(),
        db_name: db_name(tablet),
        max_rows: tables.len() as u64,
        reload_schema: false,
    };
    let answer = context.tablets.execute_fetch_as_all_privs(tablet, request).await?;
    let numbers = rows::texts(&answer.result.unwrap_or_default()).into_iter().flatten().flatten();
    let table = |number: String| tables.get(number.parse::<usize>().ok()?).map(|table| (*table).clone());
    Ok(numbers.filter_map(table).collect())
}

/// Tables that are looked into by one statement.
const AT_ONCE: usize = 200;

/// Those of some tables that hold rows. One statement after the other: MySQL gets no crowd of connections.
pub async fn filled(context: &Context, on: &Tablet, tables: &[String], which: Visibility) -> Result<BTreeSet<String>> {
    let tables: Vec<&String> = tables.iter().collect();
    let mut filled = BTreeSet::new();
    for some in tables.chunks(AT_ONCE) {
        filled.extend(with_rows(context, on, some, which).await?);
    }
    Ok(filled)
}
