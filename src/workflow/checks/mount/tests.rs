use super::*;
use crate::topo::{Dialer, EtcdOptions};
use crate::workflow::findings::Severity;

const KEY: &str = "/vitess/global/keyspaces";

fn look(probed: &Probed) -> Vec<(&'static str, Severity)> {
    let report = probed.check(("etcd2", "host:1", "/vitess/global"), KEY);
    report.findings.into_iter().map(|finding| (finding.id.as_str(), finding.severity)).collect()
}

/// A topology in memory with one cell.
async fn cells() -> Cells {
    use prost::Message;
    let dialer = std::sync::Arc::new(Dialer::new(EtcdOptions::default()));
    let topo = Topo::open(dialer, "memory", "checks-of-mounts", "/vitess/global").await.unwrap();
    let info =
        vtmigrated_proto::topodata::CellInfo { server_address: "checks-of-mounts".into(), root: "/zone1".into() };
    topo.global().create(&paths::cell_info("zone1"), info.encode_to_vec()).await.ok();
    topo.cells().await.unwrap()
}

#[tokio::test]
async fn a_root_holds_cells_and_keyspaces() {
    let keyspaces = vec!["commerce".to_owned()];
    let good = Probed { cells: cells().await, keyspaces: keyspaces.clone(), ..Probed::default() };
    assert!(look(&good).is_empty());
    assert_eq!(look(&Probed { keyspaces, ..Probed::default() }), [("MOUNT_WITHOUT_CELLS", Severity::Warns)]);
    let without = Probed { cells: cells().await, ..Probed::default() };
    assert_eq!(look(&without), [("MOUNT_WITHOUT_KEYSPACES", Severity::Warns)]);
    let silent = Probed { unreachable: vec![("zone1".into(), "refused".into())], ..good };
    assert_eq!(look(&silent), [("CELL_UNREACHABLE", Severity::Warns)]);

    let empty = Probed { siblings: vec!["/vitess/global".into()], ..Probed::default() };
    let report = empty.check(("etcd2", "host:1", "/vitess/wrong"), "/vitess/wrong/keyspaces");
    let finding = &report.findings[0];
    assert_eq!((finding.id.as_str(), finding.code), ("MOUNT_ROOT_MISSING", Code::NotFound));
    assert_eq!(finding.cause, "node doesn't exist: /vitess/wrong/keyspaces");
    assert!(finding.fix.ends_with("found at this server: /vitess/global"), "{finding:?}");
}

#[test]
fn what_keeps_the_topology_from_being_read_blocks() {
    let failure = topo::Error::Unreachable { kind: "etcd2".into(), server: "host:1".into(), detail: "no".into() };
    assert_eq!(look(&Probed { failure: Some(failure), ..Probed::default() }), [("TOPO_UNREACHABLE", Severity::Blocks)]);
    let failure = topo::Error::NoImplementation("zk3".into());
    assert_eq!(look(&Probed { failure: Some(failure), ..Probed::default() }), [("TOPO_TYPE", Severity::Blocks)]);
}

#[test]
fn tablets_answer_and_tell_a_known_version() {
    let dialled = |failed: Option<&str>| vec![("zone1-100".to_owned(), failed.map(str::to_owned), Err(String::new()))];
    assert!(unreachable(&dialled(None)).is_empty());
    assert_eq!(unreachable(&dialled(Some("refused")))[0].id, "TABLET_UNREACHABLE");

    let look = |version: std::result::Result<&str, &str>| {
        let told = version.map(str::to_owned).map_err(str::to_owned);
        let found = versions("the source", std::iter::once(("zone1-100".to_owned(), told)));
        found.into_iter().map(|finding| (finding.id.as_str(), finding.severity)).collect::<Vec<_>>()
    };
    for good in ["22.0.3", "v24.0.1", "23.0.0-rc1", "24.0.0-SNAPSHOT", "25.0.0-SNAPSHOT"] {
        assert!(look(Ok(good)).is_empty(), "{good}");
    }
    for strange in ["19.0.10", "21.0.5", "26.0.0", "unknown"] {
        assert_eq!(look(Ok(strange)), [("VERSION_UNTRIED", Severity::Warns)], "{strange}");
    }
    assert_eq!(look(Err("no port")), [("VERSION_UNKNOWN", Severity::Unchecked)]);
    let told = ["19.0.10", "v21.0.5", "22.0.3", "24.0.4", "unknown"]
        .map(|version| (version.to_owned(), Ok(version.to_owned())));
    let silent = ("silent".to_owned(), Err("no port".to_owned()));
    let found = too_old(told.iter().chain([&silent]));
    assert_eq!(found.iter().map(|f| f.subject.as_str()).collect::<Vec<_>>(), ["tablet 19.0.10", "tablet v21.0.5"]);
    assert!(found.iter().all(|f| (f.id.as_str(), f.severity) == ("VERSION_TOO_OLD", Severity::Blocks)));
}
