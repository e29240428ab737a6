//! The topology as a tree: what is stored at a path, decoded.

mod print;

use std::sync::Arc;

use bytes::Bytes;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{Error, Result, cell};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::topo::{self, Conn, paths};

/// Longest path, in bytes.
const MAX_PATH: usize = 4096;

/// A node of the tree: a record with its data, or a directory with its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub name: String,
    pub path: String,
    pub data: String,
    pub children: Vec<String>,
    pub version: i64,
}

/// What is at `/<cell>/<path>`; `/` lists `global` and the cells.
///
/// # Errors
/// Refused: paths that are none or that lead out of the root, and versions that are not the stored one: old ones are not
/// read (stock reads those that etcd has not compacted yet).
pub async fn get(context: &Context, path: &str, version: i64, as_json: bool) -> Result<Cell> {
    if path == "/" {
        let cells = context.topo.cells().await?;
        let children = ["global"].into_iter().chain(cells.names()).map(str::to_owned).collect();
        return Ok(Cell { path: path.to_owned(), children, ..Cell::default() });
    }
    let (name, relative) = split(path)?;
    let relative = relative.as_str();
    let conn =
        conn(context, name).await.map_err(|error| error.doing(format!("error fetching connection to cell {name}")))?;
    let last = path.rsplit('/').next().unwrap_or_default();
    let found = Cell { name: last.to_owned(), path: path.to_owned(), ..Cell::default() };
    let node = match conn.get(relative).await {
        Ok(node) => node,
        Err(error) if error.is_no_node() => {
            let children = conn.list_dir(relative).await?;
            if children.is_empty() {
                let error = topo::Error::NoNode(format!("{}/", conn.full(relative)));
                let doing = format!("cell {name} with path {path} has no file contents and no children");
                return Err(error.wrap(doing).into());
            }
            return Ok(Cell { children, ..found });
        }
        Err(error) => return Err(error.into()),
    };
    if version != 0 && version != node.version {
        let text = format!("version {version} of {path} is no longer stored: its version is {}", node.version);
        return Err(Error::refused(
            Code::NotFound,
            Reason::TOPO_VERSION,
            text,
            "omit --version to read the current one",
        ));
    }
    let data = decode(relative, &node.value, as_json)
        .map_err(|error| error.doing(format!("error decoding file content for cell {path}")))?;
    Ok(Cell { data, version: node.version, ..found })
}

/// Cell and path within it; slashes more than one and dots count as in any path.
fn split(path: &str) -> Result<(&str, String)> {
    let bad = || {
        let shown: String = path.chars().take(256).collect();
        Error::bad_argument(format!("invalid path: {}", shown.escape_debug()))
    };
    let hostile = path.len() > MAX_PATH || path.chars().any(char::is_control) || path.split('/').any(|p| p == "..");
    let rest = path.strip_prefix('/').filter(|_| !hostile).ok_or_else(bad)?;
    let (cell, relative) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((cell, paths::join("", relative)))
}

async fn conn(context: &Context, name: &str) -> Result<Arc<dyn Conn>> {
    if name == "global" {
        return Ok(Arc::clone(context.topo.global()));
    }
    cell::check_name(name)?;
    Ok(context.topo.cell(name).await?)
}

/// The message that is stored at a path, told by its last parts.
fn message(path: &str) -> Option<&'static str> {
    let (dir, name) = path.trim_matches('/').rsplit_once('/').unwrap_or(("", path));
    match (dir, name) {
        (_, "CellInfo") => Some("topodata.CellInfo"),
        (_, "CellsAlias") => Some("topodata.CellsAlias"),
        (_, "Keyspace") => Some("topodata.Keyspace"),
        (_, "Shard") => Some("topodata.Shard"),
        (_, "VSchema") => Some("vschema.Keyspace"),
        (_, "ShardReplication") => Some("topodata.ShardReplication"),
        (_, "Tablet") => Some("topodata.Tablet"),
        (_, "SrvVSchema") => Some("vschema.SrvVSchema"),
        (_, "SrvKeyspace") => Some("topodata.SrvKeyspace"),
        ("", "RoutingRules") => Some("vschema.RoutingRules"),
        ("", "ShardRoutingRules") => Some("vschema.ShardRoutingRules"),
        ("", "MirrorRules") => Some("vschema.MirrorRules"),
        ("routing_rules/keyspace", "Rules") => Some("vschema.KeyspaceRoutingRules"),
        (paths::EXTERNAL_CLUSTERS, _) => Some("topodata.ExternalVitessCluster"),
        _ => None,
    }
}

