//! Rounds: everything is asked, and what is known is published while it comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::snapshot::{Mount, Problem, Snapshot};
use super::state::State;
use super::{AT_ONCE, mounts};
use crate::context::Context;
use crate::deadline;
use crate::failure::Result;
use crate::workflow::status::observe::{self, Common, Observed};
use crate::workflow::way_back::observe::{self as ways_back, Names, WayBack};

/// Bound of what is asked for one keyspace.
const DEADLINE: Duration = Duration::from_secs(15);
/// Rounds are not closer together, however much is changed here.
const SOONEST: Duration = Duration::from_secs(1);
/// In one round of so many, columns are compared, and keyspaces without a migration are looked at.
const THOROUGH: u64 = 6;

type Sender = watch::Sender<Arc<Snapshot>>;

/// What one task found.
enum Answer {
    Mount(Mount),
    Keyspace(String, std::result::Result<Vec<(String, Result<Observed>)>, Problem>),
    WaysBack(Vec<Names>, std::result::Result<Vec<(Names, Result<Observed>)>, Problem>),
}

/// Goes round for ever: after `interval`, or soon after this process changed something.
pub async fn run(context: Arc<Context>, interval: Duration, sender: &Sender) {
    let mut state = State::new(interval);
    for number in 0.. {
        let began = Instant::now();
        round(&context, &mut state, sender, number % THOROUGH == 0).await;
        let soon = async {
            context.changes.made().await;
            tokio::time::sleep_until((began + SOONEST).into()).await;
        };
        tokio::select! {
            () = tokio::time::sleep(interval.saturating_sub(began.elapsed())) => {}
            () = soon => {}
        }
    }
}

/// One round.
pub(super) async fn round(context: &Arc<Context>, state: &mut State, sender: &Sender, thorough: bool) {
    let common = match bounded(Common::read(context)).await {
        Ok(common) => Arc::new(common),
        Err(problem) => {
            tracing::debug!("the watcher cannot read the topology: {}", problem.cause);
            state.lost(&problem);
            publish(state, sender);
            return;
        }
    };
    let names: Vec<String> = common.mounts().map(|(name, _)| name).collect();
    state.found(&common.keyspaces, &names, &context.changes, now());
    let unfinished = |keyspace: &str, workflow: &str| common.is_handed_over(keyspace, workflow);
    state.ways_back.found(&common.ways_back, unfinished, &context.changes, now());
    // a create of ours leaves a record before its streams; those of other programs are found in the next thorough round
    let wanted = |name: &&String| thorough || state.has_migrations(name) || common.has_record(name);
    let keyspaces: Vec<String> = common.keyspaces.iter().filter(wanted).cloned().collect();
    let mut tasks = tasks(context, &common, keyspaces, thorough);
    let mut published = Instant::now();
    while let Some(answer) = tasks.join_next().await {
        match answer {
            Ok(Answer::Mount(mount)) => state.mount(mount),
            Ok(Answer::Keyspace(name, Ok(observed))) => state.keyspace(&name, observed, &context.changes, now()),
            Ok(Answer::Keyspace(name, Err(problem))) => state.unread(&name, &problem),
            Ok(Answer::WaysBack(asked, read)) => state.ways_back.read(&asked, read, now()),
            Err(error) => tracing::error!("the watcher lost an answer: {error}"),
        }
        // the slow ones keep nobody waiting
        if published.elapsed() >= SOONEST {
            publish(state, sender);
            published = Instant::now();
        }
    }
    publish(state, sender);
}

fn tasks(context: &Arc<Context>, common: &Arc<Common>, keyspaces: Vec<String>, columns: bool) -> JoinSet<Answer> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (name, record) in common.mounts() {
        let (context, places) = (Arc::clone(context), Arc::clone(&places));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await;
            Answer::Mount(mounts::look(&context, name, record, now() / 1000).await)
        });
    }
    for name in keyspaces {
        let (context, common, places) = (Arc::clone(context), Arc::clone(common), Arc::clone(&places));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await;
            let read = bounded(observe::keyspace(&context, &name, &common, columns)).await;
            Answer::Keyspace(name, read)
        });
    }
    for group in ways_back::groups(&common.ways_back) {
        let (context, common, places) = (Arc::clone(context), Arc::clone(common), Arc::clone(&places));
        tasks.spawn(async move {
            let _place = places.acquire_owned().await;
            let read = bounded(ways_back::look(&context, &group, &common, columns)).await;
            Answer::WaysBack(group.iter().map(WayBack::names).collect(), read)
        });
    }
    tasks
}

/// The answer, or why there is none in time.
async fn bounded<T>(work: impl Future<Output = Result<T>>) -> std::result::Result<T, Problem> {
    let work = deadline::scope(Some(Instant::now() + DEADLINE), work);
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(_) => Err(Problem::late(DEADLINE.as_secs())),
    }
}

fn publish(state: &mut State, sender: &Sender) {
    sender.send_replace(Arc::new(state.snapshot(now())));
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
