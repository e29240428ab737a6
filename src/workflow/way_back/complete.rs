//! Complete: going back. The mirror image of the migration's complete: writes to the target's tables are denied, the source is
//! proven to have all of them, the streams are stopped for good, and clients may write to the source again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join;

use super::cancel::{forget_mount, lift, read};
use super::{Answer, check_names, end, exact, kept_out, mirror, out_of_turn, quiet, side, stored, unfinished};
use crate::context::{Context, End};
use crate::deadline;
use crate::error::{Code, Explain, Reason};
use crate::topo::Lock;
use crate::topo::shard::{self, Deny};
use crate::workflow::names::back::{self, command};
use crate::workflow::names::{self};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::listed;
use crate::workflow::record::way_back::{self as back_record, Facts, Phase};
use crate::workflow::streams::{self, Keyspace, KeyspaceTablets};
use crate::workflow::writes::locks::locks;
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::writes::{freeze, thaw};
use crate::workflow::{Error, Result, readiness};

/// The name under which locks are taken.
const ACTION: &str = "WayBackComplete";
/// Bound of looking who can write while clients are kept from both sides, and nothing depends on it.
const LOOKING: Duration = Duration::from_secs(10);

/// Makes the source the one that serves. Repeating it after an interruption finishes the job.
///
/// # Errors
/// Refused, and the target serves on, unless the source is proven to have everything.
pub async fn complete(context: &Context, names: (&str, &str)) -> Result<Answer> {
    check_names(names)?;
    let lock = locks(context, names.0, names.1, ACTION).await?;
    let returned = Box::pin(locked(context, names, &lock)).await;
    lock.give_back("a way back").await;
    context.changes.make();
    returned
}

async fn locked(context: &Context, names: (&str, &str), lock: &Lock) -> Result<Answer> {
    let facts = stored(context, names).await?;
    let help = match facts.phase {
        Phase::Open | Phase::Closing | Phase::Returned => None,
        Phase::Handed => Some(format!("open it first: {}", command("prepare", names))),
        Phase::Prepared | Phase::Noted => Some(format!(
            "the migration comes first: Migrate --target-keyspace {} --workflow {} complete",
            names.0, names.1
        )),
        Phase::Missed | Phase::Cancelling => Some(format!("take it away: {}", command("cancel", names))),
    };
    if let Some(help) = help {
        return Err(out_of_turn(names, &facts, help));
    }
    let back = back::name(names.1);
    let (mirror, held) = match source(context, names, &facts, &back).await {
        Ok(source) => source,
        // the source was not looked at
        Err(error) => return Err(Box::pin(failed(context, names, (facts, lock), error, None)).await),
    };
    let going = Going { context, mirror: &mirror, names, back: &back, lock, held: &held };
    let returned = Box::pin(going.back(facts)).await;
    held.give_back("the source").await;
    returned
}

/// The source's cluster, and its locks.
///
/// # Errors
/// Also that a complete of the migration has to end first.
async fn source(context: &Context, names: (&str, &str), facts: &Facts, back: &str) -> Result<(Context, Lock)> {
    if facts.phase != Phase::Returned
        && let Some(error) = unfinished(context, names).await?
    {
        return Err(error);
    }
    let mirror = mirror::to_write(context, facts).await?;
    let held = side::lock(&mirror, &facts.keyspace, back, ACTION).await?;
    Ok((mirror, held))
}

/// What there is to tell of a failure, and what is left to be done after it: a target that was closed, by this call or an earlier
/// one, is opened to clients again, unless the source serves already. `going` when the source can be asked.
async fn failed(
    context: &Context,
    names: (&str, &str),
    (facts, lock): (Facts, &Lock),
    error: Error,
    going: Option<&Going<'_>>,
) -> Error {
    match facts.phase {
        Phase::Closing => Box::pin(open_again(context, names, (facts, lock), error, going)).await,
        Phase::Returned => {
            let text = format!(
                "{error}\n{} of {} is the one that serves from here on, and clients may not be able to write to its tables yet",
                facts.keyspace, facts.mount
            );
            let help = format!("finish going back: {}", command("complete", names));
            Error::Refused { code: error.code(), reason: error.reason(), text, help }
        }
        _ => error,
    }
}

