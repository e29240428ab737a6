//! Sources of several shards whose tables differ.

use tonic::Code;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

use crate::support::migrate_rig::Rig;
use crate::support::refusal;

#[tokio::test]
async fn a_table_that_some_shard_of_the_source_lacks_is_refused_whichever_shard_that_is() {
    let rig = Rig::start().await;
    let parts = rig.part_source().await;
    for (lacks, words) in [
        (0, "table orders not found in source shard commerce/-80: it is in commerce/80-"),
        (1, "table orders not found in source shard commerce/80-: it is in commerce/-80"),
    ] {
        parts[lacks].contents().tables.remove("orders");
        let all = Rig::request(&["src1"], TabletType::Primary);
        let include_tables = vec!["orders".to_owned()];
        let named = MigrateCreateRequest { all_tables: false, include_tables: include_tables.clone(), ..all.clone() };
        for request in [all.clone(), named] {
            let (code, text) = refusal(rig.lab.client.clone().migrate_create(request).await);
            assert!(code == Code::FailedPrecondition && text.starts_with(words), "{text}");
            rig.expect_clean(&[]).await;
        }
        let without = MigrateCreateRequest { exclude_tables: include_tables, ..all };
        rig.lab.client.clone().migrate_create(without).await.unwrap();
        assert_eq!(rig.target[0].tables(), ["customer"]);
        rig.cancel(false).await.unwrap();
        rig.expect_clean(&[]).await;
        parts[lacks].fill("orders", 10);
    }
    rig.create().await.unwrap();
}

#[tokio::test]
async fn shards_whose_definitions_differ_in_words_are_copied_and_what_would_lose_values_is_refused() {
    let rig = Rig::start().await;
    let parts = rig.part_source().await;
    let create = async |first: &'static str, second: &'static str| {
        for (part, line) in parts.iter().zip([first, second]) {
            part.contents().lines = vec![("orders", line)];
        }
        let answer = rig.create().await;
        if answer.is_ok() {
            rig.cancel(false).await.unwrap();
        }
        rig.expect_clean(&[]).await;
        answer
    };
    for (first, second) in [
        ("`c` int(11) DEFAULT NULL COMMENT 'a'", "`c` int DEFAULT NULL"),
        ("`c` varchar(9) CHARACTER SET utf8", "`c` varchar(9) CHARACTER SET utf8mb3"),
    ] {
        let answer = create(first, second).await.unwrap();
        assert!(!answer.contains("TABLE_DIFFERS_BETWEEN_SHARDS"), "{answer}");
    }
    let warned = create("`c` int DEFAULT '0'", "`c` int DEFAULT '1'").await.unwrap();
    assert!(warned.contains("Warning TABLE_DIFFERS_BETWEEN_SHARDS: source shards commerce/-80 and "), "{warned}");
    let (code, text) = refusal(create("`c` int DEFAULT NULL", "`c` bigint DEFAULT NULL").await);
    assert!(
        code == Code::FailedPrecondition && text.contains("for table orders: column c is int and bigint"),
        "{text}"
    );
}
