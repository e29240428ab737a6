//! The SrvVSchema of each cell, put together from the VSchemas of all keyspaces and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use prost::DecodeError;
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;
use vtmigrated_proto::vschema::{
    Keyspace, KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules, SrvVSchema,
};

use super::{Cells, Conn, Error, Expect, Record, Result, Write, paths, wire};

/// A cell's SrvVSchema.
pub async fn get(cell: &Arc<dyn Conn>) -> Result<Record<SrvVSchema>> {
    Record::get(cell, paths::SRV_VSCHEMA).await
}

/// The SrvVSchema of each cell, in parallel; `None` where there is none.
pub async fn all(cells: &Cells) -> Result<Vec<(String, Option<SrvVSchema>)>> {
    let reads = cells.iter().map(|(name, conn)| async move {
        let found = Record::<SrvVSchema>::find(conn, paths::SRV_VSCHEMA).await?;
        Ok::<_, super::Error>((name.to_owned(), found.map(|record| record.value)))
    });
    try_join_all(reads).await
}

/// The same of the cells that can be reached; the others are left out. One that cannot be decoded is none.
pub async fn reachable(cells: &Cells) -> Vec<(String, Option<SrvVSchema>)> {
    asked(cells).await.into_iter().map(|(name, found)| (name, found.ok().flatten())).collect()
}

/// The same of the cells that can be reached, for what is proven by them.
///
/// # Errors
/// [`Error::BadData`] for one that cannot be decoded.
pub async fn decoded(cells: &Cells) -> Result<Vec<(String, Option<SrvVSchema>)>> {
    asked(cells).await.into_iter().map(|(name, found)| Ok((name, found?))).collect()
}

/// What each cell that can be reached holds: none, a SrvVSchema, or what cannot be decoded.
async fn asked(cells: &Cells) -> Vec<(String, Result<Option<SrvVSchema>>)> {
    let asked = cells.ask_all(|_, conn| async move {
        let found = Record::<SrvVSchema>::look(conn, paths::SRV_VSCHEMA).await?;
        Ok(found.map(|found| found.map(|record| record.value)))
    });
    asked.await
}

/// As [`rebuild`], but cells that cannot be reached are left out, and VSchemas and rules that cannot be decoded [passed
/// over](Cells::passed_over).
///
/// # Errors
/// Read errors; the first failed write when no cell could be written.
pub async fn rebuild_reachable(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = Message::read(global).await?;
    let written = cells.ask_all(|_, conn| message.put(conn)).await;
    for (keyspace, error) in &message.undecodable {
        let why = format!(
            "{error}; cells keep serving what they had of it until you run: ApplyVSchema --vschema-file … {keyspace}"
        );
        cells.pass_over(format!("the VSchema of keyspace {keyspace}"), why);
    }
    for (Rules { name, fix, .. }, error) in &message.undecodable_rules {
        let why = format!("{error}; cells keep serving what they had of them until you run: {fix}");
        cells.pass_over(format!("the record of the {name}"), why);
    }
    match cells.left_out().into_iter().next() {
        Some((_, error)) if written.is_empty() => Err(error),
        _ => Ok(()),
    }
}

/// Rebuilds the SrvVSchema of `cells`: two round trips, whatever the number of keyspaces and cells.
///
/// The stored bytes of each VSchema and rule are copied as they are. A keyspace without a VSchema has an empty one;
/// routing, shard routing and mirror rules are there even when empty, for Go readers need them (Vitess 22.0.3). Go reads
/// nothing of a message of which a part cannot be decoded: of a keyspace with such a VSchema, and of such rules, each cell keeps what it
/// has, which takes one more round trip.
///
/// # Errors
/// Read errors, and the first failed write, with the names of all cells that were not written; the others are written all the same.
/// [`Error::BadData`] for a VSchema or rules that cannot be decoded, once all cells are written.
pub async fn rebuild(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = Message::read(global).await?;
    let read = &message;
    let writes = cells.iter().map(|(name, conn)| async move { Some((name, read.put(conn).await.err()?)) });
    let failed: Vec<(&str, Error)> = futures::future::join_all(writes).await.into_iter().flatten().collect();
    let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
    if let Some((_, error)) = failed.into_iter().next() {
        return Err(error.wrap(format!("UpdateSrvVSchema({})", names.join(", "))));
    }
    let of_rules = message.undecodable_rules.into_iter().map(|(_, error)| error);
    message.undecodable.into_values().chain(of_rules).next().map_or(Ok(()), Err)
}