/// Lets clients write to the target again.
async fn open_again(
    context: &Context,
    names: (&str, &str),
    (mut facts, lock): (Facts, &Lock),
    error: Error,
    going: Option<&Going<'_>>,
) -> Error {
    let global = context.topo.global();
    let opened = async {
        // whatever of the last write came through, or will: with the record at *returned* the target must not be opened
        back_record::put(global, names, &mut facts, lock).await?;
        // a source that says nothing must not keep clients from the target
        let target = read(context, names.0).await?;
        lift(context, lock, &target, &facts.target_denied).await?;
        facts.phase = Phase::Open;
        facts.target_denied = Vec::new();
        back_record::put(global, names, &mut facts, lock).await?;
        match going {
            Some(going) => Box::pin(going.run_on(&facts)).await,
            None => {
                let text = "the streams of the way back were not looked at";
                Err(Error::precondition(Reason::WAY_BACK_STREAMS, text, command("status", names)))
            }
        }
    };
    let Err(undo) = opened.await else { return error };
    tracing::error!(reason = undo.reason().as_str(), "going back was not taken back whole: {undo}");
    let what = match facts.phase {
        Phase::Open => "clients write to the target, and the streams of the way back may stand",
        _ => "clients may not be able to write to the target's tables",
    };
    let help = format!("{what}: run the command again, or {}", command("cancel", names));
    Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
}

/// Going back, under the locks of both sides.
struct Going<'a> {
    context: &'a Context,
    /// The source's cluster.
    mirror: &'a Context,
    names: (&'a str, &'a str),
    /// Name of the workflow in the source.
    back: &'a str,
    lock: &'a Lock,
    held: &'a Lock,
}

