//! What a way back cannot be prepared for: told before anything is written.

use std::sync::Arc;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;
use vtmigrated::topo::{Expect, Topo, Write, external_cluster, paths};
use vtmigrated_proto::topodata::{Shard, Tablet, TabletAlias, TabletType, TopoConfig};
use vtmigrated_proto::vtmigrated::{PrepareWayBackRequest, Severity};

use crate::support::faulty_source::Switch;
use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{assert_refused, tablet};
use crate::way_back::commands::{copied, found, give_up, prepare, prepare_as, stored, wanted};

/// Asserts that a check blocks prepare, in a dry run, too, and that nothing is written.
async fn blocked(rig: &Rig, id: &str) {
    let before = stored(rig).await;
    let told = prepare_as(rig, PrepareWayBackRequest { dry_run: true, ..wanted() }).await.unwrap();
    assert_eq!((told.clear, found(&told, id)), (false, Some(Severity::Blocks)), "{id}: {told:?}");
    let refused = prepare(rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{id}: {refused:?}");
    assert_eq!(stored(rig).await, before, "{id}");
    assert!(rig.lab.topo.global().get(&paths::way_back("customer", "import")).await.is_err(), "{id}");
}

#[tokio::test]
async fn a_source_whose_topology_takes_no_writes() {
    let switch = Switch::default();
    let rig = switch.rig().await;
    rig.copied().await;
    let before = stored(&rig).await;
    switch.is_read_only();
    let refused = prepare(&rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    for text in ["failed to lock the source keyspace commerce", "--mount-settings"] {
        assert!(refused.message().contains(text), "{text}: {refused:?}");
    }
    assert_eq!(stored(&rig).await, before);
    assert!(rig.lab.topo.global().get(&paths::way_back("customer", "import")).await.is_err());
    switch.works();
    prepare(&rig).await.unwrap();
}

#[tokio::test]
async fn tables_whose_rows_would_not_come_back_whole() {
    const CASCADE: &str = "`id` bigint NOT NULL,\n  PRIMARY KEY (`id`),\n  CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES \
                           `outside` (`id`) ON DELETE CASCADE";
    for (on_source, columns, id) in [
        (false, "`id` bigint NOT NULL", "TABLE_WITHOUT_KEY"),
        (false, "`id` bigint NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`id`)", "WAY_BACK_AUTO_INCREMENT"),
        (false, "`id` bigint NOT NULL,\n  `more` int,\n  PRIMARY KEY (`id`)", "COLUMN_MISSING_ON_TARGET"),
        (false, CASCADE, "WAY_BACK_FOREIGN_KEY"),
        (true, CASCADE, "WAY_BACK_FOREIGN_KEY"),
    ] {
        let (rig, _) = copied().await;
        let tablets = if on_source { vec![&rig.source] } else { rig.target.iter().collect::<Vec<_>>() };
        for tablet in tablets {
            tablet.contents().definitions.insert("orders", columns);
        }
        blocked(&rig, id).await;
    }
    let (rig, _) = copied().await;
    rig.source.contents().tables.remove("orders");
    blocked(&rig, "WAY_BACK_TABLE").await;
}

#[tokio::test]
async fn servers_whose_binlogs_or_settings_do_not_do() {
    for (on_source, variable, id) in [
        (false, ("binlog_row_image", "NOBLOB"), "ROW_IMAGE_NOBLOB"),
        (false, ("binlog_row_image", "MINIMAL"), "ROW_IMAGE_MINIMAL"),
        (false, ("binlog_format", "STATEMENT"), "BINLOG_NOT_ROW"),
        (false, ("log_bin", "OFF"), "BINLOG_OFF"),
        (false, ("gtid_mode", "OFF"), "GTID_OFF"),
        (true, ("super_read_only", "ON"), "WAY_BACK_READ_ONLY"),
        (true, ("binlog_row_image", "NOBLOB"), "TARGET_ROW_IMAGE"),
    ] {
        let (rig, _) = copied().await;
        let tablets = if on_source { vec![&rig.source] } else { rig.target.iter().collect::<Vec<_>>() };
        for tablet in tablets {
            tablet.contents().variables = vec![variable];
        }
        blocked(&rig, id).await;
    }
}

#[tokio::test]
async fn a_source_whose_vschema_tells_no_rows_to_its_shards() {
    let (rig, _) = copied().await;
    for (uid, shard) in [(201, "-80"), (202, "80-")] {
        let fake = MigrateTablet::default();
        ["customer", "orders"].iter().for_each(|table| fake.fill(table, 10));
        let record = tablet("src1", uid, "commerce", shard, TabletType::Primary, fake.start().await);
        rig.add_source_tablet(&record).await;
    }
    let source = rig.source_topology().await;
    // the shard of before serves no more
    let write = Write::put(paths::shard("commerce", "0"), Shard::default().encode_to_vec(), Expect::Any);
    source.global().write_one(write, None).await.unwrap();
    blocked(&rig, "VSCHEMA_NOT_SHARDED").await;
}

/// A status port of a tablet of Vitess 21.
async fn old_status_port() -> i32 {
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{\"BuildVersion\": \"21.0.4\"}";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.unwrap_or_default() > 0 {
                stream.write_all(PAGE.as_bytes()).await.ok();
            }
        }
    });
    i32::from(port)
}