/// Field number of `keyspaces` in a SrvVSchema.
const KEYSPACES: u32 = 1;

/// A kind of rules of a SrvVSchema.
struct Rules {
    /// Its field number.
    number: u32,
    /// Where they are stored.
    path: &'static str,
    /// The field is there even when it is empty.
    always: bool,
    name: &'static str,
    /// What puts others in their place, or takes them away.
    fix: &'static str,
    decoded: fn(Bytes) -> std::result::Result<(), DecodeError>,
}

const RULES: [Rules; 4] = [
    Rules {
        number: 2,
        path: paths::ROUTING_RULES,
        always: true,
        name: "routing rules",
        fix: "ApplyRoutingRules --rules-file …",
        decoded: proven::<RoutingRules>,
    },
    Rules {
        number: 3,
        path: paths::SHARD_ROUTING_RULES,
        always: true,
        name: "shard routing rules",
        fix: "ApplyShardRoutingRules --rules-file …",
        decoded: proven::<ShardRoutingRules>,
    },
    Rules {
        number: 4,
        path: paths::KEYSPACE_ROUTING_RULES,
        always: false,
        name: "keyspace routing rules",
        fix: "ApplyKeyspaceRoutingRules --rules-file …",
        decoded: proven::<KeyspaceRoutingRules>,
    },
    Rules {
        number: 5,
        path: paths::MIRROR_RULES,
        always: true,
        name: "mirror rules",
        fix: "delete that key with the topology's own client, then RebuildVSchemaGraph",
        decoded: proven::<MirrorRules>,
    },
];

/// What puts another record in the place of one that cannot be decoded, by its full key; `None` where nothing here does.
pub(super) fn fix(path: &str) -> Option<String> {
    let is_at = |end: &str| path.strip_suffix(end).is_some_and(|before| before.ends_with('/'));
    if is_at(paths::SRV_VSCHEMA) {
        return Some("RebuildVSchemaGraph".to_owned());
    }
    if let Some(rules) = RULES.iter().find(|rules| is_at(rules.path)) {
        return Some(rules.fix.to_owned());
    }
    let (_, keyspace) = path.strip_suffix("/VSchema")?.rsplit_once("/keyspaces/")?;
    Some(format!("ApplyVSchema --vschema-file … {keyspace}"))
}

fn proven<T: prost::Message + Default>(value: Bytes) -> std::result::Result<(), DecodeError> {
    T::decode(value).map(drop)
}

/// A SrvVSchema of what the global topology has.
#[derive(Default)]
struct Message {
    /// Without the keyspaces whose VSchema cannot be decoded, and without rules that cannot.
    encoded: Vec<u8>,
    /// Those keyspaces, with the reasons.
    undecodable: BTreeMap<String, Error>,
    /// Those rules, with the reasons.
    undecodable_rules: Vec<(Rules, Error)>,
}