impl Going<'_> {
    async fn back(&self, mut facts: Facts) -> Result<Answer> {
        let (mut closed, mut reopened) = (None, String::new());
        if facts.phase == Phase::Returned {
            reopened = match Box::pin(self.has_returned(&facts)).await {
                Ok(reopened) => reopened,
                Err(error) => {
                    let facts = Facts { phase: Phase::Closing, ..facts };
                    return Err(Box::pin(self.failed(facts, error)).await);
                }
            };
        } else {
            let target;
            (facts, target) = Box::pin(self.close(facts)).await?;
            closed = Some(target);
        }
        // one that was starting when tables were denied has read its shard's record before: nobody waits for these
        let rest = async {
            match closed {
                Some((target, unaware)) => {
                    let mut unaware = refresh::rest(self.context, &target, unaware).await;
                    unaware.extend(UnawareReplica::of_cells(&target.keyspace));
                    unaware
                }
                None => Vec::new(),
            }
        };
        let (handed, unaware) = join(Box::pin(self.hand_back(&facts)), rest).await;
        let (missed, others) = match handed {
            Ok(done) => done,
            Err(error) => return Err(Box::pin(self.failed(facts, error)).await),
        };
        let summary = format!(
            "{} of {} serves again: point the application back to it; writes to these tables stay denied in {}: {}{}{}{}{}",
            facts.keyspace,
            facts.mount,
            self.names.0,
            names::some(&facts.tables, ", "),
            reopened,
            others,
            UnawareReplica::told(&missed, refresh::DENIES_STILL),
            UnawareReplica::told(&unaware, refresh::DENIES_NOT_YET)
        );
        Ok(Answer { phase: Phase::Returned.word(), clear: true, summary, ..Answer::default() })
    }

    /// Looks who has opened the target to clients by hand since an earlier call came so far that the source is to serve. Answers what there
    /// is to tell of it.
    ///
    /// # Errors
    /// `WRITES_NOT_DENIED` while clients are kept from the source still: then the target may serve again, and nothing is lost of what
    /// they wrote there.
    async fn has_returned(&self, facts: &Facts) -> Result<String> {
        let looked = join(read(self.context, self.names.0), read(self.mirror, &facts.keyspace));
        let (target, source) = deadline::within(Some(deadline::now() + LOOKING), Box::pin(looked)).await;
        // a target that says nothing keeps nobody from the source, which is asked again
        let (Ok(target), Ok(source)) = (target, source) else { return Ok(String::new()) };
        let (target, source) = (writable(&target.keyspace, facts), writable(&source.keyspace, facts));
        if target.is_empty() {
            return Ok(String::new());
        }
        let shards = names::some(&target, ", ");
        if !source.is_empty() {
            return Ok(format!(
                "; but somebody has opened some on {shards}: what clients wrote there meanwhile is there alone, and they may write to both \
                 sides"
            ));
        }
        let text = format!(
            "somebody has opened tables on {shards} to clients since going back was interrupted: what they wrote there is not in the source, \
             and the target serves again"
        );
        let help = format!(
            "to go back all the same: {}; to stay with the target: {}",
            command("complete", self.names),
            command("cancel", self.names)
        );
        Err(Error::Refused { code: Code::Aborted, reason: Reason::WRITES_NOT_DENIED, text, help })
    }

    /// Lets clients write to the source, and takes the way back away. Answers the replicas that do not know of it, and what is told of
    /// tables that stay denied there, and of a mount that stays.
    async fn hand_back(&self, facts: &Facts) -> Result<(Vec<UnawareReplica>, String)> {
        let source = read(self.mirror, &facts.keyspace).await?;
        let mut others = denied_by_others(&source.keyspace, facts);
        let missed = lift(self.mirror, self.held, &source, &facts.source_denied).await?;
        let left = side::delete_streams(self.mirror, self.held, &source.keyspace, (self.back, facts)).await?;
        Error::all(left.into_iter().map(|(_, error)| Err(error)).collect())?;
        others.push_str(&forget_mount(self.mirror, facts, self.held).await?);
        end(self.context, self.names, End::Completed, self.lock).await?;
        Ok((missed, others))
    }

    async fn failed(&self, facts: Facts, error: Error) -> Error {
        failed(self.context, self.names, (facts, self.lock), error, Some(self)).await
    }

    /// Both sides, when going back may be tried.
    async fn look(&self, facts: &Facts) -> Result<(ExistingWorkflow, KeyspaceTablets)> {
        let mut found = ExistingWorkflow::read_way_back(self.mirror, facts, self.back).await?;
        if !side::are_ours(&found.rows, self.back, facts)? {
            return Err(side::taken(self.back, facts));
        }
        side::stand(&found.target.keyspace, &found.rows, facts)?;
        found.refuse_shared("complete", self.back, false)?;
        if facts.phase == Phase::Open {
            // while clients write still: what would fail fails here
            self.ready(&mut found, facts, false).await?;
        }
        let target = read(self.context, self.names.0).await?.serving();
        target.refuse_reparents()?;
        Ok((found, target))
    }

    /// Proves that the source has all that the target has, while nobody can write, and stops the streams for good. A failure
    /// lets clients write to the target again. Answers the target, too, and its replicas that do not know that tables are denied.
    async fn close(&self, mut facts: Facts) -> Result<(Facts, (KeyspaceTablets, Vec<UnawareReplica>))> {
        let mut until = kept_out::until();
        // an earlier try may have denied the target's tables
        let is_denied = facts.phase == Phase::Closing;
        let looked = kept_out::within(is_denied.then_some(until), Box::pin(self.look(&facts))).await;
        let (mut found, target) = match looked {
            Ok(seen) => seen,
            Err(error) => return Err(Box::pin(self.failed(facts, error)).await),
        };
        if facts.phase == Phase::Open {
            facts.target_denied = target.keyspace.not_denied(&facts.tables);
            facts.phase = Phase::Closing;
            self.put(&mut facts).await?;
            until = kept_out::until();
        }
        let mut returned = Facts { phase: Phase::Returned, ..facts.clone() };
        let proven = async {
            let unaware = self.quieten(&target, &facts).await?;
            self.ready(&mut found, &facts, true).await?;
            Box::pin(freeze::freeze(self.mirror, &found, self.back, self.held)).await?;
            quiet::unchanged(self.mirror, &found.target.keyspace, &[]).await?;
            quiet::unchanged(self.context, &target.keyspace, &facts.tables).await.map(|()| unaware)
        };
        let decided = async {
            let unaware = kept_out::within(Some(until), Box::pin(proven)).await?;
            self.put(&mut returned).await.map(|()| unaware)
        };
        match decided.await {
            Ok(unaware) => Ok((returned, (target, unaware))),
            Err(error) => Err(Box::pin(self.failed(facts, error)).await),
        }
    }

    async fn put(&self, facts: &mut Facts) -> Result<()> {
        back_record::put(self.context.topo.global(), self.names, facts, self.lock).await
    }

    /// Waits until every stream is at the position that the target has now, a shorter time where the target is denied to clients, and
    /// proves that both sides had the same rows where the cut was not exact.
    async fn ready(&self, found: &mut ExistingWorkflow, facts: &Facts, is_denied: bool) -> Result<()> {
        let (mirror, back, held) = (self.mirror, self.back, self.held);
        let ready = match is_denied {
            false => Box::pin(readiness::check(mirror, found, back, (None, false), held)).await,
            true => Box::pin(readiness::check_denied(mirror, found, back, false, held)).await,
        };
        let ready = ready.map_err(|error| self.not_ready(error))?;
        found.rows = ready.rows;
        exact::refuse(self.context, self.names, facts, ready.equal_since)
    }

    fn not_ready(&self, error: Error) -> Error {
        let Error::Blocked { text, violations, .. } = error else { return error };
        let causes: Vec<String> =
            violations.iter().map(|v| format!("{} ({}): {}", v.reason, v.subject, v.text)).collect();
        let causes = if causes.is_empty() { text } else { names::some(&causes, "; ") };
        let text = format!("cannot go back with workflow {}.{}: {causes}", self.names.0, self.names.1);
        let help = format!(
            "see {}; to stay with the target: {}",
            command("status", self.names),
            command("cancel", self.names)
        );
        Error::Blocked { reason: Reason::WAY_BACK_NOT_READY, text, help, violations }
    }

    /// Denies clients' writes to the target's tables, and waits for transactions that had begun before. Answers the replicas that
    /// do not know that tables are denied.
    async fn quieten(&self, target: &KeyspaceTablets, facts: &Facts) -> Result<Vec<UnawareReplica>> {
        let records = target.keyspace.shards.iter().map(|shard| shard.record.clone()).collect();
        let of = |name: &str| listed(&facts.target_denied, name);
        shard::deny_tables(self.context.topo.global(), records, Deny::Add, &of, self.lock).await?;
        let missed = refresh::shards(self.context, target, &|_: &str| true).await?;
        quiet::settle(self.context, &target.keyspace, &facts.tables, self.lock).await?;
        Ok(missed)
    }

    async fn run_on(&self, facts: &Facts) -> Result<()> {
        run_on(self.mirror, (self.back, facts), self.held).await
    }
}

