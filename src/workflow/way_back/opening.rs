//! What complete does for the way back. Nothing here makes complete fail: what went wrong is told, and prepare, called again,
//! fixes it. Only the positions cannot be had later, for clients write as soon as the target is handed over.

mod denial;
mod told;

use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata::PrimaryPositionRequest;

use super::examine::{Examined, examine, migration};
use super::side::{self, Side};
use super::{kept_out, mirror, plan};
use crate::context::Context;
use crate::deadline;
use crate::error::{Explain, Reason};
use crate::gtid::Position;
use crate::topo::{Lock, Write, external_cluster};
use crate::workflow::names::back;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::way_back::{self as back_record, Facts, Phase};
use crate::workflow::streams::{self, Keyspace, Listed, Origin};
use crate::workflow::writes::refresh::UnawareReplica;
use crate::workflow::{Error, Result};

pub use told::{left_denied, passed_over, stays_denied, target_serves, undecided};

/// Bound of reading the source before the streams are stopped for good.
const READING: Duration = Duration::from_secs(15);
/// Bound of asking the target's primaries for their positions.
const ASKING: Duration = Duration::from_secs(10);
/// Pause before they are asked again, when one does not tell.
const AGAIN: Duration = Duration::from_millis(500);
/// Bound of what is done to the source while clients can write to neither side.
const WORKING: Duration = Duration::from_secs(20);
/// What is wrong with a way back that was left by an earlier migration.
pub(super) const OTHER: &str = "it was prepared for another migration of this name";
/// The name under which the locks of the source are taken.
const ACTION: &str = "WayBackOpen";

/// The opening of a way back.
pub struct Opening<'a> {
    context: &'a Context,
    names: (&'a str, &'a str),
    facts: Facts,
    /// The source's cluster, and what the streams will be; none when the source could not be read.
    ready: Option<(Context, Examined)>,
    /// The locks of the source.
    lock: Option<Lock>,
    /// There cannot be a way back, whatever the source says.
    hopeless: bool,
    /// The source as it is now does not allow its streams: clients are kept from it all the same, for what they wrote there would stay
    /// there alone.
    refused: bool,
    /// Clients cannot write to the source's tables.
    denied: bool,
    /// They could not when complete proved that the target has all that they had written.
    exact: bool,
    /// Why that is not so, where it was tried.
    inexact: Option<String>,
    /// How long clients are kept from both sides at most, where they are.
    until: Instant,
    /// Why the source's tables stay denied to clients although there is no way back.
    stays: Option<String>,
    placed: bool,
    /// As they were before the transaction that hands the target over was made.
    before: Option<Facts>,
    /// Replicas of the source that do not know that its tables are denied.
    missed: Vec<UnawareReplica>,
    trouble: Option<String>,
}

impl<'a> Opening<'a> {
    /// Reads the source, while the streams run still. `found` is the migration, while it is there; `lock` is that of its complete.
    pub async fn begin(
        context: &'a Context,
        names: (&'a str, &'a str),
        facts: &Facts,
        found: Option<&ExistingWorkflow>,
        lock: &Lock,
    ) -> Self {
        let trouble = found.and_then(|found| hopeless(facts, found, names.1));
        let mut opening = Self {
            context,
            names,
            facts: facts.clone(),
            ready: None,
            lock: None,
            hopeless: trouble.is_some(),
            refused: false,
            denied: false,
            exact: false,
            inexact: None,
            // an earlier try may have denied them
            until: kept_out::until(),
            stays: None,
            placed: false,
            before: None,
            missed: Vec::new(),
            trouble,
        };
        if opening.hopeless {
            return opening;
        }
        let facts = &opening.facts;
        let reading = async {
            let mirror = mirror::to_write(context, facts).await?;
            let examined = examine(context, &mirror, names, facts).await?;
            let refusal = examined.report.refuse().err();
            let told_again = match refusal.is_some() || mirror::is_known(&mirror, facts).await? {
                true => None,
                false => Some(tell_again(context, &mirror, names, facts, lock).await?),
            };
            Ok::<_, Error>((mirror, examined, refusal, told_again))
        };
        match bounded(READING, reading).await {
            Ok((mirror, examined, refusal, told_again)) => {
                if let Some(told) = told_again {
                    opening.facts = told;
                }
                opening.refused = refusal.is_some();
                opening.trouble = refusal.map(|refusal| refusal.to_string());
                opening.ready = Some((mirror, examined));
            }
            Err(why) => opening.trouble = Some(why),
        }
        opening
    }

