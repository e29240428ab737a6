//! The topology as a tree.

use tonic::Code;
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused};

fn at(path: &str, as_json: bool) -> GetTopologyPathRequest {
    GetTopologyPathRequest { path: path.into(), version: 0, as_json }
}

async fn children(lab: &mut Lab, path: &str) -> Vec<String> {
    lab.client.get_topology_path(at(path, false)).await.unwrap().into_inner().cell.unwrap().children
}

#[tokio::test]
async fn the_tree_is_walked_from_its_root() {
    let mut lab = Lab::with_keyspace("ks", &["-80"]).await;
    assert_eq!(children(&mut lab, "/").await, ["global", "zone1", "zone2"]);
    assert_eq!(children(&mut lab, "/global").await, ["cells", "keyspaces"]);
    assert_eq!(children(&mut lab, "/global/keyspaces/ks").await, ["Keyspace", "VSchema", "shards"]);
    assert_eq!(children(&mut lab, "/zone1").await, ["SrvVSchema"]);
    let path = "/global/keyspaces/ks/shards/-80/Shard";
    let cell = lab.client.get_topology_path(at(path, true)).await.unwrap().into_inner().cell.unwrap();
    assert_eq!((cell.name.as_str(), cell.path.as_str(), cell.children.len()), ("Shard", path, 0));
    assert_eq!(cell.data, "{\n  \"key_range\": {\n    \"end\": \"gA==\"\n  },\n  \"is_primary_serving\": true\n}");
    let version = cell.version;
    assert!(version > 0);
    let same = GetTopologyPathRequest { version, ..at(path, false) };
    let cell = lab.client.get_topology_path(same).await.unwrap().into_inner().cell.unwrap();
    assert!(cell.data.contains("is_primary_serving:true"), "{}", cell.data);
    let old = GetTopologyPathRequest { version: version + 1000, ..at(path, false) };
    assert_refused(lab.client.get_topology_path(old).await, Code::NotFound, "version ");
}

#[tokio::test]
async fn paths_that_hold_nothing_or_lead_out_are_refused() {
    let mut lab = Lab::start().await;
    let missing = lab.client.get_topology_path(at("/global/keyspaces/nope", false)).await;
    let text =
        "cell global with path /global/keyspaces/nope has no file contents and no children: node doesn't exist: ";
    assert_refused(missing, Code::NotFound, text);
    let missing = lab.client.get_topology_path(at("/zone3/x", false)).await;
    assert_refused(missing, Code::NotFound, "error fetching connection to cell zone3: node doesn't exist: ");
    for path in ["global/cells", "", "/global/../../etc", "/global/a\nb"] {
        let bad = lab.client.get_topology_path(at(path, false)).await;
        assert_refused(bad, Code::InvalidArgument, "invalid path: ");
    }
    for name in HOSTILE.iter().filter(|name| !name.contains('/')) {
        let bad = lab.client.get_topology_path(at(&format!("/{name}/x"), false)).await;
        assert_refused(bad, Code::InvalidArgument, "");
    }
    lab.put("cells/zone1/CellInfo", b"\xff\xff".to_vec()).await;
    let garbage = lab.client.get_topology_path(at("/global/cells/zone1/CellInfo", true)).await;
    assert_refused(garbage, Code::DataLoss, "error decoding file content for cell /global/cells/zone1/CellInfo: ");
}
