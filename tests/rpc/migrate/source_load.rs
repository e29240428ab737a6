//! How much commands ask of one MySQL at a time.

use prost::Message;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::topodata::{Shard, TabletType};
use vtmigrated_proto::vtctldata::{MoveTablesCompleteRequest, VDiffCreateRequest};

use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::tablet;

/// So many tables that a server could get more than four statements at once, 500 tables in each.
const MANY: usize = 2300;
/// The questions for columns, for names of tables, and for rows.
const COLUMNS: &str = "from information_schema.columns";
const NAMES: &str = "select /*+ MAX_EXECUTION_TIME(4000) */ table_name from information_schema.tables";
const ROWS: &str = "(select 1 from ";

async fn rig(tables: usize) -> Rig {
    let names: Vec<String> = (0..tables).map(|number| format!("t{number:04}")).collect();
    Rig::with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Asserts how many statements of the watched kind a tablet got, and that they came a few at a time.
fn expect(tablet: &MigrateTablet, statements: usize, what: &str) {
    let (seen, most) = tablet.watched();
    assert_eq!(seen, statements, "{what}");
    assert!((2..=4).contains(&most), "{what}: {most} at a time");
}

#[tokio::test]
async fn a_source_gets_few_statements_at_a_time() {
    let rig = rig(1300).await;
    rig.source.watches("min(`id`) as low");
    rig.create().await.unwrap();
    expect(&rig.source, 7, "200 tables in a statement");
}

#[tokio::test]
async fn servers_get_few_statements_at_a_time_of_a_workflow_with_very_many_tables() {
    let rig = rig(MANY).await;
    rig.copied().await;
    let servers = || [&rig.source, &rig.target[0], &rig.target[1]];
    servers().into_iter().for_each(|server| server.contents().counts_ids = true);
    let watch = || servers().into_iter().for_each(|server| server.watches(COLUMNS));
    let expect_columns = |what: &str| servers().into_iter().for_each(|server| expect(server, 5, what));

    watch();
    rig.status().await.unwrap();
    expect_columns("status");

    watch();
    let dry_run = MoveTablesCompleteRequest { dry_run: true, ..MoveTablesCompleteRequest::default() };
    rig.complete_as(dry_run).await.unwrap();
    expect_columns("complete");

    rig.target.iter().for_each(|primary| primary.watches(" as maxima"));
    rig.verdict().await.unwrap();
    rig.target.iter().for_each(|primary| expect(primary, 12, "verdict"));

    rig.source.watches(NAMES);
    let (target_keyspace, workflow) = ("customer".to_owned(), "import".to_owned());
    let diff = VDiffCreateRequest { target_keyspace, workflow, ..VDiffCreateRequest::default() };
    rig.lab.client.clone().v_diff_create(diff).await.unwrap();
    expect(&rig.source, 5, "VDiff create");
}

#[tokio::test]
async fn tables_are_looked_into_a_few_at_a_time_when_one_of_them_goes() {
    let rig = rig(20).await;
    for table in rig.source.tables() {
        rig.target[0].fill(&table, 0);
    }
    rig.target[0].contents().dropped_before_look = Some("t0007");
    rig.target[0].watches(ROWS);
    // what becomes of a create whose table goes is told elsewhere
    rig.create().await.ok();
    let (seen, most) = rig.target[0].watched();
    assert!(seen >= 21, "{seen}");
    assert!((2..=4).contains(&most), "{most} at a time");
}

#[tokio::test]
async fn definitions_are_all_that_is_asked_of_tables() {
    let rig = Rig::start().await;
    let topo = rig.source_topology().await;
    let gone = Write::put(paths::shard("commerce", "0"), Shard::default().encode_to_vec(), Expect::Any);
    topo.global().write_one(gone, None).await.unwrap();
    let shards = [MigrateTablet::default(), MigrateTablet::default()];
    for ((shard, uid), fake) in ["-80", "80-"].into_iter().zip([200, 300]).zip(&shards) {
        ["customer", "orders"].iter().for_each(|table| fake.fill(table, 10));
        rig.add_source_tablet(&tablet("src1", uid, "commerce", shard, TabletType::Primary, fake.start().await)).await;
    }
    rig.create().await.unwrap();
    assert_eq!(shards.each_ref().map(|fake| fake.contents().schemas.clone()), [vec![true], vec![true]]);
    assert!(rig.target.iter().all(|fake| fake.contents().schemas.iter().all(|only| *only)));
}
