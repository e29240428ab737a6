//! Replication of tablets: their types, who follows whom, where they are.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join};
use vtmigrated_proto::replicationdata::Status;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Shard, Tablet, TabletAlias, TabletType};

use super::durability::Durability;
use super::{Error, Result, shown, tablet};
use crate::context::Context;
use crate::error::{Code, Explain, Reason};
use crate::topo::{keyspace, paths, shard};

/// A tablet before and after its type was changed.
#[derive(Clone, Debug)]
pub struct TypeChange {
    pub before: Tablet,
    /// `None` when the record could not be read again.
    pub after: Option<Tablet>,
}

/// Where the tablets of a shard are, by alias.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// An empty status for a tablet that did not answer.
    pub statuses: BTreeMap<String, Status>,
    pub tablets: BTreeMap<String, Tablet>,
}

/// Who a tablet was and who is primary now.
#[derive(Clone, Debug)]
pub struct NewPrimary {
    pub keyspace: String,
    pub shard: String,
    pub old: Option<TabletAlias>,
}

/// Changes a tablet's type between those that do not touch who is primary.
///
/// # Errors
/// Refused: other changes, and shards without a primary.
pub async fn change_type(context: &Context, alias: &TabletAlias, wanted: i32, dry_run: bool) -> Result<TypeChange> {
    let Ok(wanted) = TabletType::try_from(wanted) else {
        return Err(Error::bad_argument(format!("unknown tablet type {wanted}")));
    };
    let before = tablet::get(context, alias).await?;
    if !is_trivial(before.r#type(), wanted) {
        let (old, new) = (before.r#type().as_str_name(), wanted.as_str_name());
        let alias = shown(alias);
        let text =
            format!("tablet {alias} type change {old} -> {new} is not an allowed transition for ChangeTabletType");
        return Err(Error::precondition(
            Reason::TYPE_CHANGE,
            text,
            "to make a tablet primary use PlannedReparentShard",
        ));
    }
    let expected = Tablet { r#type: wanted.into(), ..before.clone() };
    if dry_run {
        return Ok(TypeChange { before, after: Some(expected) });
    }
    let source = Source::of(context, &before, "potential replica").await?;
    let semi_sync = source.durability.replica_semi_sync(&source.primary, &expected);
    let request = manager::ChangeTypeRequest { tablet_type: wanted.into(), semi_sync };
    context.tablets.change_type(&before, request).await?;
    let after = tablet::get(context, alias).await;
    if let Err(error) = &after {
        tracing::warn!("cannot read the record of a tablet after its type was changed: {error}");
    }
    Ok(TypeChange { before, after: after.ok() })
}

/// Starts a tablet's replication.
pub async fn start(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = tablet::get(context, alias).await?;
    let source = Source::of(context, &tablet, "replica").await?;
    let semi_sync = source.durability.replica_semi_sync(&source.primary, &tablet);
    context.tablets.start_replication(&tablet, manager::StartReplicationRequest { semi_sync }).await?;
    Ok(())
}

/// Stops a tablet's replication.
pub async fn stop(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = tablet::get(context, alias).await?;
    context.tablets.stop_replication(&tablet, manager::StopReplicationRequest {}).await?;
    Ok(())
}

/// Makes a tablet replicate from its shard's primary. Answers the tablet and the primary.
pub async fn reparent(context: &Context, alias: &TabletAlias) -> Result<(Tablet, Option<TabletAlias>)> {
    let tablet = tablet::get(context, alias).await?;
    let source = Source::of(context, &tablet, "potential replica").await?;
    if source.primary.alias.as_ref() == Some(alias) {
        let text = format!("cannot ReparentTablet current shard primary ({}) onto itself", paths::alias_text(alias));
        return Err(Error::precondition(Reason::IS_PRIMARY, text, ""));
    }
    source.set_on(context, &tablet).await?;
    Ok((tablet, source.shard.primary_alias))
}

/// The same for a tablet that comes back: without a primary that it could follow, and when it is the primary itself, nothing
/// is done.
pub(super) async fn follow_primary(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = tablet::get(context, alias).await?;
    match Source::of(context, &tablet, "potential replica").await {
        Ok(source) if source.primary.alias.as_ref() == Some(alias) => Ok(()),
        Ok(source) => source.set_on(context, &tablet).await,
        Err(error) if error.reason() == Reason::NO_PRIMARY || error.code() == Code::NotFound => {
            tracing::warn!(vitess.tablet.alias = paths::alias_text(alias), "nothing to replicate from: {error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Tells the cluster that something else has made a tablet primary. Nothing is done when its record says so already.
pub async fn externally_reparented(context: &Context, alias: &TabletAlias) -> Result<NewPrimary> {
    let tablet = tablet::get(context, alias).await?;
    let global = context.topo.global();
    let read = try_join(shard::get(global, &tablet.keyspace, &tablet.shard), keyspace::get(global, &tablet.keyspace));
    let (shard, keyspace) = read.await?;
    let known =
        NewPrimary { keyspace: tablet.keyspace.clone(), shard: tablet.shard.clone(), old: shard.value.primary_alias };
    if tablet.r#type() != TabletType::Primary {
        let semi_sync = Durability::of(&keyspace.value)?.primary_semi_sync();
        let request = manager::ChangeTypeRequest { tablet_type: TabletType::Primary.into(), semi_sync };
        context.tablets.change_type(&tablet, request).await?;
    }
    Ok(known)
}

/// Asks all tablets of a shard that replicate, and the primary, where they are.
///
/// # Errors
/// A tablet that answers with an error; one that does not answer at all has an empty status.
pub async fn positions(context: &Context, keyspace: &str, name: &str) -> Result<Positions> {
    let doing = || format!("GetTabletMapForShard({keyspace}, {name}) failed");
    let (tablets, partial) =
        tablet::of_shard(context, keyspace, name, &[]).await.map_err(|error| error.doing(doing()))?;
    if let Some(error) = partial {
        return Err(error.wrap(doing()).into());
    }
    let asked = tablets.into_iter().filter(|tablet| tablet.r#type() == TabletType::Primary || replicates(tablet));
    let calls = asked.map(|tablet| async move {
        let status = position(context, &tablet).await;
        (tablet, status)
    });
    let mut positions = Positions::default();
    let mut errors = Vec::new();
    for (tablet, status) in join_all(calls).await {
        match status {
            Ok(status) => {
                let alias = crate::tablet::alias(&tablet);
                positions.statuses.insert(alias.clone(), status);
                positions.tablets.insert(alias, tablet);
            }
            Err(error) => errors.push(error),
        }
    }
    Error::several(errors).map_or(Ok(positions), Err)
}

async fn position(context: &Context, tablet: &Tablet) -> Result<Status> {
    let (call, answer) = if tablet.r#type() == TabletType::Primary {
        let answer = context.tablets.primary_position(tablet, manager::PrimaryPositionRequest {}).await;
        ("PrimaryPosition", answer.map(|answer| Status { position: answer.position, ..Status::default() }))
    } else {
        let answer = context.tablets.replication_status(tablet, manager::ReplicationStatusRequest {}).await;
        ("ReplicationStatus", answer.map(|answer| answer.status.unwrap_or_default()))
    };
    let alias = crate::tablet::alias(tablet);
    match answer {
        Err(error) if error.is_silent() => {
            tracing::warn!(vitess.tablet.alias = alias, "cannot read the replication position of a tablet: {error}");
            Ok(Status::default())
        }
        answer => answer.map_err(|error| Error::from(error).doing(format!("{call}({alias}) failed"))),
    }
}

/// True for tablets that should be connected to a primary.
pub(super) fn replicates(tablet: &Tablet) -> bool {
    use TabletType::{Backup, Drained, Primary, Restore};
    !matches!(tablet.r#type(), Primary | Backup | Restore | Drained)
}

fn is_trivial(old: TabletType, new: TabletType) -> bool {
    use TabletType::{Backup, Drained, Experimental, Rdonly, Replica, Restore, Spare};
    let plain = |t| matches!(t, Replica | Rdonly | Spare | Backup | Experimental | Drained);
    plain(old) && plain(new) || old == Restore && new == Spare
}

/// The primary that a tablet follows or shall follow.
struct Source {
    shard: Shard,
    primary: Tablet,
    durability: Durability,
}

impl Source {
    /// Shard, keyspace and primary of a tablet: two or three round trips. `role` is what the texts call the tablet.
    async fn of(context: &Context, follower: &Tablet, role: &str) -> Result<Self> {
        let (keyspace, name) = (&follower.keyspace, &follower.shard);
        let global = context.topo.global();
        let (shard, keyspace_record) =
            try_join(shard::get(global, keyspace, name), keyspace::get(global, keyspace)).await?;
        let shard = shard.value;
        let Some(alias) = shard.primary_alias.clone().filter(|alias| !alias.cell.is_empty()) else {
            let text = format!("no primary tablet for shard {keyspace}/{name}");
            return Err(Error::precondition(Reason::NO_PRIMARY, text, "elect one with PlannedReparentShard"));
        };
        let primary_text = paths::alias_text(&alias);
        let doing = || format!("cannot lookup primary tablet {primary_text} for shard {keyspace}/{name}");
        let primary = tablet::get(context, &alias).await.map_err(|error| error.doing(doing()))?;
        if primary.r#type() != TabletType::Primary {
            let text = format!("TopologyServer has incosistent state for shard primary {primary_text}");
            return Err(Error::precondition(
                Reason::NO_PRIMARY,
                text,
                "its tablet record has another type: see GetTablet",
            ));
        }
        if primary.keyspace != *keyspace || primary.shard != *name {
            let replica = crate::tablet::alias(follower);
            let text =
                format!("primary {primary_text} and {role} {replica} not in same keypace shard ({keyspace}/{name})");
            return Err(Error::precondition(Reason::NO_PRIMARY, text, ""));
        }
        Ok(Self { shard, primary, durability: Durability::of(&keyspace_record.value)? })
    }

    /// Makes a tablet replicate from it.
    async fn set_on(&self, context: &Context, tablet: &Tablet) -> Result<()> {
        let request = manager::SetReplicationSourceRequest {
            parent: self.shard.primary_alias.clone(),
            semi_sync: self.durability.replica_semi_sync(&self.primary, tablet),
            ..manager::SetReplicationSourceRequest::default()
        };
        context.tablets.set_replication_source(tablet, request).await?;
        Ok(())
    }
}
