//! The wave in which all tablets follow a new primary: it writes a row, and they wait until that row has come to them.

use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::{join_all, select};
use vtmigrated_proto::logutil::{Event, Level};
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::Tablet;

use super::State;
use crate::cluster::{Error, Result, now};
use crate::context::Context;
use crate::{deadline, tablet};

/// How often a tablet is called that does not run.
const AGAIN: Duration = Duration::from_millis(250);

/// What is told to the caller.
#[derive(Default)]
pub(super) struct Events(pub Vec<Event>);

impl Events {
    pub fn info(&mut self, value: String) {
        self.push(Level::Info, value);
    }

    pub fn warn(&mut self, value: String) {
        self.push(Level::Warning, value);
    }

    fn push(&mut self, level: Level, value: String) {
        self.0.push(Event { time: Some(now()), level: level.into(), value, ..Event::default() });
    }
}

/// A new primary and the row that it writes.
pub(super) struct Journal<'a> {
    /// The command, as the row has it.
    pub action: &'static str,
    pub primary: &'a Tablet,
    /// Where the primary was when it became one.
    pub position: String,
    /// How long all of it may take.
    pub wait: Duration,
}

impl Journal<'_> {
    /// Makes all other tablets follow the primary, while it writes the row: with semi-sync it cannot before one of them does.
    ///
    /// # Errors
    /// The primary's, which end the calls to the replicas; else those of the replicas.
    pub async fn follow(&self, context: &Context, state: &State, events: &mut Events) -> Result<()> {
        let name = crate::tablet::alias(self.primary);
        let created = nanoseconds();
        let others = || state.tablets.iter().filter(|tablet| tablet.alias != self.primary.alias);
        for tablet in others() {
            events.info(format!("setting new primary on replica {}", crate::tablet::alias(tablet)));
        }
        events.info(format!("populating reparent journal on new primary {name}"));
        let calls = others().map(|tablet| {
            let request = manager::SetReplicationSourceRequest {
                parent: self.primary.alias.clone(),
                time_created_ns: created,
                semi_sync: state.durability.replica_semi_sync(self.primary, tablet),
                ..manager::SetReplicationSourceRequest::default()
            };
            let doing = format!("tablet {} failed to SetReplicationSource({name})", crate::tablet::alias(tablet));
            async move {
                let done = context.tablets.set_replication_source(tablet, request).await;
                done.map(|_| ()).map_err(|error| Error::from(error).doing(doing))
            }
        });
        let failed = within(self.wait, self.run(context, created, calls.collect())).await.map_err(|error| {
            let position = &self.position;
            error.doing(format!("failed PopulateReparentJournal(primary={name}, ts={created}, pos={position})"))
        })?;
        Error::several(failed).map_or(Ok(()), |error| {
            Err(error.doing(format!(
                "some replicas failed to reparent; retry PlannedReparentShard with the same new primary alias ({name}) to \
                 retry failed replicas"
            )))
        })
    }

    /// Writes the row while `calls` are under way, and then waits for those. Answers their errors.
    ///
    /// # Errors
    /// The primary's; `calls` are dropped then.
    pub async fn run<F: Future<Output = Result<()>>>(
        &self,
        context: &Context,
        created: i64,
        calls: Vec<F>,
    ) -> Result<Vec<Error>> {
        let request = manager::PopulateReparentJournalRequest {
            time_created_ns: created,
            action_name: self.action.to_owned(),
            primary_alias: self.primary.alias.clone(),
            replication_position: self.position.clone(),
        };
        let row = context.tablets.populate_reparent_journal(self.primary, request).boxed();
        let followed = std::pin::pin!(join_all(calls));
        let followed = match select(row, followed).await {
            futures::future::Either::Left((written, followed)) => {
                written?;
                followed.await
            }
            futures::future::Either::Right((followed, row)) => {
                row.await?;
                followed
            }
        };
        Ok(followed.into_iter().filter_map(Result::err).collect())
    }
}

/// The present time in nanoseconds since 1970, as the journal has it.
pub(super) fn nanoseconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// Runs calls that together take at most `limit`.
pub(super) async fn within<F: Future>(limit: Duration, calls: F) -> F::Output {
    let until = Instant::now().checked_add(deadline::remaining(limit));
    deadline::scope(until.or_else(deadline::current), calls).await
}

/// Calls a tablet, again and again as long as nothing listens at its address and the caller has time: it may have been started a
/// moment ago. Stock's client waits for such a tablet, too.
pub(super) async fn once_it_runs<T, F>(call: impl Fn() -> F) -> tablet::Result<T>
where
    F: Future<Output = tablet::Result<T>>,
{
    loop {
        match call().await {
            Err(error) if error.is_not_running() && deadline::remaining(2 * AGAIN) > AGAIN => {
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}
