//! Distributed transactions that were prepared and are not resolved: which there are, what each shard has of one, and
//! rolling one back.
//!
//! The id of one (`<keyspace>:<shard>:<number>`) names the shard whose primary keeps its record.

use vtmigrated_proto::query::{Target, TransactionMetadata, TransactionState};
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::{Error, Result, all, primary};
use crate::context::Context;

/// Tablets that are asked at a time, as in stock.
const AT_ONCE: usize = 10;

/// What is known of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Its record; the shard that keeps it is the last participant.
    pub metadata: TransactionMetadata,
    /// What each participant has, in the same order.
    pub states: Vec<(String, manager::GetTransactionInfoResponse)>,
}

/// The transactions of a keyspace that are not resolved and older than `abandon_age` seconds (0: what the tablets take for
/// old), in the order of the shards that keep their records. Those shards are the last participants.
pub async fn unresolved(context: &Context, keyspace: &str, abandon_age: i64) -> Result<Vec<TransactionMetadata>> {
    let primaries = primary::of_keyspace(context, keyspace).await?;
    let request = manager::GetUnresolvedTransactionsRequest { abandon_age };
    let asked = primaries.iter().map(|tablet| async move {
        let mut found = context.tablets.get_unresolved_transactions(tablet, request).await?.transactions;
        for transaction in &mut found {
            transaction.participants.push(target(keyspace, &tablet.shard));
        }
        Ok::<_, Error>(found)
    });
    Ok(all(asked.collect(), AT_ONCE).await?.into_iter().flatten().collect())
}

/// What every participant of a transaction has of it; nothing when there is no record of it, because it is resolved or
/// never was.
pub async fn info(context: &Context, dtid: &str) -> Result<Option<Info>> {
    let keeper = Keeper::of(context, dtid).await?;
    let Some(mut metadata) = keeper.read(context, dtid).await? else { return Ok(None) };
    let primaries = participants(context, &metadata.participants).await?;
    let asked = primaries.iter().chain([&keeper.tablet]).map(|tablet| async move {
        let request = manager::GetTransactionInfoRequest { dtid: dtid.to_owned() };
        Ok::<_, Error>((tablet.shard.clone(), context.tablets.get_transaction_info(tablet, request).await?))
    });
    let states = all(asked.collect(), AT_ONCE).await?;
    metadata.participants.push(target(&keeper.tablet.keyspace, &keeper.tablet.shard));
    Ok(Some(Info { metadata, states }))
}

/// Rolls back what the participants of a transaction have prepared, and then deletes its record. Without a list the
/// participants are those of the record; no record: nothing is left to do.
///
/// # Errors
/// A participant that failed: the record stays, so the call can be repeated. All primaries are looked up before the first
/// is called.
pub async fn conclude(context: &Context, dtid: &str, listed: Vec<Target>) -> Result<()> {
    let keeper = Keeper::of(context, dtid).await?;
    let targets = if listed.is_empty() {
        let Some(record) = keeper.read(context, dtid).await? else { return Ok(()) };
        if record.state() == TransactionState::Commit {
            tracing::warn!(dtid = shown(dtid), "rolling back a transaction in the shards where its commit is missing");
        }
        record.participants
    } else {
        listed
    };
    let request = |mm| manager::ConcludeTransactionRequest { dtid: dtid.to_owned(), mm };
    let primaries = participants(context, &targets).await?;
    let asked = primaries.iter().map(|tablet| {
        let request = request(false);
        async move { Ok::<_, Error>(context.tablets.conclude_transaction(tablet, request).await?) }
    });
    all(asked.collect(), AT_ONCE).await?;
    context.tablets.conclude_transaction(&keeper.tablet, request(true)).await?;
    Ok(())
}

/// The primary that keeps a transaction's record.
struct Keeper {
    tablet: Tablet,
}

impl Keeper {
    async fn of(context: &Context, dtid: &str) -> Result<Self> {
        let found = primary::of_shards(context, &[parse(dtid)?]).await?;
        let tablet = found.into_iter().next().ok_or_else(|| bad("parts", dtid))?;
        Ok(Self { tablet })
    }

    /// The record; tablets answer an empty one when there is none.
    async fn read(&self, context: &Context, dtid: &str) -> Result<Option<TransactionMetadata>> {
        let request = manager::ReadTransactionRequest { dtid: dtid.to_owned() };
        let read = context.tablets.read_transaction(&self.tablet, request).await?;
        Ok(read.transaction.filter(|record| !record.dtid.is_empty()))
    }
}

async fn participants(context: &Context, targets: &[Target]) -> Result<Vec<Tablet>> {
    let shards: Vec<(&str, &str)> = targets.iter().map(|at| (at.keyspace.as_str(), at.shard.as_str())).collect();
    if shards.is_empty() { Ok(Vec::new()) } else { primary::of_shards(context, &shards).await }
}

/// Keyspace and shard of an id.
fn parse(dtid: &str) -> Result<(&str, &str)> {
    let parts: Vec<&str> = dtid.split(':').collect();
    let [keyspace, shard, number] = parts[..] else { return Err(bad("parts", dtid)) };
    if number.parse::<i64>().is_err() {
        return Err(bad("transaction id", dtid));
    }
    Ok((keyspace, shard))
}

fn bad(what: &str, dtid: &str) -> Error {
    Error::bad_argument(format!("invalid {what} in dtid: {}", shown(dtid)))
}

fn shown(dtid: &str) -> String {
    dtid.chars().filter(|c| !c.is_control()).take(256).collect()
}

fn target(keyspace: &str, shard: &str) -> Target {
    Target {
        keyspace: keyspace.to_owned(),
        shard: shard.to_owned(),
        tablet_type: TabletType::Primary.into(),
        ..Target::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_a_shard_and_a_number() {
        assert_eq!(parse("ks:-80:1234").unwrap(), ("ks", "-80"));
        for (dtid, text) in [
            ("", "invalid parts in dtid: "),
            ("ks:-80", "invalid parts in dtid: ks:-80"),
            ("a:b:c:1", "invalid parts in dtid: a:b:c:1"),
            ("ks:-80:x", "invalid transaction id in dtid: ks:-80:x"),
            ("ks:-80:99999999999999999999", "invalid transaction id in dtid: ks:-80:99999999999999999999"),
            ("a\nb", "invalid parts in dtid: ab"),
        ] {
            assert_eq!(parse(dtid).unwrap_err().to_string(), text);
        }
    }
}
