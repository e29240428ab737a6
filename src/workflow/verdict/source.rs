//! What the source says of itself: positions, binlogs, columns, sizes.

use std::time::Duration;

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::PrimaryPositionRequest;
use vtmigrated_proto::topodata::{ExternalVitessCluster, Tablet};

use super::super::migrate::{gather, progress};
use super::schema::{self, Columns};
use crate::context::Context;
use crate::gtid::GtidSet;
use crate::sql::rows;

/// What is asked of a source.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub mount: String,
    pub keyspace: String,
    pub shards: Vec<String>,
    /// Tables whose columns are asked for; none: columns are not.
    pub tables: Vec<String>,
    /// Whether the sizes of all tables are asked for.
    pub sizes: bool,
    /// Bound of everything.
    pub within: Duration,
}

/// The answers of a source's primaries.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub shards: Vec<SourceShard>,
    /// Columns as the first shard has them; `None` when they were not asked for or it did not tell.
    pub columns: Option<Columns>,
    /// Sizes of all shards together, when asked for.
    pub sizes: Option<progress::Sizes>,
}

/// One shard's answers.
#[derive(Clone, Debug, Default)]
pub struct SourceShard {
    pub name: String,
    /// Executed transactions.
    pub position: GtidSet,
    /// Transactions that are in no binlog any more, if the tablet told.
    pub purged: Option<GtidSet>,
    /// Seconds for which binlogs are kept; 0: for ever.
    pub keeps: Option<i64>,
}

/// Works on MySQL 5.7 too, which has no `binlog_expire_logs_seconds`.
const BINLOGS: &str = "select variable_name, variable_value from performance_schema.global_variables \
     where variable_name in ('gtid_purged', 'binlog_expire_logs_seconds', 'expire_logs_days')";

impl Source {
    /// A shard by its name.
    pub fn shard(&self, name: &str) -> Option<&SourceShard> {
        self.shards.iter().find(|shard| shard.name == name)
    }
}

/// Asks the primaries of a source: three waves, or four when the mount's record is to be read too.
///
/// # Errors
/// A text for people when a primary does not tell its position. Of the rest, what is not told is missing.
pub async fn read(context: &Context, ask: &Ask, record: Option<&ExternalVitessCluster>) -> Result<Source, String> {
    let asked = async {
        let record = match record {
            Some(record) => record.clone(),
            None => gather::mount(context, &ask.mount).await.map_err(|e| e.to_string())?.value,
        };
        let topo = gather::open(context, &ask.mount, &record).await.map_err(|e| e.to_string())?;
        let primaries = gather::primaries(&topo, &ask.keyspace, &ask.shards).await.map_err(|e| e.to_string())?;
        let shards = join_all(primaries.iter().zip(&ask.shards).map(|(on, name)| shard(context, on, name)));
        let columns = async {
            let first = primaries.first().filter(|_| !ask.tables.is_empty())?;
            schema::columns(context, first, &ask.tables).await.ok()
        };
        let sizes = async {
            if !ask.sizes {
                return Ok(None);
            }
            progress::total(context, &primaries).await.map(Some).map_err(|e| e.to_string())
        };
        let (shards, columns, sizes) = futures::future::join3(shards, columns, sizes).await;
        let shards = shards.into_iter().collect::<Result<_, String>>()?;
        Ok(Source { shards, columns, sizes: sizes? })
    };
    match tokio::time::timeout(ask.within, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ask.within.as_secs())),
    }
}

async fn shard(context: &Context, on: &Tablet, name: &str) -> Result<SourceShard, String> {
    let position = context.tablets.primary_position(on, PrimaryPositionRequest {});
    let (position, binlogs) = join(position, context.tablets.read(on, BINLOGS.into(), 10)).await;
    let position = position.map_err(|e| e.to_string())?.position;
    let mut shard =
        SourceShard { name: name.to_owned(), position: GtidSet::parse(&position)?, ..SourceShard::default() };
    let binlogs = match binlogs {
        Ok(answer) => rows::texts(&answer),
        Err(error) => {
            tracing::debug!("the source did not tell of its binlogs: {error}");
            return Ok(shard);
        }
    };
    for row in binlogs {
        let [Some(variable), Some(value)] = row.as_slice() else { continue };
        match variable.as_str() {
            "gtid_purged" => shard.purged = GtidSet::parse(value).ok(),
            "binlog_expire_logs_seconds" => shard.keeps = value.parse().ok(),
            // of no effect while the one in seconds is set
            "expire_logs_days" if shard.keeps.is_none_or(|seconds| seconds == 0) => {
                shard.keeps = value.parse::<i64>().ok().map(|days| days * 86_400);
            }
            _ => {}
        }
    }
    Ok(shard)
}
