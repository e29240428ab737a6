//! Distributed transactions that are not resolved.

use tonic::Code;
use vtmigrated_proto::query::{Target, TransactionMetadata, TransactionState};
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;

use crate::support::manager::{Calls, Told, sorted, start_told, taken};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

const DTID: &str = "ks:-80:17";

fn target(shard: &str) -> Target {
    Target { keyspace: "ks".into(), shard: shard.into(), tablet_type: TabletType::Primary.into(), ..Target::default() }
}

fn record() -> TransactionMetadata {
    TransactionMetadata {
        dtid: DTID.into(),
        state: TransactionState::Rollback.into(),
        time_created: 5,
        participants: vec![target("40-80"), target("80-")],
    }
}

/// ks with -80 (p1, which keeps the record), 40-80 (p2), 80- (p3), and 0, which nobody uses.
async fn cluster(calls: &Calls, third: Told) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "40-80", "80-", "0"]).await;
    let keeper = Told { transactions: vec![record()], ..Told::default() };
    for (uid, name, shard, told) in
        [(1, "p1", "-80", keeper), (2, "p2", "40-80", Told::default()), (3, "p3", "80-", third)]
    {
        let port = start_told(name, calls, told).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", shard, TabletType::Primary, port)).await;
    }
    lab
}

fn conclude(dtid: &str, participants: &[&str]) -> ConcludeTransactionRequest {
    let participants = participants.iter().map(|shard| target(shard)).collect();
    ConcludeTransactionRequest { dtid: dtid.into(), participants }
}

#[tokio::test]
async fn all_shards_tell_what_is_unresolved() {
    let calls = Calls::default();
    let third = Told {
        transactions: vec![TransactionMetadata { dtid: "ks:80-:2".into(), ..Default::default() }],
        ..Told::default()
    };
    let mut lab = cluster(&calls, third).await;
    // the client's defaults
    let request = GetUnresolvedTransactionsRequest { keyspace: "ks".into(), abandon_age: 0 };
    let found = lab.client.get_unresolved_transactions(request).await.unwrap().into_inner().transactions;
    // whoever keeps the record is a participant, too
    let first = TransactionMetadata { participants: vec![target("40-80"), target("80-"), target("-80")], ..record() };
    let second =
        TransactionMetadata { dtid: "ks:80-:2".into(), participants: vec![target("80-")], ..Default::default() };
    assert_eq!(found, [first, second]);
    let asked = ["p1", "p2", "p3"].map(|name| format!("{name} GetUnresolvedTransactions 0"));
    assert_eq!(sorted(&calls), asked);
    let older = GetUnresolvedTransactionsRequest { keyspace: "ks".into(), abandon_age: 90 };
    lab.client.get_unresolved_transactions(older).await.unwrap();
    assert!(sorted(&calls).contains(&"p2 GetUnresolvedTransactions 90".to_owned()));
}

#[tokio::test]
async fn a_transaction_is_read_on_all_its_shards() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default()).await;
    let request = |dtid: &str| GetTransactionInfoRequest { dtid: dtid.into() };
    let found = lab.client.get_transaction_info(request(DTID)).await.unwrap().into_inner();
    let metadata = found.metadata.unwrap();
    assert_eq!(
        (metadata.dtid.as_str(), metadata.state(), metadata.time_created),
        (DTID, TransactionState::Rollback, 5)
    );
    assert_eq!(metadata.participants, ["40-80", "80-", "-80"].map(target));
    let states: Vec<_> = found.shard_states.iter().map(|s| (s.shard.as_str(), s.statements[0].as_str())).collect();
    assert_eq!(states, [("40-80", "update p2"), ("80-", "update p3"), ("-80", "update p1")]);
    assert_eq!((found.shard_states[0].state.as_str(), found.shard_states[0].time_created), ("PREPARED", 7));
    let asked = [
        format!("p1 GetTransactionInfo {DTID}"),
        format!("p1 ReadTransaction {DTID}"),
        format!("p2 GetTransactionInfo {DTID}"),
        format!("p3 GetTransactionInfo {DTID}"),
    ];
    assert_eq!(sorted(&calls), asked);
    // resolved, or never there
    let none = lab.client.get_transaction_info(request("ks:-80:1")).await.unwrap().into_inner();
    assert_eq!(none, GetTransactionInfoResponse::default());
    assert_eq!(sorted(&calls), ["p1 ReadTransaction ks:-80:1"]);
}

