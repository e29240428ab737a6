//! Sources with more tablets than are asked at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message;
use tokio::net::TcpListener;
use vtmigrated::context::Options;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::topodata::{Shard, TabletType};

use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::tablet;

/// As many as are asked at a time here: so few that a busy machine asks all in the time that there is.
const MANY: u32 = 40;

async fn rig() -> Rig {
    let options = Options { tablets_at_once: usize::try_from(MANY).unwrap(), ..Options::default() };
    Rig::with_options(&["customer", "orders"], options).await
}

#[tokio::test]
async fn the_last_of_very_many_tablets_of_a_source_is_asked_too() {
    let rig = rig().await;
    let topo = rig.source_topology().await;
    let gone = Write::put(paths::shard("commerce", "0"), Shard::default().encode_to_vec(), Expect::Any);
    topo.global().write_one(gone, None).await.unwrap();
    let shards = [MigrateTablet::default(), MigrateTablet::default()];
    shards.iter().for_each(|shard| ["customer", "orders"].iter().for_each(|table| shard.fill(table, 10)));
    let port = shards[0].start().await;
    for number in 0..MANY {
        let kind = if number == 0 { TabletType::Primary } else { TabletType::Replica };
        rig.add_source_tablet(&tablet("src1", 1000 + number, "commerce", "-80", kind, port)).await;
    }
    shards[1].contents().variables = vec![("binlog_format", "STATEMENT")];
    let last = tablet("src1", 2000, "commerce", "80-", TabletType::Primary, shards[1].start().await);
    rig.add_source_tablet(&last).await;
    let refused = rig.create().await.unwrap_err();
    assert!(refused.message().contains("src1-0000002000 of commerce/80- has binlog_format STATEMENT"), "{refused}");
}

#[tokio::test]
async fn tablets_whose_turn_does_not_come_in_time_are_named_as_those_that_do_not_answer() {
    let rig = rig().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for number in 0..=MANY {
        rig.add_source_tablet(&tablet("src1", 1000 + number, "commerce", "0", TabletType::Replica, port)).await;
    }
    let request = Rig::request(&["src1"], TabletType::Replica);
    let mut advisor = rig.lab.advisor.clone();
    let asked = tokio::time::timeout(Duration::from_secs(15), advisor.dry_run_create(request));
    let findings = asked.await.unwrap().unwrap().into_inner().findings;
    let not_asked = findings.iter().filter(|finding| finding.id == "SOURCE_NOT_ASKED");
    let named: BTreeSet<&str> = not_asked.map(|finding| finding.subject.as_str()).collect();
    for number in 0..=MANY {
        let subject = format!("tablet src1-{:010}", 1000 + number);
        assert!(named.contains(subject.as_str()), "{subject} is not named: {named:?}");
    }
}
