//! The sizes of tables as their servers estimate them now.

use std::time::Duration;

use futures::future::{join, join_all};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::sql::rows;
use crate::workflow::progress::{Size, Sizes};
use crate::{deadline, tablet};

const RUNNING: &str = "select /*+ MAX_EXECUTION_TIME(2000) */ substring_index(substring_index(name, '/', -1), '#', 1) as t, sum(num_rows), \
     sum(clust_index_size + other_index_size) * @@innodb_page_size from information_schema.innodb_tablestats \
     where substring_index(name, '/', 1) = database() and stats_initialized = 'Initialized' group by t";

const STORED: &str = "select /*+ MAX_EXECUTION_TIME(2000) */ table_name, coalesce(table_rows, 0), coalesce(data_length + index_length, 0) \
     from information_schema.tables where table_schema = database() and table_type = 'BASE TABLE'";

const MAX_TABLES: u64 = 100_000;

/// Bound of a tablet that does not end them.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks one tablet for the sizes of its tables: one wave.
///
/// MySQL gives the statements up after two seconds: they wait as long as a change of a table's definition does, such as
/// the one that takes the secondary keys away before the copy.
pub async fn sizes(context: &Context, on: &Tablet) -> tablet::Result<Sizes> {
    let running = context.tablets.read(on, RUNNING.into(), MAX_TABLES);
    let stored = context.tablets.read(on, STORED.into(), MAX_TABLES);
    let until = deadline::remaining(TIMEOUT);
    let (running, stored) = deadline::scope(Some(deadline::now() + until), join(running, stored)).await;
    let mut sizes = decode(&stored?);
    match running {
        Ok(running) => sizes.extend(decode(&running)),
        Err(error) => tracing::debug!("no running figures of tables: {error}"),
    }
    Ok(sizes)
}

/// The sum over several tablets, asked in parallel.
///
/// # Errors
/// The first tablet that does not answer.
pub async fn total(context: &Context, tablets: &[Tablet]) -> tablet::Result<Sizes> {
    let mut total = Sizes::new();
    for answer in join_all(tablets.iter().map(|on| sizes(context, on))).await {
        for (table, size) in answer? {
            let sum = total.entry(table).or_default();
            sum.rows = sum.rows.saturating_add(size.rows);
            sum.bytes = sum.bytes.saturating_add(size.bytes);
        }
    }
    Ok(total)
}

/// Decodes the sizes of tables: name, rows, bytes. Figures that are none are 0.
pub fn decode(result: &QueryResult) -> Sizes {
    let size = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        let table = row.next()??;
        let mut number = || row.next().flatten().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default().max(0.0);
        #[allow(clippy::cast_possible_truncation)]
        let (rows, bytes) = (number() as i64, number() as i64);
        Some((table, Size { rows, bytes }))
    };
    rows::texts(result).into_iter().filter_map(size).collect()
}