#[tokio::test]
async fn tablets_of_the_source_that_are_too_old() {
    let (rig, _) = copied().await;
    let cell = rig.source_topology().await.cell("src1").await.unwrap();
    let path = paths::tablet(&TabletAlias { cell: "src1".into(), uid: 100 });
    let mut record = Tablet::decode(cell.get(&path).await.unwrap().value).unwrap();
    record.port_map.insert("vt".into(), old_status_port().await);
    cell.write_one(Write::put(path, record.encode_to_vec(), Expect::Any), None).await.unwrap();
    blocked(&rig, "VERSION_TOO_OLD").await;
}

#[tokio::test]
async fn another_way_back_that_has_its_name_in_the_source() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let record = rig.way_back().await.unwrap().to_string().into_bytes();
    give_up(&rig).await.unwrap();
    let before = stored(&rig).await;
    // another keyspace takes some tables of the same one over
    rig.lab.put(&paths::way_back("parts", "import"), record).await;
    let text = "the way back of workflow parts.import has the name import_back in the source keyspace commerce already";
    assert_refused(prepare(&rig).await, Code::AlreadyExists, text);
    assert_eq!(stored(&rig).await, before);
    rig.lab.put(&paths::way_back("parts", "other"), b"garbage".to_vec()).await;
    let delete = Write::delete(paths::way_back("parts", "import"), Expect::Any);
    rig.lab.topo.global().write_one(delete, None).await.unwrap();
    prepare(&rig).await.unwrap();
}

#[tokio::test]
async fn a_way_back_of_another_cluster_that_has_its_name_in_the_source() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let mut record = rig.way_back().await.unwrap();
    give_up(&rig).await.unwrap();
    // that cluster takes some tables of the same keyspace over
    let (server, root) = ("third", "/vitess/global");
    let third = Topo::open(Arc::clone(rig.lab.topo.dialer()), "memory", server, root).await.unwrap();
    let store = async |value: Vec<u8>| {
        let write = Write::put(paths::way_back("parts", "import"), value, Expect::Any);
        third.global().write_one(write, None).await.unwrap();
    };
    record["back_mount"] = "parts.import".into();
    store(record.to_string().into_bytes()).await;
    let config = TopoConfig { topo_type: "memory".into(), server: server.into(), root: root.into() };
    external_cluster::create(rig.source_topology().await.global(), "parts.import", config).await.unwrap();
    let before = stored(&rig).await;
    let text = "the way back of workflow parts.import of another cluster, mount parts.import, has the name import_back in the source \
                keyspace commerce already";
    assert_refused(prepare(&rig).await, Code::AlreadyExists, text);
    assert_eq!(stored(&rig).await, before);

    record["keyspace"] = "other".into();
    store(record.to_string().into_bytes()).await;
    assert_eq!(found(&prepare(&rig).await.unwrap(), "WAY_BACK_NAME_TAKEN"), None, "it leads into another keyspace");
    give_up(&rig).await.unwrap();
    store(b"garbage".to_vec()).await;
    let told = prepare(&rig).await.unwrap();
    assert_eq!(found(&told, "WAY_BACK_NAME_TAKEN"), Some(Severity::Warns), "{told:?}");
}

#[tokio::test]
async fn what_ddl_of_the_target_will_do_is_told() {
    for (on_ddl, told) in [("", "DDL of customer stops them"), ("IGNORE", "DDL of customer is passed over")] {
        let (rig, _) = copied().await;
        let answer = prepare_as(&rig, PrepareWayBackRequest { on_ddl: on_ddl.into(), ..wanted() }).await.unwrap();
        assert!(answer.summary.ends_with(told), "{answer:?}");
        assert_eq!(answer.phase, "prepared");
    }
}