#[tokio::test]
async fn a_transaction_is_rolled_back_everywhere_before_its_record_goes() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default()).await;
    lab.client.conclude_transaction(conclude(DTID, &[])).await.unwrap();
    let mut done = taken(&calls);
    assert_eq!(done.remove(0), format!("p1 ReadTransaction {DTID}"));
    assert_eq!(done.pop().unwrap(), format!("p1 ConcludeTransaction {DTID} true"));
    done.sort();
    assert_eq!(done, ["p2", "p3"].map(|name| format!("{name} ConcludeTransaction {DTID} false")));
    // participants that the caller names are not looked up
    lab.client.conclude_transaction(conclude(DTID, &["80-"])).await.unwrap();
    let wanted = [format!("p3 ConcludeTransaction {DTID} false"), format!("p1 ConcludeTransaction {DTID} true")];
    assert_eq!(taken(&calls), wanted);
    // nothing is left to do
    lab.client.conclude_transaction(conclude("ks:-80:1", &[])).await.unwrap();
    assert_eq!(taken(&calls), ["p1 ReadTransaction ks:-80:1"]);
}

#[tokio::test]
async fn the_record_stays_while_a_participant_fails() {
    let calls = Calls::default();
    let third = Told { fails: vec![("ConcludeTransaction", "no such transaction")], ..Told::default() };
    let mut lab = cluster(&calls, third).await;
    let text = "TabletManager.ConcludeTransaction on p3: no such transaction";
    assert_refused(lab.client.conclude_transaction(conclude(DTID, &[])).await, Code::Internal, text);
    let record_went = |call: &String| call.ends_with("true");
    let done = taken(&calls);
    assert!(done.len() == 3 && !done.iter().any(record_went), "{done:?}");
    // a tablet that does not answer
    lab.add_tablet(&tablet("zone1", 3, "ks", "80-", TabletType::Primary, 1)).await;
    let silent = "tablet zone1-0000000003 at 127.0.0.1:1 cannot be reached for ";
    let failed = lab.client.conclude_transaction(conclude(DTID, &[])).await;
    assert_refused(failed, Code::Unavailable, &format!("{silent}ConcludeTransaction"));
    assert!(!taken(&calls).iter().any(record_went));
    let request = GetUnresolvedTransactionsRequest { keyspace: "ks".into(), abandon_age: 0 };
    let failed = lab.client.get_unresolved_transactions(request).await;
    assert_refused(failed, Code::Unavailable, &format!("{silent}GetUnresolvedTransactions"));
    let failed = lab.client.get_transaction_info(GetTransactionInfoRequest { dtid: DTID.into() }).await;
    assert_refused(failed, Code::Unavailable, &format!("{silent}GetTransactionInfo"));
}

#[tokio::test]
async fn bad_names_reach_no_tablet() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default()).await;
    for (dtid, code, text) in [
        ("", Code::InvalidArgument, "invalid parts in dtid: "),
        ("ks:-80", Code::InvalidArgument, "invalid parts in dtid: ks:-80"),
        ("ks:-80:x", Code::InvalidArgument, "invalid transaction id in dtid: ks:-80:x"),
        ("../ks:-80:1", Code::InvalidArgument, "invalid character . in name ../ks"),
        ("ks:c0-:1", Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/ks/shards/c0-/Shard"),
        ("ks:0:1", Code::FailedPrecondition, "no primary tablet for shard ks/0"),
    ] {
        assert_refused(lab.client.conclude_transaction(conclude(dtid, &[])).await, code, text);
        let info = GetTransactionInfoRequest { dtid: dtid.into() };
        assert_refused(lab.client.get_transaction_info(info).await, code, text);
    }
    // one participant that is not there: none is called
    let missing = lab.client.conclude_transaction(conclude(DTID, &["80-", "c0-"])).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: ");
    let headless = lab.client.conclude_transaction(conclude(DTID, &["80-", "0"])).await;
    assert_refused(headless, Code::FailedPrecondition, "no primary tablet for shard ks/0");
    let request = |keyspace: &str| GetUnresolvedTransactionsRequest { keyspace: keyspace.into(), abandon_age: 0 };
    for name in HOSTILE {
        assert_refused(lab.client.get_unresolved_transactions(request(name)).await, Code::InvalidArgument, "");
    }
    let text = "node doesn't exist: /vitess/global/keyspaces/nope/shards/";
    assert_refused(lab.client.get_unresolved_transactions(request("nope")).await, Code::NotFound, text);
    assert_eq!(sorted(&calls), Vec::<String>::new());
    // who serves and has no primary may have transactions that nobody tells
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    let text = "no primary tablet for shard ks/-80";
    assert_refused(lab.client.get_unresolved_transactions(request("ks")).await, Code::FailedPrecondition, text);
}
