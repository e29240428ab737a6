//! What a refusal tells of many streams.

use super::*;
use crate::error::Explain;
use crate::topo::Cells;
use crate::workflow::names;

fn refused(findings: &[Finding]) -> Error {
    let target = Keyspace { name: "customer".into(), cells: Cells::default(), shards: Vec::new(), silent: Vec::new() };
    refusal(&target, "import", findings.iter().collect(), Vec::new())
}

#[test]
fn a_refusal_for_many_streams_names_some_and_fits_into_trailers() {
    let tables: Vec<String> = (0..10_000).map(|number| format!("table{number:05}")).collect();
    let finding = |id: usize| {
        let cause = format!("copying is not over, left: {}", names::some(&tables, ", "));
        Finding::new(&check::COPYING, format!("customer/{id:02x} stream {id}"), cause, "wait until it is Running")
    };
    let findings: Vec<Finding> = (0..64).map(finding).collect();
    let error = refused(&findings);
    let (text, help, violations) = (error.to_string(), error.help(), error.violations());
    assert!(text.contains("customer/0b stream 11: copying") && text.ends_with("; and 52 more"), "{text}");
    assert_eq!((violations.len(), help.matches("COPYING: wait").count()), (names::NAMED, 1), "{help}");
    // the details of the status have the text, the help behind it and once more, and the violations
    let listed: usize = violations.iter().map(|v| v.reason.as_str().len() + v.subject.len() + v.text.len()).sum();
    let details = text.len() + 2 * help.len() + listed;
    assert!(details < 8 * 1024, "{details} bytes");
}

#[test]
fn the_first_reason_is_told_whole() {
    let long = |id: usize| {
        let cause = format!("{id}{}.", "x".repeat(500));
        Finding::new(&check::ERROR, format!("customer/0 stream {id}"), cause, format!("fix {id}"))
    };
    let text = refused(&[long(1)]).to_string();
    assert!(text.contains("customer/0 stream 1: 1x") && text.ends_with("x."), "{text}");
    let (text, help) = (refused(&[long(1), long(2)]).to_string(), refused(&[long(1), long(2)]).help());
    assert!(text.contains("x.; customer/0 stream 2: 2x") && text.ends_with("x…"), "{text}");
    assert!(help.starts_with("ERROR: fix 1\nwithout") && help.ends_with(" --keep-data\nERROR: fix 2"), "{help}");
}

#[test]
fn the_ways_out_are_told_however_much_else_there_is() {
    let long = |id: usize| Finding::new(&check::ERROR, format!("stream {id}"), "x".repeat(500), "m".repeat(500 + id));
    let help = refused(&(0..64).map(long).collect::<Vec<_>>()).help();
    // so much of a help is told whatever else there is
    let told = &help[..512];
    for way_out in [
        "without that proof, as when the source is gone for good (rows may be missing): MoveTables --workflow import \
         --target-keyspace customer complete --ignore-source-keyspace\n",
        "to end it as it is (rows may be missing): Workflow --keyspace customer delete --workflow import --keep-data\n",
    ] {
        assert!(told.contains(way_out), "{told}");
    }
}

#[test]
fn what_mends_it_is_told_before_what_loses_rows() {
    let of_the_target = Finding::new(&check::COPYING, "stream 1", "copying is not over", "wait");
    let help = refused(&[of_the_target]).help();
    assert!(help.starts_with("COPYING: wait\nto end it as it is (rows may be missing): "), "{help}");
    assert!(!help.contains("--ignore-source-keyspace") && help.ends_with(" --keep-data"), "{help}");
    let fix = |length: usize| {
        let help = refused(&[Finding::new(&check::BEHIND, "stream 1", "it is behind", "m".repeat(length))]).help();
        (help.starts_with("BEHIND: mm"), help[..help.len().min(512)].contains(" --keep-data"))
    };
    // however long the fix, the ways out are in what is told whatever else there is
    assert!((1..512).all(|length| fix(length).1), "a way out is cut");
    assert_eq!((fix(150).0, fix(400).0), (true, false));
    let unknown = Finding::new(&check::POSITION_UNKNOWN, "stream 1", "nobody can tell", "");
    assert!(refused(&[unknown]).help().starts_with("without that proof"));
}
