//! One row of `vreplication`, as a stream reads it.

use std::collections::HashMap;

use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowType};

use super::{
    db::{Db, number, text},
    error::{Error, Result},
};
use crate::{gtid::GtidSet, prototext, sql};

/// States as they are stored.
pub const STOPPED: &str = "Stopped";
pub const COPYING: &str = "Copying";
pub const RUNNING: &str = "Running";
pub const ERROR: &str = "Error";

/// What a stream does and where it stands.
#[derive(Clone, Debug)]
pub struct StreamRow {
    pub id: i32,
    pub source: BinlogSource,
    /// Empty before the copy of the first table.
    pub pos: GtidSet,
    /// Empty for no stop.
    pub stop_pos: GtidSet,
    pub cell: String,
    pub tablet_types: String,
    pub state: String,
    pub workflow_type: i32,
    pub defer_secondary_keys: bool,
    pub rows_copied: u64,
    /// Tables that still have to be copied.
    pub tables_to_copy: u64,
    /// Config overrides.
    pub overrides: HashMap<String, String>,
}

impl StreamRow {
    /// True when nobody works on such a row.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == STOPPED || self.state == ERROR
    }

    /// True for the workflow types whose secondary keys may be dropped during the copy.
    #[must_use]
    pub fn may_defer_keys(&self) -> bool {
        matches!(
            VReplicationWorkflowType::try_from(self.workflow_type),
            Ok(VReplicationWorkflowType::MoveTables
                | VReplicationWorkflowType::Migrate
                | VReplicationWorkflowType::Reshard)
        )
    }
}

/// Reads a stream.
///
/// # Errors
/// Those of the server, a missing row, and a source or position that cannot be read.
pub async fn read(db: &mut Db, sidecar_db: &str, id: i32) -> Result<StreamRow> {
    let name = sql::quote(sidecar_db);
    let rows = db
        .rows(format!(
            "select id, source, ifnull(uncompress(pos), pos), stop_pos, cell, tablet_types, state, \
             workflow_type, defer_secondary_keys, rows_copied, \
             (select count(distinct table_name) from {name}.copy_state where vrepl_id = {id}), options \
             from {name}.vreplication where id = {id}"
        ))
        .await
        .map_err(|error| error.wrap("error reading VReplication settings"))?;
    let [row] = rows.as_slice() else {
        return Err(Error::unknown(format!(
            "error reading VReplication settings: checkpoint information not available in db for {id}"
        )));
    };
    let position = |column: usize, name: &str| {
        GtidSet::parse_position(&text(row, column))
            .map_err(|error| Error::unknown(format!("failed to parse {name} column: {error}")))
    };
    let source = row.get(1).and_then(Option::as_deref).unwrap_or_default();
    Ok(StreamRow {
        id,
        source: prototext::decode(source).map_err(|error| Error::unknown(error.to_string()))?,
        pos: position(2, "pos")?,
        stop_pos: position(3, "stop_pos")?,
        cell: text(row, 4),
        tablet_types: text(row, 5),
        state: text(row, 6),
        workflow_type: number(row, 7),
        defer_secondary_keys: number::<u8>(row, 8) != 0,
        rows_copied: number(row, 9),
        tables_to_copy: number(row, 10),
        overrides: overrides(&text(row, 11))?,
    })
}

fn overrides(options: &str) -> Result<HashMap<String, String>> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Options {
        config: HashMap<String, String>,
    }
    let options: Options = serde_json::from_str(if options.is_empty() { "{}" } else { options })
        .map_err(|error| Error::unknown(format!("failed to parse options column: {error}")))?;
    Ok(options.config)
}
