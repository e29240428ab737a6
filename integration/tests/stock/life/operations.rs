//! Commands around a migration that tablets carry out, on Vitess's own tablets: what a stock vtctld answers to the same is the
//! measure.

use integration::stock::{Cluster, Generation, Keyspace, Output, Vtctld, until};
use serde_json::{Value, json};
use vtmigrated_proto::vtctldata::schema_migration::{Status, Strategy};

const KEYSPACE: &str = "ledger";
const SHARDS: [&str; 2] = ["-80", "80-"];
/// A transaction whose record is on the first shard and that the other one takes part in, of the beginning of time.
const DTID: &str = "ledger:-80:7";

/// Ours and a stock vtctld on the same cluster.
struct Both {
    cluster: Cluster,
    stock: Vtctld,
}

impl Both {
    /// What ours prints.
    async fn ours(&self, args: &[&str]) -> String {
        self.cluster.vtctldclient(args).await.unwrap().expect().unwrap()
    }

    /// What both print, which is the same.
    async fn same(&self, args: &[&str]) -> String {
        let (ours, stock) = tokio::try_join!(self.cluster.vtctldclient(args), self.stock.vtctldclient(args)).unwrap();
        assert!(stock.ok(), "{stock}");
        assert_eq!(ours.stdout, stock.stdout, "{ours}\n{stock}");
        ours.expect().unwrap()
    }

    /// Fails unless both refuse with these words.
    async fn both_refuse(&self, args: &[&str], words: &str) {
        let answers = tokio::try_join!(self.cluster.vtctldclient(args), self.stock.vtctldclient(args)).unwrap();
        for answer in <[Output; 2]>::from(answers) {
            assert!(!answer.ok() && answer.stderr.contains(words), "{answer}");
        }
    }

    /// An online schema change as `OnlineDDL show` of ours tells it, by shard; stock tells the same.
    async fn migrations(&self, uuid: &str) -> Vec<Value> {
        let show = ["OnlineDDL", "show", "--json", KEYSPACE, uuid];
        let (ours, stock) = tokio::try_join!(self.cluster.vtctldclient(&show), self.stock.vtctldclient(&show)).unwrap();
        assert!(ours.ok() && stock.ok(), "{ours}\n{stock}");
        let (ours, stock) = (by_shard(&ours.json()), by_shard(&stock.json()));
        // the tablets work meanwhile
        for (ours, stock) in ours.iter().zip(&stock).filter(|(ours, stock)| ours["status"] == stock["status"]) {
            for field in
                ["uuid", "keyspace", "shard", "table", "strategy", "options", "migration_statement", "ddl_action"]
            {
                assert_eq!(ours[field], stock[field], "{field}");
            }
        }
        assert_eq!((ours.len(), stock.len()), (SHARDS.len(), SHARDS.len()), "{ours:?}");
        ours
    }

