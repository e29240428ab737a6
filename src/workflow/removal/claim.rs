//! What a workflow may take with it: the evidence for each of its tables, and what becomes of them by [`super::ownership`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::future::join_all;
use vtmigrated_proto::topodata::Tablet;

use super::ownership::{self, Denied, Doubt, Evidence, Fate, Record, Rows, Stream};
use super::{Tables, made};
use crate::context::Context;
use crate::workflow::reads::filled::{Visibility, filled};
use crate::workflow::reads::{denial, journal};
use crate::workflow::record::Facts;
use crate::workflow::record::made_at::Noted;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, TargetShard};
use crate::workflow::{Error, Result};

/// What is known of a workflow on the target.
#[derive(Clone, Copy)]
pub struct ClaimInputs<'a> {
    pub target: &'a Keyspace,
    /// Its streams, and no others.
    pub rows: &'a [&'a ShardWorkflow],
    pub facts: Option<&'a Facts>,
    /// Its tables.
    pub tables: &'a [String],
}

/// A table that stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptTable {
    pub table: String,
    pub shard: String,
    pub reason: Doubt,
}

impl fmt::Display for KeptTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on shard {}: {}", self.table, self.shard, self.reason)
    }
}

/// What becomes of the tables of a workflow, on the shards that [it is about](Keyspace::concerned).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// By shard, in the order of the shards.
    pub tables: Vec<(String, Tables)>,
    /// Tables that cannot be proven to be the workflow's.
    pub kept: Vec<KeptTable>,
    /// The same of empty ones, and of those that may have been made since a cancel began: nothing is lost by them.
    pub left: Vec<KeptTable>,
}

/// What is in the tables of a shard; those that are not named are not there.
#[derive(Clone, Debug, Default)]
pub struct TableContents {
    pub empty: BTreeSet<String>,
    pub filled: BTreeSet<String>,
    /// When they were made, in seconds since the epoch, where MySQL tells it.
    pub made: BTreeMap<String, i64>,
}

impl TableContents {
    /// True for a table that is there.
    pub fn is_there(&self, table: &str) -> bool {
        self.empty.contains(table) || self.filled.contains(table)
    }
}

impl Claim {
    /// Judges, and looks at those tables that must be looked at: one wave where streams have copied, and two more, or none. Another one
    /// where a shard had another primary since create, and a tablet that may not know of denied tables.
    ///
    /// # Errors
    /// A tablet that has to tell what is in its tables, or whether it denies them, and does not.
    pub async fn read(context: &Context, known: ClaimInputs<'_>) -> Result<Self> {
        Self::judge(context, known, true).await
    }

    /// The same for whoever takes no table away: that the shards' records deny them is enough.
    ///
    /// # Errors
    /// A tablet that has to tell what is in its tables and does not.
    pub async fn of_kept(context: &Context, known: ClaimInputs<'_>) -> Result<Self> {
        Self::judge(context, known, false).await
    }

    async fn judge(context: &Context, known: ClaimInputs<'_>, asks: bool) -> Result<Self> {
        let mut shards: Vec<OfShard<'_>> = OfShard::all(known);
        if let Some(facts) = known.facts {
            let doubtful = shards.iter_mut().filter(|of| of.unaware);
            let asked = doubtful.map(|of| async move { of.unaware = journal::unaware(context, facts, of.shard).await });
            join_all(asked).await;
        }
        if asks {
            Error::all(join_all(shards.iter_mut().map(|of| of.see_denied(context, known.tables))).await)?;
        }
        let looks = shards.iter().map(|of| async move {
            let asked = of.to_look_at(known.tables);
            if asked.is_empty() { Ok(None) } else { look(context, of.shard.primary()?, &asked).await.map(Some) }
        });
        let mut claim = Self::default();
        let mut errors = Vec::new();
        for (of, held) in shards.iter().zip(join_all(looks).await) {
            match held {
                Ok(held) => of.judge(known.tables, held.as_ref(), &mut claim),
                Err(error) => errors.push(error),
            }
        }
        Error::several(errors).map_or(Ok(claim), Err)
    }

    /// The same for tables that were looked at before, by shard.
    pub fn of(known: ClaimInputs<'_>, held: &BTreeMap<String, TableContents>) -> Self {
        let none = TableContents::default();
        let mut claim = Self::default();
        for of in OfShard::all(known) {
            of.judge(known.tables, Some(held.get(&of.shard.name).unwrap_or(&none)), &mut claim);
        }
        claim
    }
}

/// Asks a tablet which of some tables are there, since when, and which of those hold rows: two waves.
///
/// # Errors
/// The tablet's.
pub async fn look(context: &Context, on: &Tablet, tables: &[String]) -> Result<TableContents> {
    let there = made::read(context, on, tables).await?.tables;
    let names: Vec<String> = there.keys().cloned().collect();
    let filled = filled(context, on, &names, Visibility::Committed).await?;
    let empty = names.into_iter().filter(|table| !filled.contains(table)).collect();
    let made = there.into_iter().filter_map(|(table, made)| Some((table, made?))).collect();
    Ok(TableContents { empty, filled, made })
}

/// What is known of one shard without looking into its tables.
struct OfShard<'a> {
    shard: &'a TargetShard,
    record: Record,
    streams: BTreeMap<String, Stream>,
    denied: BTreeSet<String>,
    /// True when the primary, or one since create, may not have read that.
    unaware: bool,
    /// True when the primary lets clients write all the same.
    open: bool,
    /// What a cancel that was cut off has noted of them; it may have dropped some.
    noted: Option<Noted<'a>>,
    /// Tables that the record says create makes, and those that it says create denies.
    made: Option<BTreeSet<&'a String>>,
    planned: BTreeSet<&'a String>,
}

