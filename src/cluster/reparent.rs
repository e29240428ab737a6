//! Making a tablet the first primary of its shard.
//!
//! Moving the primary of a shard that has one is not done here: [`first_election`] says so before anything is done, and
//! the caller can forward the call ([`Reason::NOT_FIRST_ELECTION`]).

mod elect;
mod init;
mod journal;

use std::time::Duration;

use futures::future::{join_all, try_join};
use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Keyspace, Shard, Tablet, TabletAlias, TabletType};

pub use self::init::{Init, init_shard_primary};
use super::durability::Durability;
use super::keyspace::finish;
use super::{Error, Result, shard, tablet};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{Lock, keyspace as keyspaces, paths, shard as shards};

/// Waiting time for replicas when the request has none.
pub const WAIT_REPLICAS: Duration = Duration::from_secs(30);
/// Time for tablets to answer before the first of them is made primary, as stock's flag `--remote_operation_timeout` has it.
const REACHED: Duration = Duration::from_secs(15);
/// The counter by which equally good tablets are told apart.
const BUFFER_POOL: &str = "Innodb_buffer_pool_pages_data";

/// Who shall be primary.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub keyspace: String,
    pub shard: String,
    /// The best of the replicas when not given.
    pub new: Option<TabletAlias>,
    pub avoid: Option<TabletAlias>,
    /// Refuse when the shard's record names another primary.
    pub expected: Option<TabletAlias>,
    pub wait_replicas: Option<Duration>,
    /// Replicas that are further behind are no candidates; zero for any.
    pub tolerable_lag: Duration,
}

/// The primary that was made, and what was told on the way.
#[derive(Clone, Debug, Default)]
pub struct Elected {
    pub primary: Option<TabletAlias>,
    pub events: Vec<Event>,
}

/// A shard with its tablets, read under its lock.
struct State {
    record: Shard,
    durability: Durability,
    tablets: Vec<Tablet>,
}

/// Whether a shard can be served by [`planned`]: it never had a primary, or the wanted one is primary already and
/// only its replicas are to be repaired. Three round trips.
///
/// # Errors
/// Those of reading the shard.
pub async fn first_election(context: &Context, wanted: &Wanted) -> Result<bool> {
    check(wanted)?;
    let (record, tablets, _) = read(context, &wanted.keyspace, &wanted.shard).await?;
    Ok(step(&record, &tablets, wanted).is_some())
}

/// Makes the wanted tablet, or the best one, the first primary of its shard, and the others its replicas. The tablet itself
/// writes the shard's record, as in stock. Done again with the same tablet it repairs replicas that could not follow.
///
/// # Errors
/// Refused with [`Reason::NOT_FIRST_ELECTION`] before anything is done: shards that have a primary. All tablets must answer.
pub async fn planned(context: &Context, wanted: &Wanted) -> Result<Elected> {
    if !first_election(context, wanted).await? {
        return Err(not_first());
    }
    let text = |alias: &Option<TabletAlias>| alias.as_ref().map_or_else(|| "<nil>".to_owned(), paths::alias_text);
    let action = format!("PlannedReparentShard({}, AvoidPrimary = {})", text(&wanted.new), text(&wanted.avoid));
    let lock = shard::lock(context, &wanted.keyspace, &wanted.shard, &action).await?;
    let done = planned_locked(context, wanted, &lock).await;
    finish(done, lock).await
}

/// How far an election has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nobody was ever primary.
    First,
    /// The wanted tablet is primary; its replicas may not follow it.
    Repair,
}

