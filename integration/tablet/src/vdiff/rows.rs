//! Rows of one side in the order of their key, merged from all its shards.

use std::{collections::VecDeque, sync::Arc};

use tonic::Streaming;
use vtmigrated_proto::{binlogdata::VStreamRowsResponse, query::QueryResult, topodata::Tablet};

use super::order::{self, Order, Part};
use crate::{
    engine::{
        error::{Error, Result},
        source::SourceTablet,
    },
    value::{self, Cell},
};

/// A row with what it is ordered by.
#[derive(Clone, Debug)]
pub(super) struct KeyedRow {
    pub key: Vec<Part>,
    /// Shared with whoever remembers the row.
    pub cells: Arc<Vec<Cell>>,
}

/// The rows of one shard, from a snapshot that lasts as long as this.
pub(super) struct ShardRows {
    stream: Streaming<VStreamRowsResponse>,
    /// Where the snapshot was taken.
    pub position: String,
    waiting: VecDeque<KeyedRow>,
    ended: bool,
}

impl ShardRows {
    /// Opens a snapshot on a tablet. `who` is the tablet that asks, for texts.
    ///
    /// # Errors
    /// The tablet's; an answer without fields.
    pub(super) async fn open(tablet: &Tablet, query: &str, after: Option<QueryResult>, who: &str) -> Result<Self> {
        let mut stream = SourceTablet::dial(tablet).await?.rows(query, after).await?;
        let first = stream.message().await.map_err(|status| Error::from_tablet(&status))?.unwrap_or_default();
        if first.fields.is_empty() {
            let text = format!("did not received expected fields in response {first:?} on tablet {who}");
            return Err(Error::unknown(text));
        }
        let waiting = VecDeque::new();
        Ok(Self { stream, position: first.gtid, waiting, ended: false })
    }

    /// Reads on until there is a row or the end.
    async fn fill(&mut self, order: &mut Order) -> Result<()> {
        while self.waiting.is_empty() && !self.ended {
            let Some(message) = self.stream.message().await.map_err(|status| Error::from_tablet(&status))? else {
                self.ended = true;
                return Ok(());
            };
            let rows = message.rows.iter().map(value::from_row).collect::<std::result::Result<Vec<_>, _>>();
            let rows = rows.map_err(|error| Error::unknown(error.to_string()))?;
            let keys = order.keys(&rows).await?;
            let keyed = keys.into_iter().zip(rows).map(|(key, cells)| KeyedRow { key, cells: Arc::new(cells) });
            self.waiting.extend(keyed);
        }
        Ok(())
    }
}

/// The rows of all shards of one side.
pub(super) struct Merged {
    shards: Vec<ShardRows>,
    order: Order,
}

impl Merged {
    pub(super) fn new(shards: Vec<ShardRows>, order: Order) -> Self {
        Self { shards, order }
    }

    /// The row with the lowest key that is left.
    ///
    /// # Errors
    /// Those of the tablets.
    pub(super) async fn next(&mut self) -> Result<Option<KeyedRow>> {
        let mut lowest: Option<usize> = None;
        for at in 0..self.shards.len() {
            self.shards[at].fill(&mut self.order).await?;
            let Some(row) = self.shards[at].waiting.front() else { continue };
            let lower = |other: usize| {
                let other = self.shards[other].waiting.front();
                other.is_none_or(|other| order::compare(&row.key, &other.key).is_lt())
            };
            if lowest.is_none_or(lower) {
                lowest = Some(at);
            }
        }
        Ok(lowest.and_then(|at| self.shards[at].waiting.pop_front()))
    }

    /// Counts the rows that are left.
    ///
    /// # Errors
    /// Those of the tablets.
    pub(super) async fn drain(&mut self) -> Result<i64> {
        let mut count = 0;
        while self.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}
