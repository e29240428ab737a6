//! The schema changes of a keyspace, as its primaries have them.

use std::time::Duration;

use vtmigrated_proto::topodata::{Tablet, TabletAlias};
use vtmigrated_proto::vtctldata::schema_migration::Status;
use vtmigrated_proto::vtctldata::{QueryOrdering, SchemaMigration};

use super::{is_uuid, row};
use crate::cluster::{Error, Result, all};
use crate::context::Context;
use crate::sql::quote;
use crate::topo::{paths, shard, tablet};

/// Rows of a shard that a tablet gives, as in stock.
const MAX_ROWS: u64 = 10_000;
/// Tablets that are asked at a time.
const AT_ONCE: usize = 64;

/// Which schema changes to list: the first of id, context, status and age that is there counts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub uuid: String,
    pub migration_context: String,
    /// All when `UNKNOWN`.
    pub status: i32,
    /// Requested within this time.
    pub recent: Option<Duration>,
    pub order: i32,
    /// Of each shard; all when 0.
    pub limit: u64,
    /// Of each shard.
    pub skip: u64,
}

/// The schema changes of all shards, ascending by the primaries' aliases; within a shard in the order of their making, or the
/// opposite one. Shards whose primaries the topology does not tell are left out, as in stock.
///
/// # Errors
/// Bad filters; no such keyspace; a primary that does not answer.
pub async fn list(context: &Context, keyspace: &str, filter: &Filter) -> Result<Vec<SchemaMigration>> {
    let query = query(filter)?;
    paths::check_name(keyspace)?;
    let primaries = primaries(context, keyspace).await?;
    let calls: Vec<_> =
        primaries.iter().map(|primary| context.tablets.read(primary, query.clone(), MAX_ROWS)).collect();
    Ok(all(calls, AT_ONCE).await?.iter().flat_map(row::read).collect())
}

async fn primaries(context: &Context, keyspace: &str) -> Result<Vec<Tablet>> {
    let shards = shard::all(context.topo.global(), keyspace).await?;
    let primary = |shard: &vtmigrated_proto::topodata::Shard| shard.primary_alias.clone();
    let aliases: Vec<TabletAlias> = shards.iter().filter_map(|record| primary(&record.value)).collect();
    let cells = context.topo.cells().await?;
    let found = tablet::reachable(&cells, &aliases).await.tablets;
    if found.len() < shards.len() {
        let missing = shards.len() - found.len();
        tracing::warn!(
            vitess.keyspace = keyspace,
            missing,
            "schema migrations of shards without a primary are not listed"
        );
    }
    Ok(found.into_values().collect())
}

fn query(filter: &Filter) -> Result<String> {
    let times = row::TIMES.map(|(column, name)| format!("unix_timestamp({column}) as {name}")).join(", ");
    let condition = condition(filter)?;
    let order = match QueryOrdering::try_from(filter.order) {
        Ok(QueryOrdering::Descending) => "desc",
        Ok(_) => "asc",
        Err(_) => return Err(Error::bad_argument(format!("unknown ordering {}", filter.order))),
    };
    let limit = match (filter.skip, filter.limit) {
        (0, 0) => String::new(),
        // MySQL has no other way to say: all but the first
        (skip, 0) => format!(" limit {skip}, {}", u64::MAX),
        (skip, limit) => format!(" limit {skip}, {limit}"),
    };
    Ok(format!("select *, {times} from _vt.schema_migrations where {condition} order by `id` {order}{limit}"))
}

fn condition(filter: &Filter) -> Result<String> {
    let Filter { uuid, migration_context, status, recent, .. } = filter;
    if !uuid.is_empty() {
        if !is_uuid(uuid) {
            let shown: String = uuid.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Error::bad_argument(format!("{shown} is not a valid UUID")));
        }
        return Ok(format!("migration_uuid={}", quote::literal(uuid)));
    }
    if !migration_context.is_empty() {
        return Ok(format!("migration_context={}", quote::literal(migration_context)));
    }
    match (Status::try_from(*status), recent) {
        (Err(_), _) => Err(Error::bad_argument(format!("unknown status {status} of a schema migration"))),
        (Ok(Status::Unknown), None) => Ok("migration_uuid like '%'".to_owned()),
        (Ok(Status::Unknown), Some(recent)) => {
            Ok(format!("requested_timestamp > now() - interval {:.0} second", recent.as_secs_f64()))
        }
        (Ok(status), _) => {
            Ok(format!("migration_status={}", quote::literal(&status.as_str_name().to_ascii_lowercase())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Explain};

    fn ends(filter: &Filter) -> String {
        let query = query(filter).unwrap();
        assert!(query.starts_with("select *, unix_timestamp(added_timestamp) as added_at, "), "{query}");
        query.split_once(" where ").unwrap().1.to_owned()
    }

    #[test]
    fn the_first_filter_counts() {
        let uuid = "a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9a";
        let recent = Some(Duration::from_millis(604_800_400));
        let all = Filter {
            uuid: uuid.into(),
            migration_context: "it's".into(),
            status: Status::Running.into(),
            recent,
            ..Filter::default()
        };
        assert_eq!(ends(&all), format!("migration_uuid='{uuid}' order by `id` asc"));
        let context = Filter { uuid: String::new(), order: 2, ..all };
        assert_eq!(ends(&context), r"migration_context='it\'s' order by `id` desc");
        let status = Filter { migration_context: String::new(), limit: 10, ..context };
        assert_eq!(ends(&status), "migration_status='running' order by `id` desc limit 0, 10");
        let recent = Filter { status: 0, skip: 5, ..status };
        let shown = "requested_timestamp > now() - interval 604800 second order by `id` desc limit 5, 10";
        assert_eq!(ends(&recent), shown);
        let none = Filter { recent: None, order: 1, limit: 0, ..recent };
        assert_eq!(ends(&none), format!("migration_uuid like '%' order by `id` asc limit 5, {}", u64::MAX));
    }

    #[test]
    fn bad_filters_are_refused() {
        for bad in [
            Filter { uuid: "x' or '1".into(), ..Filter::default() },
            Filter { status: 99, ..Filter::default() },
            Filter { order: 9, ..Filter::default() },
        ] {
            assert_eq!(query(&bad).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}