/// Lets streams of a way back that were stopped for good run on. `held` are the locks of the source.
pub(super) async fn run_on(mirror: &Context, (back, facts): (&str, &Facts), held: &Lock) -> Result<()> {
    let mut found = match ExistingWorkflow::read_way_back(mirror, facts, back).await {
        // there are none
        Err(error) if error.reason() == Reason::WORKFLOW_UNKNOWN => return Ok(()),
        found => found?,
    };
    if streams::any_frozen(&found.rows) && side::are_ours(&found.rows, back, facts)? {
        Box::pin(thaw::run_on(mirror, &mut found, back, held)).await?;
    }
    Ok(())
}

/// Shards of a side on which clients can write to tables of the way back.
fn writable(side: &Keyspace, facts: &Facts) -> Vec<String> {
    side.writable(&facts.tables).into_iter().map(|(shard, _)| format!("{}/{shard}", side.name)).collect()
}

/// What is told of tables of the source that somebody else has denied there: the way back does not lift that.
fn denied_by_others(source: &Keyspace, facts: &Facts) -> String {
    let mut told = String::new();
    let ours: BTreeSet<&String> = facts.tables.iter().collect();
    for shard in &source.shards {
        let own: BTreeSet<String> = listed(&facts.source_denied, &shard.name).into_iter().collect();
        let mut tables = shard::denied(&shard.record.value);
        tables.retain(|table| ours.contains(table) && !own.contains(table));
        if tables.is_empty() {
            continue;
        }
        tables.sort();
        tables.dedup();
        let (keyspace, name) = (&source.name, &shard.name);
        told.push_str(&format!(
            "; another program has denied tables of {keyspace}/{name}, where clients cannot write to them until that is lifted in its \
             cluster: SetShardTabletControl --remove --denied-tables {} {keyspace}/{name} primary",
            tables.join(",")
        ));
    }
    told
}
