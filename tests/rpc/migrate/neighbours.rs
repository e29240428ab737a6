//! Cells, aliases and tablets beside a migration that are broken, odd, or shut down.

mod breakage;
mod breaking_cells;
mod broken;
mod reshards;
mod stopped_source;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic::{Code, Status};
use vtmigrated::context::Options;
use vtmigrated::server::router::Router;
use vtmigrated::topo::{Conn, Dialer, Error, EtcdOptions, Lock, LockRequest, Node, Result as TopoResult, Write, paths};
use vtmigrated_proto::binlogdata::{
    BinlogSource, Filter, Rule, VReplicationWorkflowState as State, VReplicationWorkflowType as Kind,
};
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{CellInfo, Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::migrate_rig::{Rig, SHARDS};
use crate::support::vdiff_tablet::DiffTablet;
use crate::support::{Lab, tablet};

/// A connection to a server that never answers.
struct Silent(Arc<dyn Conn>);

#[tonic::async_trait]
impl Conn for Silent {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.0.endpoint()
    }

    async fn get(&self, _: &str) -> TopoResult<Node> {
        std::future::pending().await
    }

    async fn get_many(&self, _: Vec<String>) -> TopoResult<Vec<Option<Node>>> {
        std::future::pending().await
    }

    async fn list(&self, _: &str) -> TopoResult<Vec<Node>> {
        std::future::pending().await
    }

    async fn list_dir(&self, _: &str) -> TopoResult<Vec<String>> {
        std::future::pending().await
    }

    async fn write(&self, _: Vec<Write>, _: Option<&Lock>) -> TopoResult<Vec<i64>> {
        std::future::pending().await
    }

    async fn lock(&self, _: LockRequest) -> TopoResult<Lock> {
        std::future::pending().await
    }

    async fn has_lease(&self, _: &str) -> TopoResult<bool> {
        std::future::pending().await
    }

    async fn probe(&self) -> TopoResult<()> {
        Err(Error::Timeout("silent".into()))
    }
}

fn silent(conn: Arc<dyn Conn>) -> Arc<dyn Conn> {
    if conn.endpoint().1 == "silent" { Arc::new(Silent(conn)) } else { conn }
}

#[tokio::test]
async fn a_silent_cell_holds_up_no_list_of_tablets() {
    let dialer = Dialer::new(EtcdOptions::default()).wrapping(Arc::new(silent));
    let lab = Lab::wired(Router::default(), Options::default(), dialer, vtmigrated::tablet::Options::default()).await;
    let mut lab = lab.and_cells().await.and_keyspace("ks", &["0"]).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "0", TabletType::Primary, 1)).await;
    let cell_info = Some(CellInfo { server_address: "silent".into(), root: "/vitess/zone9".into() });
    lab.client.add_cell_info(AddCellInfoRequest { name: "zone9".into(), cell_info }).await.unwrap();
    let all = GetTabletsRequest::default();
    let shard = GetTabletsRequest { keyspace: "ks".into(), shard: "0".into(), ..all.clone() };
    let aliases = [("zone1", 1), ("zone9", 9)].map(|(cell, uid)| TabletAlias { cell: cell.into(), uid });
    let named = GetTabletsRequest { tablet_aliases: aliases.into(), ..all.clone() };
    let ask = |request: GetTabletsRequest| {
        let mut client = lab.client.clone();
        let asked = async move { client.get_tablets(request).await.map(|answer| answer.into_inner().tablets.len()) };
        // only so that a list that never comes fails this test
        async move { tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap() }
    };
    let strict = |request: &GetTabletsRequest| ask(GetTabletsRequest { strict: true, ..request.clone() });
    let lax = async { tokio::join!(ask(all.clone()), ask(shard.clone()), ask(named.clone())) };
    let hard = async { tokio::join!(strict(&all), strict(&shard), strict(&named)) };
    let (lax, hard) = tokio::join!(lax, hard);
    assert_eq!((lax.0.unwrap(), lax.1.unwrap(), lax.2.unwrap()), (1, 1, 1));
    let text = |answer: Result<usize, Status>| answer.unwrap_err().message().to_owned();
    let (all, shard, named) = (text(hard.0), text(hard.1), text(hard.2));
    assert!(all.starts_with("GetTabletsByCell(zone9) failed: "), "{all}");
    assert!(shard.starts_with("GetTabletMapForShard(ks, 0) failed: partial result: "), "{shard}");
    assert!(named.contains("partial result: zone9"), "{named}");
}

