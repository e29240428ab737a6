//! A workflow with everything that ending it needs.

use std::collections::{BTreeMap, BTreeSet};

use earlier::Whose;
use futures::future::{try_join, try_join3};
use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::journal;
use crate::context::Context;
use crate::error::{Explain, Reason};
use crate::topo::{self, Expect, Record, Write};
use crate::workflow::checks::shared::{self, Known, Others};
use crate::workflow::checks::{absent, complete, workflow_type};
use crate::workflow::record::unreadable::{self, Unreadable};
use crate::workflow::record::{self, Facts, Stored, earlier, way_back as back_record};
use crate::workflow::streams::{self, KeyspaceTablets, Origin, ShardAliases, ShardWorkflow, TargetShard};
use crate::workflow::{Error, Result, names};

/// A workflow with everything that ending it needs.
pub struct ExistingWorkflow {
    pub target: KeyspaceTablets,
    pub vschema: Option<Record<VSchema>>,
    /// Why that cannot be decoded: whatever needs it [refuses](Self::refuse_unread_vschema).
    pub unread_vschema: Option<topo::Error>,
    pub record: Option<Stored>,
    /// The record when it is an earlier workflow's of the same name.
    pub earlier: Option<Stored>,
    /// The record when it cannot be read: nothing tells then whose it is.
    pub unreadable: Option<Unreadable>,
    pub rows: Vec<ShardWorkflow>,
    /// Tables that running streams of other workflows of the keyspace bring, with the workflow.
    others: Others,
    pub origin: Origin,
    /// Shards of which a primary since create may not have known that tables are denied.
    unaware: Vec<String>,
    /// Why the streams are not all of one source and of the same tables; `origin` is what they bring together then.
    disagreement: Option<String>,
    /// The way back that was prepared for a workflow of this name.
    pub way_back: Option<back_record::Kept>,
}

impl ExistingWorkflow {
    /// Reads a workflow: three waves, and one more where a shard had another primary since create and a tablet that may not know of
    /// denied tables. Its origin is the record's when no stream is left.
    ///
    /// # Errors
    /// `RECORD_UNREADABLE`; a workflow that is not there, or not ours; a target that does not answer, or is being reparented.
    pub async fn read(context: &Context, keyspace: &str, workflow: &str) -> Result<Self> {
        Self::look(context, keyspace, workflow).await?.readable(context, workflow)
    }

    /// The same of a way back, which is a workflow of this name in the source's cluster: its facts, and no record there, list its shards.
    ///
    /// # Errors
    /// The same.
    pub async fn read_way_back(context: &Context, facts: &back_record::Facts, workflow: &str) -> Result<Self> {
        let found = Self::look_as(context, (&facts.keyspace, workflow), Some(facts)).await?;
        found.readable(context, workflow)
    }

    fn readable(self, context: &Context, workflow: &str) -> Result<Self> {
        let Some(kept) = &self.unreadable else { return Ok(self) };
        let names = (self.target.keyspace.name.as_str(), workflow);
        Err(unreadable::refusal(context.topo.global(), names, &kept.why))
    }

    /// The same for whoever goes on without a record that cannot be read: only what the streams tell is known then.
    ///
    /// # Errors
    /// The others of [`Self::read`].
    pub async fn look(context: &Context, keyspace: &str, workflow: &str) -> Result<Self> {
        Self::look_as(context, (keyspace, workflow), None).await
    }

    async fn look_as(
        context: &Context,
        (keyspace, workflow): (&str, &str),
        back: Option<&back_record::Facts>,
    ) -> Result<Self> {
        let global = context.topo.global();
        let vschema = async { Ok(topo::vschema::look(global, keyspace).await?) };
        let graphed = async {
            let shards = async { Ok(topo::shard::all(global, keyspace).await?) };
            let cells = async { Ok::<_, Error>(context.topo.cells().await?) };
            let (shards, cells) = try_join(shards, cells).await?;
            ShardAliases::read(keyspace, shards, cells).await?.in_use(context).await
        };
        let records = try_join(record::look(global, keyspace, workflow), back_record::look(global, keyspace, workflow));
        let (graphed, vschema, (kept, way_back)) = try_join3(graphed, vschema, records).await?;
        let (vschema, unread_vschema) = match vschema {
            Ok(found) => (found, None),
            Err(why) => (None, Some(why)),
        };
        let (record, unreadable) = record::apart(kept);
        let (tablets, rows) = try_join(graphed.tablets(), graphed.keyspace.workflows(context, &[])).await?;
        let (rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.found.workflow == workflow);
        let target = KeyspaceTablets { keyspace: graphed.keyspace, tablets };
        workflow_type::check(keyspace, workflow, &rows)?;
        let (record, earlier) = match record.map(|stored| earlier::whose(stored, &target.keyspace, &rows)) {
            Some(Whose::Own(stored)) => (Some(stored), None),
            Some(Whose::Earlier(stored)) => (None, Some(stored)),
            None => (None, None),
        };
        let unaware = journal::unaware_shards(context, record.as_ref().map(|of| &of.facts), &target.keyspace).await;
        if record.is_none() {
            target.keyspace.refuse_silent_among(|shard| back.is_none_or(|facts| facts.is_on(shard)))?;
        }
        if rows.is_empty() && record.is_none() && unreadable.is_none() {
            return Err(absent::nothing_to_end(&target.keyspace, workflow));
        }
        target.refuse_reparents()?;
        let all: Vec<&ShardWorkflow> = rows.iter().collect();
        let (mut origin, disagreement) = match streams::origin(keyspace, &all) {
            Ok(origin) => (origin, None),
            Err(error) => (streams::union(&all), Some(error.to_string())),
        };
        if let (true, Some(stored)) = (rows.is_empty(), &record) {
            origin.mount.clone_from(&stored.facts.mount);
            (origin.keyspace, origin.shards) = stored.facts.source.clone();
            origin.tables.clone_from(&stored.facts.tables);
        }
        let others = shared::others(&others);
        Ok(Self {
            target,
            vschema,
            unread_vschema,
            record,
            earlier,
            unreadable,
            rows,
            others,
            origin,
            unaware,
            disagreement,
            way_back,
        })
    }

