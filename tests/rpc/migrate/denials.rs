//! Denied tables that a primary does not deny, whatever its shard's record says and it has answered.

use tonic::Code;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::refusal;

const TABLES: [&str; 2] = ["customer", "orders"];
/// What a primary is asked, in part.
const ASKED: &str = "where 1 = 0 limit 0";

#[tokio::test]
async fn create_is_taken_back_where_a_primary_does_not_deny_what_its_shards_record_denies() {
    let rig = Rig::start().await;
    rig.target[1].contents().takes_writes = true;
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("the primary of shard customer/80- lets clients write to tables"), "{text}");
    rig.expect_clean(&[]).await;
    // one that does not tell has told that it was refreshed
    {
        let mut contents = rig.target[1].contents();
        (contents.takes_writes, contents.fails) = (false, vec![ASKED]);
    }
    rig.create().await.unwrap();
}

#[tokio::test]
async fn a_cancel_drops_no_rows_where_a_primary_lets_clients_write_or_does_not_tell() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[1].contents().takes_writes = true;
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    let cause = "customer on shard 80-: its shard's record denies writes to it, but its primary lets them pass";
    assert!(text.contains(cause) && !text.contains("on shard -80"), "{text}");
    {
        let mut contents = rig.target[1].contents();
        (contents.takes_writes, contents.fails) = (false, vec![ASKED]);
    }
    let (_, text) = refusal(rig.cancel(false).await);
    assert!(text.starts_with("failed to see whether clients are denied the tables on shard 80-: "), "{text}");
    assert_eq!(rows(&rig), [10; 4]);
    assert!(rig.target.iter().all(|primary| !primary.streams().is_empty()));
    rig.cancel(true).await.unwrap();
    rig.expect_clean(&TABLES).await;
    assert_eq!(rows(&rig), [10; 4]);
}

/// A primary does not know, and so does not deny, what somebody has made in its MySQL by hand.
#[tokio::test]
async fn primaries_read_their_schemas_again_before_they_deny_tables_that_were_there() {
    let rig = Rig::start().await;
    TABLES.iter().for_each(|table| rig.target[0].fill(table, 0));
    rig.create().await.unwrap();
    let calls = rig.target[0].taken();
    let at = |call: &str| calls.iter().position(|made| made == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(at("ReloadSchema") < at("RefreshState"));
    // a tablet does so when it makes tables
    assert!(rig.target[1].taken().iter().all(|call| call != "ReloadSchema"));
}