fn step(record: &Shard, tablets: &[Tablet], wanted: &Wanted) -> Option<Step> {
    let mut primaries = tablets.iter().filter(|tablet| tablet.r#type() == TabletType::Primary);
    match (primaries.next(), primaries.next()) {
        (None, _) if record.primary_alias.is_none() && record.primary_term_start_time.is_none() => Some(Step::First),
        (Some(primary), None) if primary.alias == wanted.new => {
            (record.primary_alias.is_none() || record.primary_alias == wanted.new).then_some(Step::Repair)
        }
        _ => None,
    }
}

fn not_first() -> Error {
    let text =
        "vtctlservice.Vtctld/PlannedReparentShard is served by vtmigrated for shards that never had a primary only";
    let help = "name a stock vtctld of the same cluster with --fallback-vtctld-server, or send this command to it";
    Error::not_served(Reason::NOT_FIRST_ELECTION, text, help)
}

async fn planned_locked(context: &Context, wanted: &Wanted, lock: &Lock) -> Result<Elected> {
    let state = State::read(context, &wanted.keyspace, &wanted.shard).await?;
    let Some(step) = step(&state.record, &state.tablets, wanted) else { return Err(not_first()) };
    if let Some(expected) = wanted.expected.as_ref().filter(|alias| Some(*alias) != state.record.primary_alias.as_ref())
    {
        let found = state.record.primary_alias.as_ref().map_or_else(|| "<nil>".to_owned(), paths::alias_text);
        let text = format!("primary {found} is not equal to expected alias {}", paths::alias_text(expected));
        return Err(Error::precondition(Reason::EXPECTED_PRIMARY, text, ""));
    }
    let pools = reach(context, &state.tablets).await?;
    let mut events = journal::Events::default();
    let primary = elect::elect(context, wanted, &state, &pools, &mut events).await?;
    let name = crate::tablet::alias(&primary);
    events.info(format!("elected new primary candidate {name}"));
    if !state.durability.can_write(&primary, &state.tablets) {
        let text = format!("primary-elect tablet {name} won't be able to make forward progress on promotion");
        let help = "the keyspace's durability policy requires acknowledgements that no other tablet of the shard can \
            give";
        return Err(Error::precondition(Reason::DURABILITY_POLICY, text, help));
    }
    held(lock).await?;
    let wait = wanted.wait_replicas.unwrap_or(WAIT_REPLICAS);
    let position = match step {
        Step::First => init_primary(context, &primary, state.durability, wait).await?,
        Step::Repair => repair_primary(context, &primary).await?,
    };
    held(lock).await?;
    let journal = journal::Journal { action: "PlannedReparentShard", primary: &primary, position, wait };
    journal.follow(context, &state, &mut events).await?;
    if step == Step::First {
        // the query service could not open a database that was not there
        refresh(context, &primary).await;
    }
    Ok(Elected { primary: primary.alias.clone(), events: events.0 })
}

/// Asks all tablets for the fill of their buffer pool, by alias: all must answer.
async fn reach(context: &Context, tablets: &[Tablet]) -> Result<Vec<u64>> {
    let calls = tablets.iter().map(|tablet| async move {
        let request = manager::GetGlobalStatusVarsRequest { variables: vec![BUFFER_POOL.to_owned()] };
        let asked = || context.tablets.get_global_status_vars(tablet, request.clone());
        let found = journal::once_it_runs(asked).await?.status_values;
        // some servers do not have it
        Ok(found.get(BUFFER_POOL).and_then(|value| value.parse().ok()).unwrap_or_default())
    });
    journal::within(REACHED, join_all(calls)).await.into_iter().collect()
}

async fn init_primary(context: &Context, primary: &Tablet, durability: Durability, wait: Duration) -> Result<String> {
    let request = manager::InitPrimaryRequest { semi_sync: durability.primary_semi_sync() };
    let done = journal::within(wait, context.tablets.init_primary(primary, request)).await;
    let name = crate::tablet::alias(primary);
    let doing = || format!("primary-elect tablet {name} failed to be promoted to primary; please try again");
    Ok(done.map_err(|error| Error::from(error).doing(doing()))?.position)
}

/// Makes sure that the primary takes writes. Answers its position.
async fn repair_primary(context: &Context, primary: &Tablet) -> Result<String> {
    let name = crate::tablet::alias(primary);
    let doing = || format!("failed to SetReadWrite on current primary {name}");
    let written = context.tablets.set_read_write(primary, manager::SetReadWriteRequest {}).await;
    written.map_err(|error| Error::from(error).doing(doing()))?;
    let doing = || format!("failed to get replication position of current primary {name}");
    let position = context.tablets.primary_position(primary, manager::PrimaryPositionRequest {}).await;
    Ok(position.map_err(|error| Error::from(error).doing(doing()))?.position)
}

async fn refresh(context: &Context, primary: &Tablet) {
    if let Err(error) = context.tablets.refresh_state(primary, manager::RefreshStateRequest {}).await {
        tracing::warn!(vitess.tablet.alias = crate::tablet::alias(primary), "RefreshState failed: {error}");
    }
}

async fn held(lock: &Lock) -> Result<()> {
    Ok(lock.check().await.map_err(|error| error.wrap("lost topology lock, aborting"))?)
}

fn check(wanted: &Wanted) -> Result<()> {
    paths::check_name(&wanted.keyspace)?;
    shards::parse_name(&wanted.shard)?;
    if let Some(alias) = wanted.new.as_ref().filter(|_| wanted.new == wanted.avoid) {
        let text = format!("primary-elect tablet {} is the same as the tablet to avoid", paths::alias_text(alias));
        return Err(Error::precondition(Reason::AVOIDED, text, ""));
    }
    Ok(())
}

async fn read(context: &Context, keyspace: &str, name: &str) -> Result<(Shard, Vec<Tablet>, Keyspace)> {
    let (tablets, keyspace) = try_join(tablet::shard_with_tablets(context, keyspace, name, &[]), async {
        Ok(keyspaces::get(context.topo.global(), keyspace).await?)
    })
    .await?;
    let (record, tablets, partial) = tablets;
    match partial {
        Some(error) => Err(error.into()),
        None => Ok((record, tablets, keyspace.value)),
    }
}

impl State {
    async fn read(context: &Context, keyspace: &str, name: &str) -> Result<Self> {
        let (record, tablets, keyspace) = read(context, keyspace, name).await?;
        Ok(Self { record, durability: Durability::of(&keyspace)?, tablets })
    }
}