    /// The target's VSchema as it is judged.
    ///
    /// # Errors
    /// Why it cannot be decoded.
    pub fn judged_vschema(&self) -> std::result::Result<Option<&VSchema>, &topo::Error> {
        match &self.unread_vschema {
            Some(why) => Err(why),
            None => Ok(self.vschema.as_ref().map(|record| &record.value)),
        }
    }

    /// Refuses what cannot do without the target's VSchema.
    ///
    /// # Errors
    /// `TOPO_BAD_DATA`, with the command that puts another one in its place.
    pub fn refuse_unread_vschema(&self) -> Result<()> {
        let Some(why) = &self.unread_vschema else { return Ok(()) };
        Err(Error::refused(why.code(), why.reason(), why.to_string(), why.help()))
    }

    /// What is told of an end without a record that cannot be read, behind another text; empty when there was none.
    pub fn without_record(&self) -> String {
        let Some(Unreadable { why, .. }) = &self.unreadable else { return String::new() };
        let (lifted, own) = (self.denied(), self.origin.tables.iter().collect::<BTreeSet<_>>());
        let lifted: BTreeMap<&str, BTreeSet<&String>> =
            lifted.iter().map(|(shard, tables)| (shard.as_str(), tables.iter().collect())).collect();
        let known = |shard: &TargetShard, table: &String| {
            let is_lifted = lifted.get(shard.name.as_str()).is_some_and(|tables| tables.contains(table));
            is_lifted || self.others.contains_key(table) && !own.contains(table)
        };
        let denied = unreadable::still_denied(&self.target.keyspace, known);
        format!("; its record, which cannot be read ({why}), is deleted{denied}")
    }

    /// True when the record of an earlier workflow stays when this one ends: it tells of tables that this one does not bring,
    /// and nothing else tells what that one denied.
    pub fn keeps_earlier(&self) -> bool {
        let Some(Stored { facts, .. }) = &self.earlier else { return false };
        let brought: BTreeSet<&String> = self.origin.tables.iter().collect();
        let shards = self.target.keyspace.shards.iter();
        let mut about = shards.filter(|shard| facts.may_be_about(&shard.name, shard.record.created));
        about.any(|shard| facts.tables.iter().chain(facts.denied_on(&shard.name)).any(|table| !brought.contains(table)))
    }

    /// The record with the streams that there are noted in it, too: what is done to them next is no concern of later ones.
    pub fn noting_streams(&self) -> Option<Stored> {
        let Stored { facts, version } = self.record.clone()?;
        let streams = Some(facts.noted_with(streams::list(&self.target.keyspace, &self.rows)));
        Some(Stored { facts: Facts { streams, ..facts }, version })
    }

    /// True when complete has lifted the denied tables: the record says so.
    pub fn handed_over(&self) -> bool {
        self.record.as_ref().is_some_and(|stored| stored.facts.handed_over)
    }

    /// The way back that complete opens, or goes on opening. Without a record nobody could tell later whether the target was
    /// handed over.
    pub fn to_open(&self) -> Option<&back_record::Facts> {
        let handed_over = self.record.as_ref().map(|stored| stored.facts.handed_over)?;
        let facts = self.way_back.as_ref().and_then(|kept| kept.as_ref().ok());
        facts.filter(|facts| back_record::is_opened_by_complete(facts, handed_over))
    }

    /// The write by which the record says that the tables were handed over, by complete or by a delete that keeps the data; none
    /// when it says so already, or is not there.
    ///
    /// # Errors
    /// A record that cannot be written down.
    pub fn mark_handed_over(&self, workflow: &str, keeping: bool) -> Result<Vec<Write>> {
        let Some(Stored { facts, .. }) = self.noting_streams().filter(|stored| !stored.facts.handed_over) else {
            return Ok(Vec::new());
        };
        let facts = Facts { completing: true, handed_over: true, keeping, ..facts };
        record::write((self.target.keyspace.name.as_str(), workflow), &facts, Expect::Any).map(|write| vec![write])
    }

