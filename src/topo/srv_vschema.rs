//! The SrvVSchema of each cell, put together from the VSchemas of all keyspaces and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;
use vtmigrated_proto::vschema::{
    Keyspace, KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules, SrvVSchema,
};

use super::{Cells, Conn, Error, Expect, Node, Record, Result, Write, paths, wire};

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
        match Record::<SrvVSchema>::find(conn, paths::SRV_VSCHEMA).await {
            Err(Error::BadData { path, detail }) if path.ends_with(paths::SRV_VSCHEMA) => {
                Ok(Err(Error::BadData { path, detail }))
            }
            found => Ok(Ok(found?.map(|record| record.value))),
        }
    });
    asked.await
}

/// As [`rebuild`], but cells that cannot be reached are left out, and VSchemas that cannot be decoded [passed
/// over](Cells::passed_over).
///
/// # Errors
/// Read errors; the first failed write when no cell could be written.
pub async fn rebuild_reachable(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = Message::read(global).await?;
    let written = cells.ask_all(|_, conn| message.put(conn)).await;
    for (keyspace, error) in &message.undecodable {
        let why = format!("{error}; cells serve what they had of it, until: ApplyVSchema --vschema-file … {keyspace}");
        cells.pass_over(format!("the VSchema of keyspace {keyspace}"), why);
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
/// nothing of a message of which a part cannot be decoded: of a keyspace with such a VSchema each cell keeps what it has, which
/// takes one more round trip.
///
/// # Errors
/// Read errors, rules that cannot be decoded, and the first failed write; the other cells are written all the same.
/// [`Error::BadData`] for a VSchema that cannot be decoded, once all cells are written.
pub async fn rebuild(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = Message::read(global).await?;
    let writes = cells.iter().map(|(_, conn)| message.put(conn));
    futures::future::join_all(writes).await.into_iter().collect::<Result<Vec<_>>>()?;
    message.undecodable.into_values().next().map_or(Ok(()), Err)
}

/// Field number of `keyspaces` in a SrvVSchema.
const KEYSPACES: u32 = 1;

/// Proves that a node can be decoded.
type Proof = fn(Node, &Arc<dyn Conn>) -> Result<()>;

/// The rules of a SrvVSchema, by their field numbers.
const RULES: [(u32, &str, Proof); 4] = [
    (2, paths::ROUTING_RULES, proven::<RoutingRules>),
    (3, paths::SHARD_ROUTING_RULES, proven::<ShardRoutingRules>),
    (4, paths::KEYSPACE_ROUTING_RULES, proven::<KeyspaceRoutingRules>),
    (5, paths::MIRROR_RULES, proven::<MirrorRules>),
];

fn proven<T: prost::Message + Default>(node: Node, conn: &Arc<dyn Conn>) -> Result<()> {
    Record::<T>::decode(node, conn).map(drop)
}

/// A SrvVSchema of what the global topology has.
#[derive(Default)]
struct Message {
    /// Without the keyspaces whose VSchema cannot be decoded.
    encoded: Vec<u8>,
    /// Those, with the reasons.
    undecodable: BTreeMap<String, Error>,
}

impl Message {
    /// One round trip.
    async fn read(global: &Arc<dyn Conn>) -> Result<Self> {
        let rules = RULES.iter().map(|(_, path, _)| (*path).to_owned()).collect();
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
        let mut message = Self::default();
        for (name, value) in &vschemas {
            match <Keyspace as prost::Message>::decode(value.clone()) {
                Ok(_) => wire::push(&mut message.encoded, KEYSPACES, &wire::map_entry(name, value)),
                Err(error) => {
                    let bad = Error::BadData { path: global.full(&paths::vschema(name)), detail: error.to_string() };
                    message.undecodable.insert((*name).to_owned(), bad);
                }
            }
        }
        for ((number, _, proven), node) in RULES.into_iter().zip(rules) {
            match node {
                Some(node) => {
                    wire::push(&mut message.encoded, number, &node.value);
                    proven(node, global)?;
                }
                None if number != 4 => wire::push(&mut message.encoded, number, &[]),
                None => {}
            }
        }
        Ok(message)
    }

    /// Writes it in a cell, with what the cell has of the keyspaces that are not in it.
    async fn put(&self, cell: &Arc<dyn Conn>) -> Result<i64> {
        let mut encoded = self.encoded.clone();
        for entry in self.present(cell).await? {
            wire::push(&mut encoded, KEYSPACES, &entry);
        }
        cell.write_one(Write::put(paths::SRV_VSCHEMA, encoded, Expect::Any), None).await
    }

    /// The entries that a cell has of them, as far as they can be decoded.
    async fn present(&self, cell: &Arc<dyn Conn>) -> Result<Vec<Bytes>> {
        if self.undecodable.is_empty() {
            return Ok(Vec::new());
        }
        let fields = match cell.get(paths::SRV_VSCHEMA).await {
            Ok(node) => wire::fields(&node.value).unwrap_or_default(),
            Err(error) if error.is_no_node() => Vec::new(),
            Err(error) => return Err(error),
        };
        let is_kept = |entry: &Bytes| {
            let of_them = wire::map_key(entry).is_some_and(|name| self.undecodable.contains_key(&name));
            of_them && <KeyspacesEntry as prost::Message>::decode(entry.clone()).is_ok()
        };
        let entries = fields.into_iter().filter(|field| field.number == KEYSPACES).filter_map(|field| field.payload);
        Ok(entries.filter(is_kept).collect())
    }
}
