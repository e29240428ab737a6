//! Picks the tablet that a stream reads from, as vreplication of 22.0.3 does.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::Code;
use vtmigrated::topo::{self, Topo, cell, external_cluster, shard};
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};

use super::engine::{
    Context,
    error::{Error, Result},
    row::StreamRow,
    source::SourceTablet,
};

/// Looks for one stream's source.
pub struct Picker {
    topo: Arc<Topo>,
    /// As given; may name aliases.
    cells: Vec<String>,
    local_cell: String,
    keyspace: String,
    shard: String,
    types: Vec<TabletType>,
    in_order: bool,
    delay: Duration,
}

/// How many delays a stream waits before it fails.
const TRIES: u32 = 5;

impl Picker {
    /// For the source of `row`: in the mounted cluster that it names, else in the own one. Cells and types of the row; without
    /// them the own cell and `replica,rdonly,primary`.
    ///
    /// # Errors
    /// An unknown mount, types that cannot be read, missing names.
    pub async fn new(context: &Context, row: &StreamRow) -> Result<Self> {
        let topo = open(context, &row.source.external_cluster).await?;
        let cells = if row.cell.is_empty() { &context.shared.options.cell } else { &row.cell };
        Self::over(context, topo, (&row.source.keyspace, &row.source.shard), cells, &row.tablet_types)
    }

    /// For a keyspace and shard of `topo`; `cells` are separated by commas.
    ///
    /// # Errors
    /// Types that cannot be read, missing names.
    pub fn over(
        context: &Context,
        topo: Arc<Topo>,
        (keyspace, shard): (&str, &str),
        cells: &str,
        tablet_types: &str,
    ) -> Result<Self> {
        let own = &context.shared.options.cell;
        let (types, in_order) = parse_types(tablet_types)?;
        let missing: Vec<&str> = [("Keyspace", keyspace), ("Shard", shard)]
            .iter()
            .filter_map(|(name, value)| value.is_empty().then_some(*name))
            .collect();
        if !missing.is_empty() {
            let text = format!("Missing required field(s) for tablet picker: {}", missing.join(", "));
            return Err(Error::new(Code::FailedPrecondition, text));
        }
        Ok(Self {
            topo,
            cells: cells.split(',').map(str::to_owned).collect(),
            local_cell: own.clone(),
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            types,
            in_order,
            delay: context.tuning.picker_delay,
        })
    }

    /// The best healthy tablet, within five delays.
    ///
    /// # Errors
    /// CANCELED `context has expired`.
    pub async fn pick(&self) -> Result<Tablet> {
        let picked = timeout(self.delay * TRIES, self.pick_at_last()).await;
        picked.map_err(|_| Error::new(Code::Cancelled, "context has expired"))
    }

    /// The best healthy tablet; looks again after the delay until there is one.
    pub async fn pick_at_last(&self) -> Tablet {
        loop {
            match self.look().await {
                Ok(Some(tablet)) => return tablet,
                Ok(None) => tracing::info!(
                    keyspace = self.keyspace,
                    shard = self.shard,
                    cells = ?self.cells,
                    "no healthy serving tablet found for streaming"
                ),
                Err(error) => {
                    tracing::error!(keyspace = self.keyspace, shard = self.shard, %error, "looking for tablets")
                }
            }
            sleep(self.delay).await;
        }
    }