/// A record as text (or JSON): messages decoded, anything else as it is.
///
/// # Errors
/// What is no message of the kind that is stored at such a path, and JSON of what is stored at no such path.
pub fn decode(path: &str, value: &Bytes, as_json: bool) -> Result<String> {
    let Some(descriptor) = message(path).and_then(descriptor) else {
        if as_json {
            let name = path.rsplit('/').next().unwrap_or_default();
            return Err(Error::bad_argument(format!("unknown topo protobuf type for {name}")));
        }
        return Ok(String::from_utf8_lossy(value).into_owned());
    };
    let bad = |detail: String| topo::Error::BadData { path: path.to_owned(), detail };
    let message = DynamicMessage::decode(descriptor.clone(), value.clone()).map_err(|error| bad(error.to_string()))?;
    if as_json {
        return Ok(print::json(&message, &descriptor).map_err(|error| bad(error.to_string()))?);
    }
    Ok(print::text(&message))
}

fn descriptor(name: &str) -> Option<MessageDescriptor> {
    topo::json::pool()?.get_message_by_name(name)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vtmigrated_proto::topodata::shard::TabletControl;
    use vtmigrated_proto::topodata::{CellInfo, KeyRange, Shard, TabletType};
    use vtmigrated_proto::vschema::{Keyspace, keyspace::TablesEntry};

    use super::*;

    #[test]
    fn records_are_decoded_by_their_path() {
        let info = CellInfo { server_address: "localhost:2379".into(), root: "/vitess/zone1".into() };
        let info = Bytes::from(info.encode_to_vec());
        let text = decode("cells/zone1/CellInfo", &info, false).unwrap();
        assert_eq!(text, r#"server_address:"localhost:2379" root:"/vitess/zone1""#);
        let json = decode("cells/zone1/CellInfo", &info, true).unwrap();
        assert_eq!(json, "{\n  \"server_address\": \"localhost:2379\",\n  \"root\": \"/vitess/zone1\"\n}");
        let range = Some(KeyRange { start: vec![], end: vec![0x80] });
        let control = TabletControl {
            tablet_type: TabletType::Replica.into(),
            cells: vec!["a".into(), "b".into()],
            ..TabletControl::default()
        };
        let shard =
            Shard { key_range: range, is_primary_serving: true, tablet_controls: vec![control], ..Shard::default() };
        let shard = Bytes::from(shard.encode_to_vec());
        let text = decode("keyspaces/k/shards/-80/Shard", &shard, false).unwrap();
        let controls = r#"tablet_controls:{tablet_type:REPLICA cells:"a" cells:"b"}"#;
        assert_eq!(text, format!(r#"key_range:{{end:"\x80"}} {controls} is_primary_serving:true"#));
        let json = decode("keyspaces/k/shards/-80/Shard", &shard, true).unwrap();
        assert!(json.contains("\"end\": \"gA==\"") && json.contains("\"is_primary_serving\": true"), "{json}");
    }

    #[test]
    fn maps_are_sorted_and_keep_empty_values() {
        let entry = |key: &str| TablesEntry { key: key.into(), value: Some(Default::default()) };
        let vschema = Keyspace { tables: vec![entry("b"), entry("a"), entry("c")], ..Keyspace::default() };
        let json = decode("keyspaces/k/VSchema", &Bytes::from(vschema.encode_to_vec()), true).unwrap();
        let text = decode("keyspaces/k/VSchema", &Bytes::from(vschema.encode_to_vec()), false).unwrap();
        assert!(text.starts_with(r#"tables:{key:"a" value:{}} tables:{key:"b" "#), "{text}");
        assert_eq!(json, "{\n  \"tables\": {\n    \"a\": {},\n    \"b\": {},\n    \"c\": {}\n  }\n}");
    }

    #[test]
    fn what_is_not_known_is_shown_as_it_is() {
        let lock = Bytes::from_static(b"{\"Action\": \"x\"}");
        assert_eq!(decode("keyspaces/k/locks/7", &lock, false).unwrap(), "{\"Action\": \"x\"}");
        assert_eq!(
            decode("keyspaces/k/locks/7", &lock, true).unwrap_err().to_string(),
            "unknown topo protobuf type for 7"
        );
        let garbage = decode("cells/x/CellInfo", &Bytes::from_static(b"\xff\xff"), false).unwrap_err();
        assert!(garbage.to_string().starts_with("bad topology data at cells/x/CellInfo: "));
    }

    #[test]
    fn paths_stay_within_the_root() {
        assert_eq!(split("/global/cells").unwrap(), ("global", "cells".into()));
        assert_eq!(split("/zone1").unwrap(), ("zone1", String::new()));
        assert_eq!(split("/zone1//tablets/./").unwrap(), ("zone1", "tablets".into()));
        for bad in ["", "global", "/global/../..", "/global/a\nb", &format!("/{}", "x".repeat(65_536))] {
            assert!(split(bad).unwrap_err().to_string().starts_with("invalid path: "));
        }
    }
}