impl Message {
    /// One round trip.
    async fn read(global: &Arc<dyn Conn>) -> Result<Self> {
        let rules = RULES.iter().map(|rules| rules.path.to_owned()).collect();
        let (nodes, rules) = try_join(global.list(paths::KEYSPACES), global.get_many(rules)).await?;
        let mut vschemas: BTreeMap<&str, Bytes> = BTreeMap::new();
        let below = format!("{}/", paths::KEYSPACES);
        for node in &nodes {
            let Some((name, rest)) = node.path.strip_prefix(&below).and_then(|path| path.split_once('/')) else {
                continue;
            };
            let vschema = vschemas.entry(name).or_default();
            if rest == "VSchema" {
                *vschema = node.value.clone();
            }
        }
        let bad =
            |path: &str, error: DecodeError| Error::BadData { path: global.full(path), detail: error.to_string() };
        let mut message = Self::default();
        for (name, value) in &vschemas {
            match proven::<Keyspace>(value.clone()) {
                Ok(()) => wire::push(&mut message.encoded, KEYSPACES, &wire::map_entry(name, value)),
                Err(error) => {
                    message.undecodable.insert((*name).to_owned(), bad(&paths::vschema(name), error));
                }
            }
        }
        for (rules, node) in RULES.into_iter().zip(rules) {
            let value = match node {
                Some(node) => node.value,
                None if rules.always => Bytes::new(),
                None => continue,
            };
            match (rules.decoded)(value.clone()) {
                Ok(()) => wire::push(&mut message.encoded, rules.number, &value),
                Err(error) => {
                    let error = bad(rules.path, error);
                    message.undecodable_rules.push((rules, error));
                }
            }
        }
        Ok(message)
    }

    /// Writes it in a cell, with what the cell has of what is not in it.
    async fn put(&self, cell: &Arc<dyn Conn>) -> Result<i64> {
        let mut encoded = self.encoded.clone();
        for (number, payload) in self.present(cell).await? {
            wire::push(&mut encoded, number, &payload);
        }
        cell.write_one(Write::put(paths::SRV_VSCHEMA, encoded, Expect::Any), None).await
    }

    /// The fields that a cell has of that, as far as they can be decoded; empty ones of rules that it does not have and that are always
    /// there.
    async fn present(&self, cell: &Arc<dyn Conn>) -> Result<Vec<(u32, Bytes)>> {
        if self.undecodable.is_empty() && self.undecodable_rules.is_empty() {
            return Ok(Vec::new());
        }
        let fields = match cell.get(paths::SRV_VSCHEMA).await {
            Ok(node) => wire::fields(&node.value).unwrap_or_default(),
            Err(error) if error.is_no_node() => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_entry = |entry: &Bytes| {
            let of_them = wire::map_key(entry).is_some_and(|name| self.undecodable.contains_key(&name));
            of_them && proven::<KeyspacesEntry>(entry.clone()).is_ok()
        };
        let is_kept = |number: u32, payload: &Bytes| {
            let mut rules = self.undecodable_rules.iter().map(|(rules, _)| rules);
            let is_of = |rules: &Rules| rules.number == number && (rules.decoded)(payload.clone()).is_ok();
            number == KEYSPACES && is_entry(payload) || rules.any(is_of)
        };
        let fields = fields.into_iter().filter_map(|field| Some((field.number, field.payload?)));
        let mut kept: Vec<(u32, Bytes)> = fields.filter(|(number, payload)| is_kept(*number, payload)).collect();
        for (rules, _) in self.undecodable_rules.iter().filter(|(rules, _)| rules.always) {
            if !kept.iter().any(|(number, _)| *number == rules.number) {
                kept.push((rules.number, Bytes::new()));
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[test]
    fn what_cannot_be_decoded_is_told_with_the_command_that_puts_another_in_its_place() {
        for (path, command) in [
            ("/vitess/global/RoutingRules", Some("ApplyRoutingRules --rules-file …")),
            ("/vitess/global/ShardRoutingRules", Some("ApplyShardRoutingRules --rules-file …")),
            ("/vitess/global/routing_rules/keyspace/Rules", Some("ApplyKeyspaceRoutingRules --rules-file …")),
            ("/vitess/global/keyspaces/customer/VSchema", Some("ApplyVSchema --vschema-file … customer")),
            ("/vitess/zone1/SrvVSchema", Some("RebuildVSchemaGraph")),
            ("/vitess/global/keyspaces/customer/Keyspace", None),
        ] {
            assert_eq!(fix(path).as_deref(), command, "{path}");
            let help = Error::BadData { path: path.to_owned(), detail: "bad".to_owned() }.help();
            assert!(help.ends_with(command.unwrap_or("inspect it with GetTopologyPath")), "{help}");
        }
    }
}