    async fn look(&self) -> topo::Result<Option<Tablet>> {
        let all = self.topo.cells().await?;
        let (cells, local_alias) = self.expand(all.names().map(str::to_owned).collect()).await?;
        let aliases = if self.types == [TabletType::Primary] {
            let record = shard::get(self.topo.global(), &self.keyspace, &self.shard).await?;
            record.value.primary_alias.into_iter().collect()
        } else {
            let known = all.only(&cells)?;
            topo::tablet::replication(&known, &self.keyspace, &[&self.shard]).await.into_values().flatten().collect()
        };
        let aliases: Vec<TabletAlias> = aliases;
        let tablets = topo::tablet::get_many(&all, &aliases).await?;
        let wanted = tablets.into_values().filter(|tablet| self.types.contains(&tablet.r#type()));
        let mut candidates: Vec<Tablet> = wanted.collect();
        self.sort(&mut candidates, &local_alias);
        for tablet in candidates {
            if is_healthy(&tablet).await {
                return Ok(Some(tablet));
            }
        }
        Ok(None)
    }

    /// The cells to look in, and those that share an alias with the own cell. Names that are neither cell nor alias are
    /// ignored; the own cell and its alias are always among them.
    async fn expand(&self, known: Vec<String>) -> topo::Result<(Vec<String>, Vec<String>)> {
        let aliases = cell::aliases(self.topo.global()).await?;
        let local = aliases.iter().find(|(_, alias)| alias.cells.contains(&self.local_cell));
        let local = local.map(|(_, alias)| alias.cells.clone()).unwrap_or_default();
        let mut cells: Vec<String> = Vec::new();
        for name in self.cells.iter().chain([&self.local_cell]) {
            let expanded = match aliases.iter().find(|(alias, _)| alias == name) {
                _ if known.contains(name) => vec![name.clone()],
                Some((_, alias)) => alias.cells.clone(),
                None => Vec::new(),
            };
            cells.extend(expanded);
        }
        cells.extend(local.iter().cloned());
        cells.sort();
        cells.dedup();
        cells.retain(|cell| known.contains(cell));
        Ok((cells, local))
    }

    /// Own cell first, then its alias, then the rest; in each by type if that was asked for, else in any order.
    fn sort(&self, candidates: &mut [Tablet], local_alias: &[String]) {
        shuffle(candidates);
        candidates.sort_by_key(|tablet| {
            let cell = tablet.alias.as_ref().map(|alias| alias.cell.as_str()).unwrap_or_default();
            let near = match cell {
                cell if cell == self.local_cell => 0,
                cell if local_alias.iter().any(|local| local == cell) => 1,
                _ => 2,
            };
            let place = self.types.iter().position(|kind| *kind == tablet.r#type()).unwrap_or_default();
            (near, if self.in_order { place } else { 0 })
        });
    }
}

/// The topology of a mounted cluster; the own one when no mount is named.
///
/// # Errors
/// `no vitess cluster found with name <mount>`; the topology does not answer.
pub async fn open(context: &Context, mount: &str) -> Result<Arc<Topo>> {
    if mount.is_empty() {
        return Ok(Arc::clone(&context.topo));
    }
    let failed = |error: topo::Error| Error::unknown(error.to_string());
    let record = external_cluster::find(context.topo.global(), mount).await.map_err(failed)?;
    let record = record.ok_or_else(|| Error::unknown(format!("no vitess cluster found with name {mount}")))?;
    context.mounts.open(mount, &record.value).await.map_err(failed)
}

/// `in_order:replica,primary`, any case; empty means all that serve.
///
/// # Errors
/// FAILED_PRECONDITION for a name that is no type.
pub fn parse_types(text: &str) -> Result<(Vec<TabletType>, bool)> {
    let all = if text.is_empty() { "replica,rdonly,primary" } else { text };
    let (names, in_order) = match all.strip_prefix("in_order:") {
        Some(names) => (names, true),
        None => (all, false),
    };
    let types: Option<Vec<TabletType>> = names.split(',').map(parse_type).collect();
    match types {
        Some(types) => Ok((types, in_order)),
        None => Err(Error::new(Code::FailedPrecondition, format!("failed to parse list of tablet types: {text}"))),
    }
}

/// A type's name in any case, older names included.
#[must_use]
pub fn parse_type(name: &str) -> Option<TabletType> {
    match name.trim().to_uppercase().as_str() {
        "MASTER" => Some(TabletType::Primary),
        "BATCH" => Some(TabletType::Rdonly),
        name => TabletType::from_str_name(name),
    }
}

/// Only the first health message counts.
async fn is_healthy(tablet: &Tablet) -> bool {
    let asked = timeout(Duration::from_secs(15), async { SourceTablet::dial(tablet).await?.health().await }).await;
    let Ok(Ok(Some(health))) = asked else { return false };
    health.serving && health.realtime_stats.is_some_and(|stats| stats.health_error.is_empty())
}

/// Any order will do: each process hashes with other keys.
fn shuffle(candidates: &mut [Tablet]) {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    candidates.sort_by_cached_key(|tablet| state.hash_one(tablet.alias.as_ref().map(|alias| alias.uid)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_stock_reads_them() {
        assert_eq!(
            parse_types("in_order:REPLICA,primary").unwrap(),
            (vec![TabletType::Replica, TabletType::Primary], true)
        );
        assert_eq!(parse_types("").unwrap().0.len(), 3);
        let error = parse_types("replica,nosuch").unwrap_err();
        assert_eq!(error.to_string(), "failed to parse list of tablet types: replica,nosuch");
        assert_eq!(error.code(), Code::FailedPrecondition);
    }
}