#[tokio::test]
async fn an_alias_that_cannot_be_decoded_is_passed_over_by_name() {
    let rig = Rig::start().await;
    let topo = rig.source_topology().await;
    let path = paths::cells_alias("west");
    topo.global().create(&path, vec![0xff, 0xff]).await.unwrap();
    rig.lab.put(&path, vec![0xff, 0xff]).await;
    let line = rig.create().await.unwrap();
    for words in ["ALIAS_UNREADABLE", "cells alias west"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let diff = |source_cells: &[&str]| VDiffCreateRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        source_cells: source_cells.iter().map(|cell| (*cell).to_owned()).collect(),
        ..VDiffCreateRequest::default()
    };
    let mut client = rig.lab.client.clone();
    client.v_diff_create(diff(&[])).await.unwrap();
    let refused = client.v_diff_create(diff(&["west"])).await.unwrap_err();
    assert!(refused.message().contains("the cells alias west cannot be read"), "{refused}");
    rig.cancel(false).await.unwrap();
    let refused = rig.create_in(&["west"], TabletType::Replica).await.unwrap_err();
    assert!(refused.message().contains("the cells alias west cannot be read"), "{refused}");
}

const ODD: [TabletType; 5] =
    [TabletType::Drained, TabletType::Backup, TabletType::Restore, TabletType::Spare, TabletType::Experimental];

/// As a tablet leaves its record when it is stopped.
fn shut_down(record: Tablet) -> Tablet {
    Tablet { hostname: String::new(), mysql_hostname: String::new(), port_map: Default::default(), ..record }
}

/// Tablets of all odd types, none of which answers, and a replica that was shut down.
fn odd(cell: &str, keyspace: &str, shard: &str, first: u32) -> Vec<Tablet> {
    let of = |(uid, kind): (u32, TabletType)| tablet(cell, uid, keyspace, shard, kind, 1);
    let mut all: Vec<Tablet> = (first..).zip(ODD).map(of).collect();
    all.push(shut_down(of((first + 9, TabletType::Replica))));
    all
}

/// A source with a healthy replica; odd tablets on both sides when asked for.
async fn rig(is_odd: bool) -> Rig {
    let mut rig = Rig::start().await;
    let replica = DiffTablet::default().start().await;
    rig.add_source_tablet(&tablet("src1", 101, "commerce", "0", TabletType::Replica, replica)).await;
    if is_odd {
        for record in odd("src1", "commerce", "0", 110) {
            rig.add_source_tablet(&record).await;
        }
        for (shard, first) in SHARDS.into_iter().zip([1010, 1110]) {
            for record in odd("zone2", "customer", shard, first) {
                rig.lab.add_tablet(&record).await;
            }
        }
    }
    rig
}

fn of_import() -> (String, String) {
    ("customer".into(), "import".into())
}

/// What each command of a migration answers, in the order in which they are run; the first two make what the others need.
async fn all_commands(rig: &Rig) -> Vec<(&'static str, Result<(), Status>)> {
    let mut client = rig.lab.client.clone();
    let (keyspace, workflow) = of_import();
    let mut answers = vec![("create", rig.create_from(TabletType::Replica).await.map(drop))];
    answers.push(("status", rig.status().await.map(drop)));
    let show = GetWorkflowsRequest { keyspace: keyspace.clone(), ..Default::default() };
    answers.push(("show", client.get_workflows(show).await.map(drop)));
    let diff = VDiffCreateRequest { workflow, target_keyspace: keyspace, ..Default::default() };
    answers.push(("VDiff create", client.v_diff_create(diff).await.map(drop)));
    let dry_run = MoveTablesCompleteRequest { dry_run: true, ..Default::default() };
    answers.push(("complete", rig.complete_as(dry_run).await.map(drop)));
    answers.push(("cancel", rig.cancel(false).await.map(drop)));
    answers
}

