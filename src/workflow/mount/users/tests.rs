use futures::FutureExt;
use vtmigrated_proto::topodata::{Shard, TabletAlias};

use super::*;
use crate::error::Code;
use crate::topo::Record;

fn shard() -> TargetShard {
    let alias = TabletAlias { cell: "zone1".into(), uid: 1 };
    let value = Shard { primary_alias: Some(alias), ..Shard::default() };
    let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1, created: 1 };
    TargetShard { name: "-80".into(), record, primary: None, missing: String::new(), unread: None }
}

fn of(answers: Vec<tablet::Result<Vec<String>>>, silent: Option<topo::Error>) -> Result<Vec<String>> {
    let left_out: Vec<_> = silent.into_iter().map(|why| ("zone1".to_owned(), why)).collect();
    from(&left_out, answers)
}

fn from(left_out: &[(String, topo::Error)], answers: Vec<tablet::Result<Vec<String>>>) -> Result<Vec<String>> {
    told(("customer", "ext1"), &shard(), left_out, stream::iter(answers)).now_or_never().unwrap()
}

fn unreachable(detail: &str) -> tablet::Error {
    let (alias, address) = ("zone1-0000000001".to_owned(), "h:1".to_owned());
    tablet::Error::Unreachable { alias, address, method: "ExecuteFetchAsApp", detail: detail.into() }
}

#[test]
fn a_shard_whose_tablets_run_and_do_not_tell_is_not_one_that_reads_nothing() {
    let down = || Err(unreachable("Connection refused"));
    let slow = || {
        let (alias, address) = ("zone1-0000000002".to_owned(), "h:2".to_owned());
        Err(tablet::Error::Slow { alias, address, method: "ExecuteFetchAsApp", seconds: 15 })
    };
    assert_eq!(of(vec![slow(), Ok(vec!["import".into()])], None).unwrap(), ["import"]);
    assert!(of(vec![down(), down()], None).unwrap().is_empty());
    assert!(of(Vec::new(), None).unwrap().is_empty());
    for answers in [vec![down(), slow()], vec![Err(unreachable("connection reset by peer"))]] {
        let error = of(answers, None).unwrap_err();
        assert!(is_unknown(&error) && is_unknown(&of(vec![slow()], None).unwrap_err().doing("unregister")));
        let text = error.to_string();
        assert!(text.starts_with("no tablet of shard customer/-80 says what it reads from: "), "{text}");
        assert!(error.help().ends_with("DeleteShards --recursive --even-if-serving customer/-80"), "{}", error.help());
    }
}

#[test]
fn a_cell_that_does_not_answer_hides_tablets_that_run() {
    let silent = || Some(topo::Error::Timeout("zone1/tablets".into()));
    let error = of(Vec::new(), silent()).unwrap_err();
    assert_eq!((error.code(), is_unknown(&error)), (Code::DeadlineExceeded, false));
    assert!(error.help().ends_with("DeleteCellInfo --force zone1"), "{}", error.help());
    assert_eq!(of(vec![Ok(Vec::new())], silent()).unwrap(), Vec::<String>::new());
    let elsewhere = [("zone2".to_owned(), topo::Error::Timeout("zone2/tablets".into()))];
    assert!(from(&elsewhere, Vec::new()).unwrap().is_empty());
}

#[test]
fn a_tablet_that_hangs_does_not_keep_what_another_says() {
    let hangs = stream::iter([Ok(vec!["import".to_owned()])]).chain(stream::pending());
    let answer = told(("customer", "ext1"), &shard(), &[], hangs).now_or_never();
    assert_eq!(answer.unwrap().unwrap(), ["import"]);
}