    async fn until(&self, uuid: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Vec<Value> {
        let ask = async || {
            let found = self.migrations(uuid).await;
            if found.iter().all(&is_so) { Ok(()) } else { Err(format!("{found:?}")) }
        };
        until(what, ask).await.unwrap();
        self.migrations(uuid).await
    }
}

fn by_shard(shown: &Value) -> Vec<Value> {
    let mut found = shown["migrations"].as_array().cloned().unwrap_or_default();
    found.sort_by_key(|migration| migration["shard"].to_string());
    found
}

fn is(status: Status) -> impl Fn(&Value) -> bool {
    move |migration| migration["status"] == status.as_str_name()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tablets_carry_out_is_told_and_done_as_by_a_stock_vtctld() {
    // tablets look at schema changes so often; a minute is the default
    let flags = ["--migration-check-interval=2s"];
    let cluster = Cluster::start(Generation::V24, &flags, "zone1", 100).await.unwrap();
    let (keyspace, stock) = tokio::try_join!(cluster.keyspace(KEYSPACE, &SHARDS), cluster.stock_vtctld()).unwrap();
    let both = Both { cluster, stock };
    both.ours(&["ApplySchema", "--sql", "create table t (id bigint primary key, name varchar(20))", KEYSPACE]).await;
    transactions(&both, &keyspace).await;
    backups(&both, &keyspace).await;
    schema_changes(&both, &keyspace).await;
}

/// A transaction that was prepared and is not resolved is listed, looked into, and concluded.
async fn transactions(both: &Both, keyspace: &Keyspace) {
    let record = format!(
        "INSERT INTO _vt.dt_state (dtid, state, time_created) VALUES ('{DTID}', 1, 1);
         INSERT INTO _vt.dt_participant (dtid, id, keyspace, shard) VALUES ('{DTID}', 1, '{KEYSPACE}', '80-')"
    );
    keyspace.shard("-80").unwrap().run(&record).await.unwrap();
    let list = ["DistributedTransaction", "unresolved-list", "--keyspace", KEYSPACE];
    let listed: Value = serde_json::from_str(&both.same(&list).await).unwrap();
    assert_eq!((&listed[0]["dtid"], listed.as_array().map(Vec::len)), (&json!(DTID), Some(1)), "{listed}");
    let shards: Vec<&Value> = listed[0]["participants"].as_array().unwrap().iter().map(|at| &at["shard"]).collect();
    assert_eq!(shards, ["80-", "-80"], "{listed}");
    let info = both.same(&["DistributedTransaction", "get-info", "--dtid", DTID]).await;
    assert!(info.contains(DTID), "{info}");
    let concluded = both.ours(&["DistributedTransaction", "conclude", "--dtid", DTID]).await;
    assert!(concluded.contains("Successfully concluded the distributed transaction"), "{concluded}");
    let left = "SELECT dtid FROM _vt.dt_state UNION SELECT dtid FROM _vt.dt_participant";
    assert!(keyspace.shard("-80").unwrap().rows(left).await.unwrap().is_empty());
    assert!(!both.same(&list).await.contains(DTID));
}

/// Tablets whose MySQL somebody else started can take no backup: they say so, and it is passed on. (Backups that are taken and
/// brought back: `integration/stock/e2e backup`.)
async fn backups(both: &Both, keyspace: &Keyspace) {
    let primary = keyspace.shard("-80").unwrap().tablet.alias();
    let shard = "ledger/-80";
    let words = "cannot perform backup without my.cnf, please restart vttablet with a my.cnf file specified";
    both.both_refuse(&["Backup", "--allow-primary", primary], words).await;
    both.both_refuse(&["BackupShard", "--allow-primary", shard], words).await;
    both.both_refuse(&["BackupShard", shard], "no tablet available for backup").await;
    let words =
        "type PRIMARY cannot restore from backup, if you really need to do this, restart vttablet in replica mode";
    both.both_refuse(&["RestoreFromBackup", primary], words).await;
    // where backups are kept only a stock vtctld is told
    let list = ["GetBackups", shard];
    let (before, stock) = tokio::join!(both.cluster.server_before(&both.stock), both.stock.vtctldclient(&list));
    let forwarded = both.cluster.vtctldclient_at(&before.unwrap(), &list).await.unwrap();
    let stock = stock.unwrap();
    let words = "no registered implementation of BackupStorage";
    assert!(!stock.ok() && stock.stderr.contains(words), "{stock}");
    assert!(!forwarded.ok() && forwarded.stderr.contains(words), "{forwarded}");
}

/// Online schema changes: started by a stock vtctld behind ours, everything after that is ours.
async fn schema_changes(both: &Both, keyspace: &Keyspace) {
    let before = both.cluster.server_before(&both.stock).await.unwrap();
    let start = async |strategy: &str, sql: &str| {
        let apply = ["ApplySchema", "--ddl-strategy", strategy, "--sql", sql, KEYSPACE];
        let started = both.cluster.vtctldclient_at(&before, &apply).await.unwrap().expect().unwrap();
        started.trim().to_owned()
    };
    let act = async |action: &str, which: &str| {
        let done = both.ours(&["OnlineDDL", action, KEYSPACE, which]).await;
        serde_json::from_str::<Value>(&done).unwrap()["rows_affected_by_shard"].clone()
    };
    let on_both = json!({"-80": "1", "80-": "1"});

    let first = start("vitess --postpone-completion", "alter table t add column later int").await;
    let ready = |migration: &Value| is(Status::Running)(migration) && migration["ready_to_complete"] == true;
    both.until(&first, "a change that waits for its completion", ready).await;
    assert_eq!(act("cancel", &first).await, on_both);
    both.until(&first, "a cancelled change", is(Status::Cancelled)).await;
    assert_eq!(act("retry", &first).await, on_both);
    both.until(&first, "a change that was begun again", ready).await;
    let statement = format!("alter vitess_migration '{first}' complete");
    both.ours(&["ApplySchema", "--sql", &statement, KEYSPACE]).await;
    let done = both.until(&first, "a change that is completed", is(Status::Complete)).await;
    assert!(done.iter().all(|migration| migration["strategy"] == Strategy::Vitess.as_str_name()), "{done:?}");
    let columns =
        "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 't'";
    for shard in &keyspace.shards {
        assert_eq!(shard.rows(columns).await.unwrap().len(), 3, "{}", shard.name);
    }
    assert_eq!(act("cleanup", &first).await, on_both);

    let second = start("vitess --postpone-launch", "alter table t drop column later").await;
    both.until(&second, "a change that waits for its launch", is(Status::Queued)).await;
    assert_eq!(act("launch", &second).await, on_both);
    both.until(&second, "a change that is completed", is(Status::Complete)).await;
    assert!(both.migrations(&first).await.iter().all(is(Status::Complete)));
}
