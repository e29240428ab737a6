use vtmigrated_proto::topodata::TabletAlias;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

use super::*;
use crate::error::{Code, Explain};

fn arguments(cells: &[&str], types: &[TabletType]) -> Arguments {
    let request = MigrateCreateRequest {
        workflow: "wf".into(),
        source_keyspace: "commerce".into(),
        target_keyspace: "customer".into(),
        mount_name: "ext1".into(),
        cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
        tablet_types: types.iter().map(|kind| (*kind).into()).collect(),
        ..MigrateCreateRequest::default()
    };
    Arguments::try_from(request).unwrap()
}

fn tablet(cell: &str, uid: u32, kind: TabletType) -> Tablet {
    let alias = Some(TabletAlias { cell: cell.into(), uid });
    Tablet { alias, r#type: kind.into(), hostname: "host".into(), ..Tablet::default() }
}

/// A source with the cells zone1, which has all tablets, and zone9, target tablets in `own`.
fn choose(own: &str, cells: &[&str], types: &[TabletType]) -> Result<Vec<String>> {
    let shard = vec![tablet("zone1", 100, TabletType::Primary), tablet("zone1", 101, TabletType::Replica)];
    let tablets = BTreeMap::from([("0".to_owned(), shard)]);
    let west = BTreeMap::from([("west".to_owned(), vec!["zone1".to_owned(), "zone3".to_owned()])]);
    let aliases = Aliases { known: west, unread: Vec::new() };
    let candidates = Candidates {
        keyspace: "commerce",
        tablets: &tablets,
        cells: BTreeSet::from(["zone1", "zone9"]),
        aliases: &aliases,
    };
    super::cells(&candidates, &arguments(cells, types), &BTreeSet::from([own]), &BTreeSet::from([own]))
}

#[test]
fn nothing_is_changed_where_the_tablets_find_a_source_by_themselves() {
    let replica = [TabletType::Replica];
    assert!(choose("zone1", &[], &replica).unwrap().is_empty());
    assert!(choose("zone3", &[], &replica).unwrap().is_empty());
    assert!(choose("zone2", &[], &[TabletType::Primary]).unwrap().is_empty());
    assert_eq!(choose("zone2", &["zone1"], &replica).unwrap(), ["zone1"]);
    assert_eq!(choose("zone2", &["west", "zone2"], &replica).unwrap(), ["west", "zone2"]);
}

#[test]
fn without_cells_those_of_the_source_are_given_when_the_own_would_not_do() {
    assert_eq!(choose("zone2", &[], &[TabletType::Replica, TabletType::Primary]).unwrap(), ["zone1"]);
    assert_eq!(choose("zone2", &[], &[]).unwrap(), ["zone1"]);
}

#[test]
fn what_nobody_serves_is_refused_with_what_there_is() {
    let error = choose("zone1", &[], &[TabletType::Rdonly]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no tablet found to stream from in source shard commerce/0: tablet types rdonly, cells zone1 of the source; \
         its tablets are zone1-0000000100 (primary), zone1-0000000101 (replica)"
    );
    assert_eq!((error.code(), error.help().as_str()), (Code::FailedPrecondition, "use --tablet-types replica,primary"));
    let error = choose("zone2", &["zone9"], &[TabletType::Replica]).unwrap_err();
    assert!(error.to_string().contains("cells zone9 of the source"), "{error}");
    assert_eq!(error.help(), "use --cells zone1");
}

#[test]
fn every_shard_that_lacks_a_tablet_is_named() {
    let tablets = BTreeMap::from([
        ("-40".to_owned(), vec![tablet("zone1", 1, TabletType::Primary)]),
        ("40-80".to_owned(), vec![tablet("zone1", 2, TabletType::Primary), tablet("zone1", 3, TabletType::Rdonly)]),
        ("80-c0".to_owned(), vec![tablet("zone9", 4, TabletType::Replica)]),
        ("c0-".to_owned(), vec![tablet("zone1", 5, TabletType::Spare)]),
    ]);
    let cells = BTreeSet::from(["zone1", "zone9"]);
    let candidates = Candidates { keyspace: "commerce", tablets: &tablets, cells, aliases: &Aliases::default() };
    let own = BTreeSet::from(["zone1"]);
    let lacking = |cells: &[&str]| {
        let refused = super::cells(
            &candidates,
            &arguments(cells, &[TabletType::Replica]),
            &own,
            &BTreeSet::from(["zone1", "zone2"]),
        )
        .unwrap_err();
        let Error::Several(errors) = refused else { panic!("{refused}") };
        let lines = errors.iter().map(|e| (e.to_string().split(' ').nth(9).unwrap().to_owned(), e.help()));
        lines.collect::<Vec<_>>()
    };
    let pair = |shard: &str, help: &str| (format!("commerce/{shard}:"), help.to_owned());
    let mut expected = vec![
        pair("-40", "use --tablet-types primary"),
        pair("40-80", "use --tablet-types rdonly,primary"),
        pair("c0-", "start a tablet there: none is a replica, rdonly or primary"),
    ];
    // the streams would be given the cell of 80-c0's tablet
    assert_eq!(lacking(&[]), expected);
    expected.insert(2, pair("80-c0", "use --cells zone9"));
    assert_eq!(lacking(&["zone1"]), expected);
}

#[test]
fn all_cells_of_the_target_mean_all_cells_of_the_source_where_they_would_not_do() {
    assert_eq!(choose("zone2", &["zone2"], &[TabletType::Replica]).unwrap(), ["zone1"]);
    assert_eq!(choose("zone1", &["zone1"], &[TabletType::Replica]).unwrap(), ["zone1"]);
}

#[test]
fn a_cell_that_nobody_has_is_refused() {
    let error = choose("zone1", &["mars"], &[TabletType::Primary]).unwrap_err();
    assert_eq!(error.to_string(), "cell mars is unknown: the cells of the source are zone1, zone9");
    assert_eq!((error.code(), error.help().as_str()), (Code::NotFound, "use --cells zone1"));
    let error = choose("zone1", &["mars"], &[TabletType::Rdonly]).unwrap_err();
    assert!(error.help().starts_with("use --tablet-types replica,primary: "), "{}", error.help());
}