    /// Notes the positions of the target's primaries. Streams write no more, and clients do not yet: what comes after these
    /// positions is what they write.
    pub async fn note(&mut self, target: &Keyspace, lock: &Lock) {
        self.facts.positions.clear();
        if self.hopeless {
            return;
        }
        match bounded(ASKING, positions_in_time(self.context, target)).await {
            Ok(positions) => self.facts.positions = positions,
            Err(why) => {
                self.trouble = Some(why);
                return;
            }
        }
        self.facts.phase = Phase::Noted;
        let noting = back_record::put(self.context.topo.global(), self.names, &mut self.facts, lock);
        if let Err(why) = bounded(ASKING, noting).await {
            self.trouble = Some(why);
        }
    }

    /// Makes the streams, where clients are kept from the source's tables.
    pub async fn open(&mut self, lock: &Lock) {
        if self.ready.is_none() || self.facts.positions.is_empty() {
            return;
        }
        if !self.denied
            && let Err(why) = self.close(lock).await
        {
            self.trouble = Some(why);
            return;
        }
        let (Some((mirror, examined)), Some(held), false) = (&self.ready, &self.lock, self.refused) else { return };
        let side = Side { mirror, examined, lock: held };
        match bounded(WORKING, side.place(&self.facts)).await {
            Ok(()) => self.placed = true,
            Err(why) => self.trouble = Some(why),
        }
    }

    /// The record as the transaction writes it that hands the target over: with positions there is a way back from there on.
    /// None when it cannot be written as text.
    pub fn handed(&mut self) -> Option<Write> {
        self.before = Some(self.facts.clone());
        if matches!(self.facts.phase, Phase::Prepared | Phase::Noted) {
            self.facts.since = streams::now();
        }
        if self.facts.positions.is_empty() {
            self.facts.phase = Phase::Missed;
            self.facts.why =
                self.trouble.clone().unwrap_or_else(|| "the positions of the target were not noted".into());
        } else if self.facts.phase == Phase::Noted {
            // a repeat after that, which may not reach the source, leaves it as it was then
            self.facts.phase = Phase::Handed;
            self.facts.both_written |= !self.denied;
            self.facts.inexact |= !self.exact;
        }
        match back_record::write(self.names, &self.facts) {
            Ok(write) => Some(write),
            Err(error) => {
                self.trouble = Some(error.to_string());
                None
            }
        }
    }

    /// Starts the streams, once the target is handed over, and refreshes the source's replicas once more that were starting
    /// when its tables were denied. Where there is no way back after all, clients of the source are let alone.
    pub async fn start(&mut self, lock: &Lock) {
        if self.facts.phase == Phase::Missed {
            return self.let_alone(lock).await;
        }
        let (missed, started) = join(self.rest(), self.started(lock)).await;
        self.missed = missed;
        match started {
            Some(Ok(facts)) => self.facts = facts,
            Some(Err(why)) => self.trouble = Some(why),
            None => {}
        }
    }

    /// The record of one whose streams run now, or why they do not; none where there are none to be started.
    async fn started(&self, lock: &Lock) -> Option<std::result::Result<Facts, String>> {
        let (Some((mirror, examined)), Some(held), true) = (&self.ready, &self.lock, self.placed) else { return None };
        let (pairs, opened) = (plan::pairs(&examined.sources), streams::now());
        let mut facts = Facts { phase: Phase::Open, pairs, opened, ..self.facts.clone() };
        let starting = async {
            Side { mirror, examined, lock: held }.start(&facts).await?;
            back_record::put(self.context.topo.global(), self.names, &mut facts, lock).await?;
            Ok::<_, Error>(facts)
        };
        Some(bounded(WORKING, starting).await)
    }

    /// Until when complete has to have the target handed over, where clients are kept from the source.
    pub fn until(&self) -> Option<Instant> {
        self.denies().then_some(self.until)
    }

    /// Gives the locks of the source back.
    pub async fn end(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.give_back("the source").await;
        }
    }

    /// True when clients have the target, and may have the source, too.
    pub fn is_on_both_sides(&self) -> bool {
        self.facts.phase == Phase::Handed && self.facts.both_written && !self.denied
    }

    /// True when clients have the target, and what those of the source wrote last may be there alone.
    pub fn is_inexact(&self) -> bool {
        matches!(self.facts.phase, Phase::Handed | Phase::Open) && self.facts.inexact
    }

    /// True once its streams run, and the record says so.
    pub fn is_open(&self) -> bool {
        self.facts.phase == Phase::Open
    }

    /// Why it is not open.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| !self.is_open())
    }
}