#[tokio::test]
async fn odd_tablets_beside_healthy_ones_are_nobodys_business() {
    let expected: Vec<_> =
        all_commands(&rig(false).await).await.into_iter().map(|(name, a)| (name, a.is_ok())).collect();
    assert_eq!(expected.iter().filter(|(_, fine)| *fine).count(), 6, "{expected:?}");
    for (name, answer) in all_commands(&rig(true).await).await {
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn shards_that_come_and_go_beside_commands_are_nobodys_business() {
    let rig = rig(false).await;
    let (mut client, enough) = (rig.lab.client.clone(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&enough);
    let coming_and_going = tokio::spawn(async move {
        let (mut made, (keyspace, name)) = (0, ("customer".to_owned(), "c0-".to_owned()));
        while !told.load(Ordering::Relaxed) {
            let create =
                CreateShardRequest { keyspace: keyspace.clone(), shard_name: name.clone(), ..Default::default() };
            made += usize::from(client.create_shard(create).await.is_ok());
            let shards = vec![Shard { keyspace: keyspace.clone(), name: name.clone(), shard: None }];
            // a command may hold the keyspace's lock for longer than is waited for
            client.delete_shards(DeleteShardsRequest { shards, force: true, ..Default::default() }).await.ok();
            tokio::task::yield_now().await;
        }
        made
    });
    for round in 0..3 {
        for (name, answer) in all_commands(&rig).await {
            assert!(answer.is_ok(), "{name} in round {round}: {answer:?}");
        }
    }
    enough.store(true, Ordering::Relaxed);
    assert!(coming_and_going.await.unwrap() > 0);
}

#[tokio::test]
async fn a_shard_that_has_odd_tablets_only_is_told_with_what_it_has() {
    let rig = Rig::start().await;
    for record in odd("src1", "commerce", "0", 110) {
        rig.add_source_tablet(&record).await;
    }
    let refused = rig.create_from(TabletType::Replica).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let text = refused.message();
    assert!(text.contains("no tablet found to stream from in source shard commerce/0: tablet types replica"), "{text}");
    for kind in ODD {
        assert!(text.contains(&format!("({})", kind.as_str_name().to_lowercase())), "{kind:?}: {text}");
    }
    assert!(text.contains("use --tablet-types primary"), "{text}");
}

/// Workflows of other kinds, states and flavours in the target's keyspace, on one of its shards or on both.
fn others(first: i32) -> Vec<ReadVReplicationWorkflowResponse> {
    let of = |(id, (kind, state, position)): (i32, (i32, State, &str))| {
        let rule =
            Rule { r#match: format!("other{id}"), filter: format!("select * from other{id}"), ..Rule::default() };
        let bls = BinlogSource {
            keyspace: "elsewhere".into(),
            shard: "40-".into(),
            filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
            external_mysql: if id % 2 == 0 { String::new() } else { "mysql5".into() },
            ..BinlogSource::default()
        };
        let message = if state == State::Error { "Error: it went wrong" } else { "FROZEN" };
        let stream = Stream {
            id,
            bls: Some(bls),
            pos: position.into(),
            state: state.into(),
            message: message.into(),
            ..Stream::default()
        };
        ReadVReplicationWorkflowResponse {
            workflow: format!("other {id}"),
            workflow_type: kind,
            options: if id % 3 == 0 { "{" } else { "{}" }.into(),
            streams: vec![stream],
            ..ReadVReplicationWorkflowResponse::default()
        }
    };
    let kinds = [
        (Kind::Materialize.into(), State::Running, "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1-5"),
        (Kind::MoveTables.into(), State::Stopped, "MariaDB/0-1-5"),
        (Kind::CreateLookupIndex.into(), State::Copying, ""),
        (Kind::Migrate.into(), State::Error, "FilePos/binlog.000003:1234"),
        (Kind::Reshard.into(), State::Lagging, "Newer/7"),
        (Kind::OnlineDdl.into(), State::Init, "what nobody wrote"),
        (99, State::Unknown, "MySQL56/"),
    ];
    let mut all: Vec<_> = (first..).zip(kinds).map(of).collect();
    // two that somebody has given one name, from two keyspaces
    let mut merged = of((first + 7, (Kind::CreateLookupIndex.into(), State::Copying, "")));
    merged.workflow.clone_from(&all[2].workflow);
    merged.streams.iter_mut().filter_map(|stream| stream.bls.as_mut()).for_each(|bls| bls.keyspace = "nowhere".into());
    all[2].streams.append(&mut merged.streams);
    all
}

#[tokio::test]
async fn other_workflows_of_any_kind_state_and_flavour_change_no_answer() {
    let told = async |rig: &Rig| {
        let created = rig.create_from(TabletType::Replica).await.unwrap();
        let status = rig.status().await.unwrap();
        let streams = status.shard_streams.into_iter().flat_map(|entry| entry.value.unwrap().streams);
        let streams: Vec<_> = streams.map(|stream| (stream.status, stream.position)).collect();
        let cancelled = rig.cancel(false).await.unwrap();
        // seconds pass
        let words = |text: String| text.replace(|c: char| c.is_ascii_digit(), "");
        (words(created), words(status.traffic_state), streams, status.table_copy_state.len(), words(cancelled))
    };
    let alone = rig(false).await;
    let beside = rig(false).await;
    beside.target[0].contents().workflows = others(1000);
    beside.target[1].contents().workflows = others(1000)[2..].to_vec();
    assert_eq!(told(&alone).await, told(&beside).await);
    for (name, answer) in all_commands(&beside).await {
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
    // and they are as they were
    assert_eq!(beside.target[0].contents().workflows, others(1000));
    assert_eq!(beside.target[1].contents().workflows, others(1000)[2..]);
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..Default::default() };
    let shown = beside.lab.client.clone().get_workflows(request).await.unwrap().into_inner().workflows;
    assert_eq!(shown.len(), others(0).len());
    let merged = shown.iter().find(|workflow| workflow.name == others(1000)[2].workflow).unwrap();
    let source = merged.source.as_ref().unwrap();
    assert_eq!((source.keyspace.as_str(), source.shards.as_slice()), ("elsewhere", ["40-".to_owned()].as_slice()));
    let streams = merged.shard_streams.iter().flat_map(|on_shard| &on_shard.value.as_ref().unwrap().streams);
    let from: Vec<String> = streams.map(|stream| stream.source().unwrap().keyspace).collect();
    assert_eq!(from, ["elsewhere", "nowhere", "elsewhere", "nowhere"]);
}

/// Shuts the primary of a target shard down, or one of the source.
async fn stop(rig: &Rig, of_source: bool) {
    let (topo, cell, uid) = match of_source {
        true => (rig.source_topology().await.cell("src1").await.unwrap(), "src1", 100),
        false => (rig.lab.cell("zone1").await, "zone1", 1000),
    };
    let path = paths::tablet(&TabletAlias { cell: cell.into(), uid });
    let record = <Tablet as prost::Message>::decode(topo.get(&path).await.unwrap().value).unwrap();
    let record = prost::Message::encode_to_vec(&shut_down(record));
    topo.write_one(Write::put(path, record, vtmigrated::topo::Expect::Any), None).await.unwrap();
}

#[tokio::test]
async fn a_primary_that_was_shut_down_is_told_with_what_to_do() {
    let words = [
        "tablet is shutdown: zone1-0000001000, the primary of shard customer/-80",
        "EmergencyReparentShard customer/-80",
    ];
    // before anything was made, and with a workflow
    let fresh = rig(false).await;
    stop(&fresh, false).await;
    let refused = fresh.create_from(TabletType::Replica).await.unwrap_err();
    assert!(words.iter().all(|words| refused.message().contains(words)), "{refused}");
    let made = rig(false).await;
    made.create_from(TabletType::Replica).await.unwrap();
    stop(&made, false).await;
    for (name, answer) in all_commands(&made).await {
        let refused = answer.expect_err(name);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{name}: {refused}");
        assert!(words.iter().all(|words| refused.message().contains(words)), "{name}: {refused}");
    }
    // the source's
    let fresh = rig(false).await;
    stop(&fresh, true).await;
    let refused = fresh.create_from(TabletType::Replica).await.unwrap_err();
    for words in
        ["tablet is shutdown: src1-0000000100, the primary of shard commerce/0", "EmergencyReparentShard commerce/0"]
    {
        assert!(refused.message().contains(words), "{words}: {refused}");
    }
}

#[tokio::test]
async fn a_command_that_a_tablet_keeps_waiting_holds_the_locks_of_its_own_keyspace_only() {
    let rig = rig(false).await;
    rig.target[0].contents().slow = vec![("ApplySchema", Duration::from_secs(3600))];
    let mut client = rig.lab.client.clone();
    let keyspace = "other".to_owned();
    let work = async {
        rig.target[0].was_asked("ApplySchema").await;
        let create = CreateKeyspaceRequest { name: keyspace.clone(), ..Default::default() };
        client.create_keyspace(create).await.unwrap();
        let create = CreateShardRequest { keyspace: keyspace.clone(), shard_name: "0".into(), ..Default::default() };
        client.create_shard(create).await.unwrap();
        let durability_policy = "semi_sync".into();
        let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: keyspace.clone(), durability_policy };
        client.set_keyspace_durability_policy(policy).await.unwrap();
        let delete = DeleteKeyspaceRequest { keyspace: keyspace.clone(), recursive: true, ..Default::default() };
        client.delete_keyspace(delete).await.unwrap();
    };
    tokio::select! {
        created = rig.create_from(TabletType::Replica) => panic!("no tablet keeps it waiting: {created:?}"),
        () = work => {}
    }
    let stored = rig.lab.stored().await;
    let locks: Vec<&str> =
        stored.iter().map(|node| node.path.as_str()).filter(|path| path.contains("/locks/")).collect();
    let of = |dir: &str| locks.iter().filter(|path| path.starts_with(dir)).count();
    assert_eq!((of("keyspaces/customer/"), of("internal/named_locks/customer/import/"), locks.len()), (1, 1, 2));
}
