//! How much a create asks of the source's MySQL.

use prost::Message;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::topodata::{Shard, TabletType};

use crate::migrate_rig::Rig;
use crate::migrate_tablet::MigrateTablet;
use crate::support::tablet;

#[tokio::test]
async fn a_source_gets_few_statements_at_a_time() {
    let names: Vec<String> = (0..1300).map(|number| format!("t{number:04}")).collect();
    let rig = Rig::with(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    rig.create().await.unwrap();
    let source = rig.source.contents();
    assert_eq!(source.bounded, 7, "200 tables in a statement");
    assert!((2..=4).contains(&source.most_bounding), "{} at a time", source.most_bounding);
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