/// Registers the target in the source once more. The record has it first, so that it goes with the way back: what that says now.
pub(super) async fn tell_again(
    context: &Context,
    mirror: &Context,
    names: (&str, &str),
    facts: &Facts,
    lock: &Lock,
) -> Result<Facts> {
    let held = side::lock_name(mirror, &facts.keyspace, &back::name(names.1), ACTION).await?;
    let told = async {
        let mut made = Facts { mount_made: true, ..facts.clone() };
        back_record::put(context.topo.global(), names, &mut made, lock).await?;
        let (name, target) = (&facts.back_mount, (&facts.target).into());
        external_cluster::create_guarded(mirror.topo.global(), name, target, &held).await?;
        Ok::<_, Error>(made)
    };
    let told = told.await;
    held.give_back("the source").await;
    told
}

/// Why there cannot be a way back for a migration: it was prepared for another one, or clients could write to the target before
/// its positions are noted.
fn hopeless(facts: &Facts, found: &ExistingWorkflow, workflow: &str) -> Option<String> {
    if !is_for(facts, found) {
        return Some(OTHER.to_owned());
    }
    if found.handed_over() {
        return None;
    }
    migration(found, workflow).into_iter().next().map(|finding| format!("{}: {}", finding.subject, finding.cause))
}

/// Whether a way back was prepared for this migration.
pub(super) fn is_for(facts: &Facts, found: &ExistingWorkflow) -> bool {
    is_of(facts, &found.origin, &streams::list(&found.target.keyspace, &found.rows))
}

/// The same. When its streams are gone the record has told what they brought.
fn is_of(facts: &Facts, origin: &Origin, streams: &Listed) -> bool {
    let mut tables = origin.tables.clone();
    tables.sort();
    let same = (&facts.mount, &facts.keyspace, &facts.tables) == (&origin.mount, &origin.keyspace, &tables);
    same && (streams.is_empty() || facts.is_for(streams))
}

/// The positions of the target's primaries, asked for again while there is time: without them there is no way back.
async fn positions_in_time(context: &Context, target: &Keyspace) -> Result<Vec<(String, String)>> {
    let until = deadline::now() + deadline::remaining(ASKING) - AGAIN;
    loop {
        match positions(context, target).await {
            Err(error) if error.reason() != Reason::GTID_OFF && deadline::now() < until => {
                tracing::warn!("the positions of the target are asked for again: {error}");
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// The position of the primary of each shard that serves: streams read from no others.
async fn positions(context: &Context, target: &Keyspace) -> Result<Vec<(String, String)>> {
    let serving = target.shards.iter().filter(|shard| shard.serves());
    let asked = serving.map(|shard| async move {
        let tablet = shard.primary()?;
        let answer = context.tablets.primary_position(tablet, PrimaryPositionRequest {}).await?;
        match Position::parse(&answer.position) {
            Position::Gtids(set) if set != crate::gtid::GtidSet::default() => Ok((shard.name.clone(), answer.position)),
            _ => {
                let text = format!("the primary of shard {}/{} tells no GTIDs", target.name, shard.name);
                Err(Error::precondition(Reason::GTID_OFF, text, "set gtid_mode = ON on its MySQL"))
            }
        }
    });
    join_all(asked.collect::<Vec<_>>()).await.into_iter().collect()
}

/// An answer within a bound, or a text for people.
async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> std::result::Result<T, String> {
    let limit = deadline::remaining(limit);
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_of_the_migration_that_it_was_prepared_for() {
        let facts = |phase: &str| -> Facts {
            let text = format!(
                r#"{{"phase":"{phase}","mount":"ext1","source":{{"topo_type":"","server":"","root":""}},"keyspace":"commerce",
                    "tables":["t"],"streams":[["0",[7]]],"back_mount":"m","mount_made":true,"on_ddl":1,
                    "target":{{"topo_type":"","server":"","root":""}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let origin =
            Origin { keyspace: "commerce".into(), mount: "ext1".into(), tables: vec!["t".into()], shards: vec![] };
        let streams = |id: i32| vec![("0".to_owned(), vec![id])];
        let prepared = facts("prepared");
        assert!(is_of(&prepared, &origin, &streams(7)) && is_of(&prepared, &origin, &Vec::new()));
        assert!(!is_of(&prepared, &origin, &streams(8)), "of an earlier migration of the same tables");
        let more = Origin { tables: vec!["u".into(), "t".into()], ..origin };
        assert!(!is_of(&prepared, &more, &streams(7)));
        let both = Facts { tables: vec!["t".into(), "u".into()], ..prepared };
        assert!(is_of(&both, &more, &streams(7)), "a record has tables in the order in which they were chosen");
    }
}
