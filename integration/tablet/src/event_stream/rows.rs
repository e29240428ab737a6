//! Row events of the binlog as the stream sends them.

use mysql_async::binlog::{
    events::{RowsEventData, TableMapEvent},
    row::BinlogRow,
};
use vtmigrated_proto::{
    binlogdata::{RowChange, RowEvent},
    query::Row,
};

use super::{Error, RowError};
use crate::{
    filter::Plan,
    value::{self, Cell},
};

/// The changes that the plan selects, `None` when there are none. A row that leaves the selection has only its image from
/// before, one that enters it only the one from after.
pub(super) fn event(plan: &Plan, rows: &RowsEventData<'_>, map: &TableMapEvent<'_>) -> Result<Option<RowEvent>, Error> {
    if matches!(rows, RowsEventData::PartialUpdateRowsEvent(_))
        || rows.columns_before_image().is_some_and(|columns| !columns.all())
        || rows.columns_after_image().is_some_and(|columns| !columns.all())
    {
        return Err(Error::PartialImage);
    }
    let mut row_changes = Vec::new();
    for row in rows.rows(map) {
        let (before, after) = row?;
        let change = RowChange {
            before: image(plan, before.as_ref()).map_err(|source| Error::Row { image: "before", source })?,
            after: image(plan, after.as_ref()).map_err(|source| Error::Row { image: "after", source })?,
            ..RowChange::default()
        };
        if change.before.is_some() || change.after.is_some() {
            row_changes.push(change);
        }
    }
    let flags = rows.flags().bits().into();
    let table_name = plan.table.name.clone();
    Ok((!row_changes.is_empty()).then(|| RowEvent { table_name, row_changes, flags, ..RowEvent::default() }))
}

fn image(plan: &Plan, row: Option<&BinlogRow>) -> Result<Option<Row>, RowError> {
    let Some(row) = row else { return Ok(None) };
    let cell = |(n, column)| row.as_ref(n).map_or(Ok(None), |value| value::binlog_text(column, value));
    let cells: Vec<Cell> = plan.table.columns.iter().enumerate().map(cell).collect::<Result<_, _>>()?;
    Ok(plan.matches(&cells)?.then(|| plan.project(&cells)))
}
