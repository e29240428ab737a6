//! What clients of the source are told: their writes are denied before complete proves for the last time that the target has all of
//! them, so that the cut is exact. Where complete fails they have the source again.

use super::{ACTION, Opening, WORKING, bounded};
use crate::context::Context;
use crate::deadline;
use crate::topo::Lock;
use crate::workflow::Error;
use crate::workflow::names::back;
use crate::workflow::record::way_back::{self as back_record, Facts, Phase};
use crate::workflow::way_back::side::{self, Side};
use crate::workflow::way_back::{cancel, kept_out, mirror, plan, quiet};
use crate::workflow::writes::refresh::{self, UnawareReplica};

impl Opening<'_> {
    /// Denies the source's tables to clients, and waits for transactions that had begun before. Complete calls it between two proofs:
    /// what clients wrote before the denial is waited for by the second. Where it fails, complete goes on all the same, and the cut is
    /// not exact. Answers whether it was tried: then the first proof is of a while ago.
    pub async fn deny(&mut self, lock: &Lock) -> bool {
        if self.ready.is_none() {
            return false;
        }
        if !self.denies() {
            self.until = kept_out::until();
        }
        match deadline::within(Some(self.until), Box::pin(self.keep_out(lock))).await {
            Ok(()) => self.exact = true,
            Err(why) => {
                tracing::warn!("clients of the source may write while complete runs: {why}");
                self.inexact = Some(why.clone());
                self.trouble = Some(why);
            }
        }
        true
    }

    /// Nobody has proven that the target has all that clients of the source were told, as the caller of complete wants it.
    pub fn goes_on_unproven(&mut self) {
        self.exact = false;
        self.inexact.get_or_insert_with(|| "nobody has proven that the target has everything".to_owned());
    }

    async fn keep_out(&mut self, lock: &Lock) -> Result<(), String> {
        self.close(lock).await?;
        let (Some((mirror, examined)), Some(held)) = (&self.ready, &self.lock) else { return Ok(()) };
        let (source, tables) = (&examined.situation.target.keyspace, &self.facts.tables);
        let settled = async {
            quiet::settle(mirror, source, tables, held).await?;
            quiet::unchanged(mirror, source, tables).await
        };
        let settled = bounded(quiet::TRANSACTIONS, settled).await;
        settled.map_err(|why| format!("what the source's clients had begun to write may not have ended: {why}"))
    }

    /// Denies the source's tables to clients. The source is touched only once the record has what will be denied there; its locks, which
    /// are taken first, go by themselves.
    pub(super) async fn close(&mut self, lock: &Lock) -> Result<(), String> {
        let Some((mirror, examined)) = &self.ready else { return Ok(()) };
        let open = examined.to_deny();
        let is_open = open.iter().any(|(_, tables)| !tables.is_empty());
        // what a former try has noted stays its own
        let wanted = plan::to_deny(open, &self.facts.source_denied);
        let (context, names, facts, slot) = (self.context, self.names, &mut self.facts, &mut self.lock);
        let back = back::name(names.1);
        let closing = async {
            let held = held(slot, mirror, &facts.keyspace, &back).await?;
            facts.source_denied = wanted;
            // somebody has opened it since the target was handed over
            facts.both_written |= is_open && facts.phase == Phase::Handed;
            if facts.phase == Phase::Prepared {
                facts.phase = Phase::Noted;
            }
            back_record::put(context.topo.global(), names, facts, lock).await?;
            Side { mirror, examined, lock: held }.deny(facts).await
        };
        self.missed = bounded(WORKING, closing).await?;
        self.denied = true;
        Ok(())
    }

    /// Refreshes the source's replicas once more that nobody reached when its tables were denied, and those that have come since: one
    /// that was starting then has read its shard's record before. Answers those that may not know of it still, also in cells that are
    /// out of reach.
    pub(super) async fn rest(&self) -> Vec<UnawareReplica> {
        let missed = self.missed.clone();
        let (Some((mirror, examined)), true) = (&self.ready, self.denied) else { return missed };
        let source = &examined.situation.target;
        let refreshed = async { Ok::<_, Error>(refresh::rest(mirror, source, missed).await) };
        let mut left = bounded(WORKING, refreshed).await.unwrap_or_else(|why| {
            tracing::warn!("the source's replicas that were starting were not refreshed: {why}");
            self.missed.clone()
        });
        left.extend(UnawareReplica::of_cells(&source.keyspace));
        left
    }

    /// True when it has denied tables of the source to clients, or may have, or an earlier try has.
    pub fn denies(&self) -> bool {
        self.lock.is_some() || !self.facts.source_denied.is_empty()
    }

    /// Lets clients write to the source again, where complete failed and the target was not handed over, and takes the streams away
    /// there: somebody may start them, and those of the migration, too. Also what an earlier try has left, whose server died. Answers
    /// why it could not.
    pub async fn take_back(&mut self, lock: &Lock) -> Option<String> {
        if let Some(before) = self.before.take() {
            self.facts = before;
        }
        self.lift(lock).await
    }

    /// The same where there is no way back after all.
    pub(super) async fn let_alone(&mut self, lock: &Lock) {
        self.stays = self.lift(lock).await;
    }

    async fn lift(&mut self, lock: &Lock) -> Option<String> {
        if !self.denies() {
            return None;
        }
        let (context, names, facts, slot) = (self.context, self.names, &self.facts, &mut self.lock);
        let back = back::name(names.1);
        // without positions nothing is known that prepare has not written
        let begun = facts.phase == Phase::Noted && facts.positions.is_empty();
        let phase = if begun { Phase::Prepared } else { facts.phase };
        let lifting = async {
            // whoever has the lock now may hand the target over
            lock.check().await?;
            let mirror = mirror::to_write(context, facts).await?;
            let held = held(slot, &mirror, &facts.keyspace, &back).await?;
            cancel::leave_source(&mirror, facts, &back, held).await?;
            let mut left = Facts { phase, source_denied: Vec::new(), ..facts.clone() };
            back_record::put(context.topo.global(), names, &mut left, lock).await
        };
        // whoever waits no more has clients kept from both sides
        deadline::scope(None, Box::pin(bounded(WORKING, lifting))).await.err()
    }
}

/// The locks of the source, which are taken where `slot` does not have them yet.
async fn held<'l>(slot: &'l mut Option<Lock>, mirror: &Context, keyspace: &str, back: &str) -> Result<&'l Lock, Error> {
    let lock = match slot.take() {
        Some(lock) => lock,
        None => side::lock(mirror, keyspace, back, ACTION).await?,
    };
    Ok(&*slot.insert(lock))
}
