use vtmigrated_proto::topodata::TabletAlias;

use super::*;
use crate::workflow::checks::servers::Servers;

fn tablet(cell: &str, uid: u32, kind: TabletType) -> Tablet {
    let alias = Some(TabletAlias { cell: cell.into(), uid });
    Tablet { alias, r#type: kind.into(), hostname: "host".into(), ..Tablet::default() }
}

/// A shard with a primary and a replica in zone1 and a replica in zone2.
fn look(health: [&Health; 3], types: &[TabletType], cells: &[&str]) -> Vec<Finding> {
    let tablets = [
        tablet("zone1", 100, TabletType::Primary),
        tablet("zone1", 101, TabletType::Replica),
        tablet("zone2", 102, TabletType::Replica),
    ];
    let health = tablets.iter().zip(health).map(|(t, health)| (tablet::alias(t), health.clone())).collect();
    let tablets = BTreeMap::from([("0".to_owned(), tablets.to_vec())]);
    serving("commerce", &tablets, &health, types, &cells.iter().copied().collect())
}

#[test]
fn somebody_of_the_wanted_types_and_cells_serves() {
    use TabletType::{Primary, Replica};
    let up = &Health::Serving;
    let down = &Health::NotServing("lag 3 h".into());
    let silent = &Health::Unknown("UNIMPLEMENTED".into());
    assert!(look([up, up, up], &[Replica], &["zone1"]).is_empty());
    assert!(look([down, up, down], &[Replica, Primary], &["zone1"]).is_empty());
    assert!(look([up, down, down], &[], &["zone1"]).is_empty());
    // with primary alone cells do not matter
    assert!(look([up, down, down], &[Primary], &["zone2"]).is_empty());
    // nobody of that kind at all is for others to tell
    assert!(look([up, up, up], &[TabletType::Rdonly], &["zone1"]).is_empty());

    let found = look([up, down, up], &[Replica], &["zone1"]);
    assert_eq!((found[0].id.as_str(), found[0].severity), ("SOURCE_TABLET_NOT_SERVING", Severity::Blocks));
    assert!(found[0].cause.starts_with("no tablet found to stream from in source shard commerce/0: "), "{found:?}");
    assert!(found[0].cause.ends_with("zone1-0000000101 (replica): lag 3 h"), "{found:?}");
    assert_eq!(found[0].fix, "fix them, or use --cells zone1 --tablet-types primary");
    let found = look([down, silent, up], &[Replica, Primary], &["zone1"]);
    assert_eq!((found[0].id.as_str(), found[0].severity), ("SOURCE_HEALTH_UNKNOWN", Severity::Unchecked));
}

fn server(uid: u32, variables: &[(&str, &str)]) -> Server {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Server {
        shard: "commerce/0".into(),
        alias: format!("zone1-{uid:010}"),
        candidate: true,
        answers: Ok(Answers { variables, ..Answers::default() }),
    }
}

const GOOD: [(&str, &str); 4] =
    [("log_bin", "ON"), ("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("gtid_mode", "ON")];

#[test]
fn binlogs_have_what_streams_need() {
    assert!(binlogs(&[server(100, &GOOD)]).is_empty());
    // what a version does not have is no reason
    assert!(binlogs(&[server(100, &[])]).is_empty());
    let cases = [
        ("log_bin", "OFF", "BINLOG_OFF", Severity::Blocks),
        ("binlog_format", "MIXED", "BINLOG_NOT_ROW", Severity::Blocks),
        ("binlog_row_image", "MINIMAL", "ROW_IMAGE_MINIMAL", Severity::Blocks),
        ("binlog_row_image", "noblob", "ROW_IMAGE_NOBLOB", Severity::Warns),
        ("gtid_mode", "OFF_PERMISSIVE", "GTID_OFF", Severity::Blocks),
    ];
    for (name, value, id, severity) in cases {
        let bad: Vec<_> = GOOD.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect();
        let found = binlogs(&[server(100, &bad)]);
        assert_eq!((found[0].id.as_str(), found[0].severity, found.len()), (id, severity, 1), "{found:?}");
        // the streams may pick the other one
        let found = binlogs(&[server(100, &bad), server(101, &GOOD)]);
        assert_eq!((found[0].id.as_str(), found[0].severity, found.len()), (id, Severity::Warns, 1), "{found:?}");
        let mut unused = server(100, &bad);
        unused.candidate = false;
        assert!(binlogs(&[unused]).is_empty());
    }
}

#[test]
fn a_target_has_the_row_image_with_which_its_tablets_run_streams() {
    let found = |image: &str| row_images(&[server(200, &[("binlog_row_image", image)])]);
    assert!(found("FULL").is_empty() && found("full").is_empty());
    // what did not tell is told elsewhere
    assert!(row_images(&[server(200, &[])]).is_empty());
    for (image, text) in [
        ("NOBLOB", "noblob binlog_row_image is not supported for Migrate: "),
        ("MINIMAL", "minimal binlog_row_image is not supported by Vitess VReplication: "),
    ] {
        let found = found(image);
        assert_eq!((found[0].id.as_str(), found[0].severity), ("TARGET_ROW_IMAGE", Severity::Blocks));
        assert!(found[0].cause.starts_with(text), "{found:?}");
    }
}

#[test]
fn a_tablet_that_reads_places_in_binlogs_needs_no_gtids() {
    let off: Vec<_> = GOOD.iter().map(|(n, v)| if *n == "gtid_mode" { (*n, "OFF") } else { (*n, *v) }).collect();
    let mut by_place = server(100, &off);
    by_place.answers.as_mut().unwrap().by_place = true;
    assert!(binlogs(&[by_place]).is_empty());
    assert_eq!(binlogs(&[server(100, &off)])[0].id, "GTID_OFF");
}

#[test]
fn binlogs_outlive_the_copy() {
    let hour = COPY_RATE * 3600;
    let keeps = |name: &str, value: &str, bytes| retention(&[server(100, &[(name, value)])], bytes).len();
    assert_eq!(keeps("binlog_expire_logs_seconds", "7300", 2 * hour), 0);
    assert_eq!(keeps("binlog_expire_logs_seconds", "7100", 2 * hour), 1);
    assert_eq!(keeps("binlog_expire_logs_seconds", "0", 9999 * hour), 0);
    assert_eq!(keeps("expire_logs_days", "1", 25 * hour), 1);
    assert_eq!(keeps("version", "5.7", 9999 * hour), 0);
    let found = retention(&[server(100, &[("binlog_expire_logs_seconds", "3600")])], 2 * hour);
    assert!(found[0].cause.contains("copying 70.3 GiB may take about 2 h (an estimate)"), "{found:?}");
    assert!(disk("customer", 2, 4096).cause.contains("4.0 KiB in all, 2.0 KiB on each target shard"));
}

#[test]
fn silence_is_told() {
    let told = server(100, &GOOD);
    let silent = Server { answers: Err("permission denied".into()), ..server(101, &[]) };
    let servers = |source: Server, target: Server| Servers { source: vec![source], target: vec![target] };
    let fine = ProbeAnswers { servers: servers(told.clone(), told.clone()), ..ProbeAnswers::default() };
    assert!(answers(&fine).is_empty());
    let denied = vec![("zone2-0000000200".to_owned(), "user vt_filtered: no".to_owned())];
    let asked = ProbeAnswers { servers: servers(silent.clone(), silent), denied, ..ProbeAnswers::default() };
    let found: Vec<_> = answers(&asked).into_iter().map(|finding| (finding.id.as_str(), finding.severity)).collect();
    let unchecked = Severity::Unchecked;
    assert_eq!(
        found,
        [
            ("SOURCE_NOT_ASKED", unchecked),
            ("TARGET_NOT_ASKED", unchecked),
            ("VREPLICATION_PERMISSIONS", Severity::Blocks)
        ]
    );
}