    /// Shards whose primary did not read that tables are denied, or one since create may not have: clients may have written to them.
    pub fn unaware(&self) -> &[String] {
        &self.unaware
    }

    /// The first of them.
    pub fn unaware_primary(&self) -> Option<&str> {
        self.unaware.first().map(String::as_str)
    }

    /// True when clients cannot have written to the target, so that streams that complete has stopped may run on: what the
    /// workflow denied is denied still.
    pub fn may_run_on(&self) -> bool {
        let denied = self.denied_ever();
        let stands = |shard: &TargetShard| {
            let ours = denied.iter().filter(|(name, _)| *name == shard.name).flat_map(|(_, tables)| tables);
            shard.first_not_denied(ours).is_none()
        };
        !self.handed_over() && self.unaware_primary().is_none() && self.target.keyspace.shards.iter().all(stands)
    }

    /// What is known of its tables.
    fn known(&self) -> Known<'_> {
        let facts = self.record.as_ref().map(|stored| &stored.facts);
        Known { target: &self.target.keyspace, rows: &self.rows, facts, origin: &self.origin, others: &self.others }
    }

    /// All tables that the record and the streams name.
    pub fn tables(&self) -> Vec<String> {
        self.known().tables()
    }

    /// Tables that running streams of other workflows bring.
    pub fn tables_of_others(&self) -> BTreeSet<String> {
        self.others.keys().cloned().collect()
    }

    /// True when a record is about one of the shards as they are now.
    pub fn is_about_some(&self, facts: &Facts) -> bool {
        self.known().is_about_some(facts)
    }

    /// Refuses to hand over what streams bring that are not all of one source and of the same tables.
    ///
    /// # Errors
    /// `STREAMS_DISAGREE`, with stock's text.
    pub fn refuse_disagreement(&self, workflow: &str) -> Result<()> {
        let Some(text) = self.disagreement.as_ref().filter(|_| !self.handed_over()) else { return Ok(()) };
        let keyspace = &self.target.keyspace.name;
        let help = format!(
            "somebody has changed its streams, see: Workflow --keyspace {keyspace} show --workflow {workflow}; take it away with: \
             Migrate --target-keyspace {keyspace} --workflow {workflow} cancel, or end it and keep its tables: Workflow \
             --keyspace {keyspace} delete --workflow {workflow} --keep-data"
        );
        Err(Error::precondition(Reason::STREAMS_DISAGREE, text.clone(), help))
    }

    /// Refuses to end the way back of another cluster's migration as if it were a migration itself: what is in its tables was there
    /// before its streams, which have a position and have copied nothing.
    ///
    /// # Errors
    /// `WAY_BACK_OF_ANOTHER`.
    pub fn refuse_way_back(&self, doing: &str, workflow: &str) -> Result<()> {
        let names = (self.target.keyspace.name.as_str(), workflow);
        let Some(told) = shared::told_of_another(names, &self.rows) else { return Ok(()) };
        let text = format!("cannot {doing} workflow {workflow} in keyspace {}: {}", names.0, told.cause);
        Err(Error::precondition(Reason::WAY_BACK_OF_ANOTHER, text, told.fix))
    }

    /// Refuses to end a workflow of whose tables others bring some: see [`Known::refuse`].
    ///
    /// # Errors
    /// `TABLES_SHARED`.
    pub fn refuse_shared(&self, doing: &str, workflow: &str, leaves_own: bool) -> Result<()> {
        self.known().refuse(doing, workflow, leaves_own)
    }

    /// Denied tables that ending the workflow lifts on each shard: those of its record, and those that only its streams name.
    /// Nothing of what another workflow brings.
    pub fn denied(&self) -> Vec<(String, Vec<String>)> {
        let mut denied = self.denied_ever();
        denied.iter_mut().for_each(|(_, tables)| tables.retain(|table| !self.others.contains_key(table)));
        denied
    }

    /// Tables of the workflow that stay denied to clients when it ends, in words; empty when there are none. Somebody else denied
    /// them, as on a shard that a Reshard has made since create. Those that other workflows bring are theirs.
    pub fn stay_denied(&self) -> String {
        let brought: Vec<String> =
            self.origin.tables.iter().filter(|table| !self.others.contains_key(*table)).cloned().collect();
        let stay = complete::stay_denied(&self.target.keyspace, &brought, &self.denied());
        let told = stay.iter().map(|of| format!("{}: {}; {}", of.subject, of.cause, of.fix));
        names::some(&told.collect::<Vec<_>>(), "; ")
    }

    /// Denied tables that the workflow put on each shard and that must stay when it ends, for other workflows' streams bring
    /// them. After the handover they are the others' own: this workflow's were lifted.
    pub fn denied_for_others(&self) -> Vec<(String, Vec<String>)> {
        if self.handed_over() {
            return Vec::new();
        }
        let mut denied = self.denied_ever();
        denied.iter_mut().for_each(|(_, tables)| tables.retain(|table| self.others.contains_key(table)));
        denied.retain(|(_, tables)| !tables.is_empty());
        denied
    }

    /// Denied tables that the workflow put on each shard.
    fn denied_ever(&self) -> Vec<(String, Vec<String>)> {
        self.known().denied_ever()
    }
}