impl<'a> OfShard<'a> {
    fn all(known: ClaimInputs<'a>) -> Vec<Self> {
        let shards = known.target.concerned(known.rows.iter().copied(), known.facts);
        shards.into_iter().map(|(at, shard)| Self::new(known, at, shard)).collect()
    }

    fn new(known: ClaimInputs<'a>, at: usize, shard: &'a TargetShard) -> Self {
        let about = |facts: &&Facts| facts.is_about(&shard.name, shard.record.created);
        let record = match known.facts {
            None => Record::None,
            Some(facts) if facts.handed_over => Record::HandedOver,
            Some(facts) if !about(&facts) => Record::OfAnotherShard,
            Some(facts) if facts.seen_to.contains(&shard.name) => Record::SeenTo,
            Some(facts) if facts.is_unfinished() => Record::Creating,
            Some(_) => Record::Created,
        };
        let mut of_tables: BTreeMap<String, Stream> = BTreeMap::new();
        for stream in known.rows.iter().filter(|row| row.shard == at).flat_map(|row| &row.found.streams) {
            for table in stream.bls.iter().flat_map(streams::tables) {
                let far = of_tables.entry(table).or_insert(Stream::Idle);
                if streams::has_copied(stream) {
                    *far = Stream::Copying;
                }
            }
        }
        Self {
            shard,
            record,
            streams: of_tables,
            denied: shard.denied(),
            unaware: known.facts.is_some_and(|facts| facts.may_have_had_unaware_primary(shard)),
            open: false,
            noted: known.facts.filter(|facts| facts.cancelling).map(|facts| facts.noted_on(&shard.name)),
            made: known.facts.map(|facts| facts.created_on(&shard.name).iter().collect()),
            planned: known.facts.map(|facts| facts.denied_on(&shard.name).iter().collect()).unwrap_or_default(),
        }
    }

    /// `made` is when the table was made that is there.
    fn evidence(&self, table: &String, rows: Rows, made: Option<i64>) -> Evidence {
        Evidence {
            record: self.record,
            stream: self.streams.get(table).copied().unwrap_or(Stream::None),
            denied: match (self.denied.contains(table), self.planned.contains(table)) {
                (true, _) if self.unaware => Denied::Unaware,
                (true, _) if self.open => Denied::NotInForce,
                (true, true) => Denied::Ours,
                (true, false) => Denied::Others,
                (false, _) => Denied::No,
            },
            // stock drops all tables of a workflow that it made
            made: self.made.as_ref().is_none_or(|made| made.contains(table)),
            rows,
            since: self.noted.as_ref().map(|noted| noted.compare(table, made)),
        }
    }

    /// Asks the primary whether it denies what streams have copied into, as its shard's record says. No client is sent to a shard that
    /// does not serve.
    async fn see_denied(&mut self, context: &Context, tables: &[String]) -> Result<()> {
        let is_copied = |table: &&String| {
            let known = self.evidence(table, Rows::Unseen, None);
            known.stream == Stream::Copying && matches!(known.denied, Denied::Ours | Denied::Others)
        };
        let mut copied: Vec<&String> = tables.iter().filter(is_copied).collect();
        if copied.is_empty() || !self.shard.serves() {
            return Ok(());
        }
        // what create denied it denied together
        copied.sort_by_key(|table| !self.planned.contains(*table));
        let is_in_force = denial::is_in_force(context, self.shard.primary()?, &copied).await.map_err(|error| {
            let doing = format!("failed to see whether clients are denied the tables on shard {}", self.shard.name);
            Error::from(error).doing(doing)
        })?;
        self.open = !is_in_force;
        Ok(())
    }

    fn unseen(&self, table: &String) -> Fate {
        ownership::fate(&self.evidence(table, Rows::Unseen, None))
    }

    fn to_look_at(&self, tables: &[String]) -> Vec<String> {
        tables.iter().filter(|table| self.unseen(table) == Fate::Look).cloned().collect()
    }

    fn judge(&self, tables: &[String], held: Option<&TableContents>, claim: &mut Claim) {
        let mut of_shard = Tables::default();
        for table in tables {
            let rows = match held {
                None => Rows::Unseen,
                Some(held) if held.filled.contains(table) => Rows::Filled,
                Some(held) if held.empty.contains(table) => Rows::Empty,
                Some(_) => Rows::Gone,
            };
            let made = held.and_then(|held| held.made.get(table).copied());
            // a table that nobody had to look at is not among those that were
            let fate = match self.unseen(table) {
                Fate::Look => ownership::fate(&self.evidence(table, rows, made)),
                unseen => unseen,
            };
            match fate {
                Fate::Nothing => {}
                Fate::Drop => of_shard.drop.push(table.clone()),
                Fate::DropEmpty => of_shard.drop_empty.push(table.clone()),
                Fate::Empty => of_shard.empty.push(table.clone()),
                Fate::Look => claim.kept.push(self.kept(table, Doubt::NotSeen)),
                Fate::Leave(reason) => {
                    if reason == Doubt::MadeSince {
                        of_shard.anew.push(table.clone());
                    }
                    claim.left.push(self.kept(table, reason));
                }
                Fate::Keep(reason) => claim.kept.push(self.kept(table, reason)),
            }
        }
        claim.tables.push((self.shard.name.clone(), of_shard));
    }

    fn kept(&self, table: &str, reason: Doubt) -> KeptTable {
        KeptTable { table: table.to_owned(), shard: self.shard.name.clone(), reason }
    }
}
