//! Lives there and back again on Vitess's own programs, with a writer that remembers every row that was acknowledged.

mod ledger;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration::life::{SOURCE_VSCHEMA, TARGET_VSCHEMA};
use integration::stock::{self, Cluster, Keyspace, Output, Pair};

use ledger::{Ledger, expect_denied, until_writable};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2));
    CREATE TABLE product (sku VARBINARY(40) NOT NULL PRIMARY KEY, description VARCHAR(200));";
const ROWS: &str = "
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
        SELECT i, CONCAT('user', i, '@example.com'), CONCAT('note ', i) FROM n;
    INSERT INTO corder SELECT id * 3, id, id / 100 FROM customer;
    INSERT INTO product VALUES ('SKU-1', 'Monitor'), ('SKU-2', NULL);";
/// Both sides of a sharded source.
const SHARDED: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}, "sku_md5": {"type": "binary_md5"}},
    "tables": {"customer": {"columnVindexes": [{"column": "id", "name": "hash"}]},
               "corder": {"columnVindexes": [{"column": "customer_id", "name": "hash"}]},
               "product": {"columnVindexes": [{"column": "sku", "name": "sku_md5"}]}}}"#;

/// A migration with a way back.
struct Life<'p> {
    pair: &'p Pair,
    source: Keyspace,
    target: Keyspace,
}

impl<'p> Life<'p> {
    /// Two keyspaces with their vschemas; the source has its tables.
    async fn start(pair: &'p Pair, from: (&str, &[&str], &str), to: (&str, &[&str], &str)) -> Self {
        let (source, target) =
            tokio::try_join!(pair.source.keyspace(from.0, from.1), pair.target.keyspace(to.0, to.1)).unwrap();
        source.run(SCHEMA).await.unwrap();
        pair.source.apply_vschema(from.0, from.2).await.unwrap();
        pair.target.apply_vschema(to.0, to.2).await.unwrap();
        Self { pair, source, target }
    }

    fn migration(&self) -> stock::Migration<'_> {
        self.pair.migration("import", &self.source.name, &self.target.name)
    }

    async fn way_back(&self, action: &str, flags: &[&str]) -> Output {
        let which = ["way-back", action, "--target-keyspace", &self.target.name, "--workflow", "import"];
        self.pair.target.vtmigrated(&[&which, flags].concat()).await.unwrap()
    }

    /// Copied, and everything of the source applied.
    async fn copied(&self) {
        self.migration().create(&["--all-tables"]).await.unwrap().expect().unwrap();
        self.migration().until_running().await.unwrap();
    }

    /// `Migrate complete`, as often as it takes to catch up; answers what it printed.
    async fn complete(&self) -> String {
        let printed = Mutex::new(String::new());
        stock::until("a migration that has caught up", async || {
            let text = self.migration().complete().await?;
            *printed.lock().unwrap() = text;
            Ok::<_, stock::Error>(())
        })
        .await
        .unwrap();
        printed.into_inner().unwrap()
    }

    /// Compares the rows on the way back, until all are found to be equal.
    async fn until_compared(&self) {
        let of = ["--target-keyspace", &self.target.name, "--workflow", "import"];
        let vdiff = async |action: &str| {
            self.pair.target.vtmigrated(&[&["way-back", "vdiff", action][..], &of[..]].concat()).await.unwrap()
        };
        stock::until("a VDiff of the way back that has begun", async || {
            let begun = vdiff("create").await;
            if begun.ok() { Ok(()) } else { Err(begun) }
        })
        .await
        .unwrap();
        stock::until("a VDiff of the way back", async || {
            let shown = vdiff("show").await;
            if shown.ok() && shown.stdout.contains("all rows are equal") { Ok(()) } else { Err(shown) }
        })
        .await
        .unwrap();
        let status = self.way_back("status", &[]).await;
        assert!(status.stdout.contains("last VDiff: equal"), "{status}");
    }

    async fn until_go(&self) {
        stock::until("a way back that can be gone", async || {
            let status = self.way_back("status", &[]).await;
            if status.ok() && status.stdout.contains("open: GO") { Ok(()) } else { Err(status) }
        })
        .await
        .unwrap();
    }

    /// Stock's own programs show the streams as what they are, stop and start them.
    async fn expect_run_by_stock(&self) {
        let vtctld = self.pair.source.stock_vtctld().await.unwrap();
        let workflow = ["Workflow", "--keyspace", &self.source.name];
        let shown = [&workflow[..], &["show", "--workflow", "import_back"]].concat();
        let shown = vtctld.vtctldclient(&shown).await.unwrap();
        assert!(shown.ok() && shown.stdout.contains(r#""workflow_type": "Migrate""#), "{shown}");
        let list = vtctld.vtctldclient(&[&workflow[..], &["list"]].concat()).await.unwrap();
        assert!(list.ok() && list.stdout.contains("import_back"), "{list}");
        let make = async |action: &str| {
            let made = [&workflow[..], &[action, "--workflow", "import_back"]].concat();
            vtctld.vtctldclient(&made).await.unwrap().expect().unwrap();
        };
        make("stop").await;
        let status = self.way_back("status", &[]).await;
        assert!(!status.ok() && status.stdout.contains("NOT_RUNNING"), "{status}");
        make("start").await;
    }

    /// Names of the mounts in the source's topology.
    async fn mounts_of_source(&self) -> String {
        self.pair.source.vtctldclient(&["Mount", "list"]).await.unwrap().expect().unwrap()
    }

    /// Streams in the source's primaries.
    async fn streams_of_source(&self) -> usize {
        let mut streams = 0;
        for shard in &self.source.shards {
            streams += shard.rows("SELECT id FROM _vt.vreplication").await.unwrap().len();
        }
        streams
    }

    /// Nothing of the way back is left in the source.
    async fn expect_source_alone(&self) {
        assert!(!self.mounts_of_source().await.contains(&self.target.name));
        assert_eq!(self.streams_of_source().await, 0);
        for shard in &self.source.shards {
            let name = format!("{}/{}", self.source.name, shard.name);
            let record = self.pair.source.vtctldclient(&["GetShard", &name]).await.unwrap().expect().unwrap();
            assert!(!record.contains("customer\""), "{record}");
        }
        let gone = self.way_back("status", &[]).await;
        assert!(!gone.ok() && gone.stderr.contains("has no way back"), "{gone}");
    }

    /// Everything that the source's topology has of the keyspace, and of a mount for it.
    async fn source_topology(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = self.pair.source.etcd().dump("").await.unwrap();
        // other tests work in the same topology
        let (mine, mount) = (format!("/keyspaces/{}/", self.source.name), format!("vitess/{}.", self.target.name));
        all.retain(|key, _| key.contains(&mine) || key.contains(&mount));
        all
    }
}

/// Writes for some seconds; answers how many statements were acknowledged.
async fn write_for(ledger: &Ledger, (cluster, keyspace): (&Cluster, &str), from: i64, seconds: u64) -> usize {
    let stop = AtomicBool::new(false);
    let pause = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (done, ()) = tokio::join!(ledger.write(cluster, keyspace, (from, &stop)), pause);
    done
}

/// Completes with an application that writes to the source until it is refused, and is stopped when complete has ended.
async fn complete_under_writes(life: &Life<'_>, ledger: &Ledger) -> String {
    let (source, from) = (&life.pair.source, life.source.name.as_str());
    let stop = AtomicBool::new(false);
    let completing = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let printed = life.complete().await;
        stop.store(true, Ordering::Relaxed);
        printed
    };
    let ((done, refused), printed) = tokio::join!(ledger.write_on(source, from, (100_000, &stop)), completing);
    assert!(done > 10 && refused > 0, "{done} writes, {refused} refused");
    assert!(!printed.contains("EXACT"), "{printed}");
    printed
}

/// There, with writes on the target, and back: every acknowledged row is where the application is. `stopped`: the application is stopped
/// before complete, as its people are told to without a way back.
async fn there_and_back(life: &Life<'_>, streams: usize, stopped: bool) {
    let pair = life.pair;
    let (from, to) = (life.source.name.as_str(), life.target.name.as_str());
    until_writable(&pair.source, from).await;
    life.copied().await;
    let ledger = Ledger::of(&life.source).await;

    let prepared = life.way_back("prepare", &[]).await;
    assert!(prepared.ok() && prepared.stdout.contains(&format!("complete will open {streams} streams")), "{prepared}");
    let again = life.way_back("prepare", &[]).await;
    assert!(again.ok(), "{again}");
    assert!(life.mounts_of_source().await.contains(&format!("{to}.import")));
    assert_eq!(life.streams_of_source().await, 0, "nothing streams before complete");
    let status = life.way_back("status", &[]).await;
    assert!(status.ok() && status.stdout.contains("prepared: complete will open it"), "{status}");
    let early = life.way_back("complete", &[]).await;
    assert!(!early.ok() && early.stderr.contains("is prepared"), "{early}");

    let printed = if stopped {
        assert!(write_for(&ledger, (&pair.source, from), 100_000, 2).await > 10);
        life.complete().await
    } else {
        complete_under_writes(life, &ledger).await
    };
    assert!(printed.contains("the way back is open"), "{printed}");
    expect_denied(&pair.source, from).await;
    until_writable(&pair.target, to).await;
    ledger.expect(&life.target, "after the cut").await;

    life.expect_run_by_stock().await;
    // writes go on until going back denies them
    let never = AtomicBool::new(false);
    let writing = ledger.write(&pair.target, to, (200_000, &never));
    let going = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        life.until_go().await;
        let back = stock::until("going back", async || {
            let back = life.way_back("complete", &[]).await;
            if back.ok() { Ok(()) } else { Err(back) }
        });
        let back = back.await;
        never.store(true, Ordering::Relaxed);
        back.unwrap();
    };
    let (done, ()) = tokio::join!(writing, going);
    assert!(done > 10, "{done}");
    ledger.expect(&life.source, "back again").await;
    expect_denied(&pair.target, to).await;
    life.expect_source_alone().await;

    until_writable(&pair.source, from).await;
    assert!(write_for(&ledger, (&pair.source, from), 300_000, 1).await > 3);
    ledger.expect(&life.source, "writing on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsharded_source_gets_everything_back_from_two_shards() {
    let pair = stock::pair().await.unwrap();
    let life = Life::start(pair, ("moor", &["0"], SOURCE_VSCHEMA), ("moor_new", &["-80", "80-"], TARGET_VSCHEMA)).await;
    life.source.run(ROWS).await.unwrap();
    there_and_back(&life, 2, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_get_everything_back_from_four() {
    let pair = stock::pair().await.unwrap();
    let four = ("dock_new", &["-40", "40-a0", "a0-c0", "c0-"][..], SHARDED);
    let life = Life::start(pair, ("dock", &["-80", "80-"], SHARDED), four).await;
    for from in [1, 301, 601] {
        let row = |id: i64| format!("({id}, 'user{id}@example.com', 'note {id}')");
        let rows: Vec<String> = (from..from + 300).map(row).collect();
        let insert = format!("INSERT INTO customer (id, email, note) VALUES {}", rows.join(", "));
        stock::until("a write through vtgate", async || match pair.source.query("dock", &insert).await {
            Err(stock::Error::Sql(error)) if error.to_string().contains("Duplicate") => Ok(()),
            other => other.map(drop),
        })
        .await
        .unwrap();
    }
    there_and_back(&life, 5, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_with_the_target_leaves_the_source_as_it_was() {
    let pair = stock::pair().await.unwrap();
    let life = Life::start(pair, ("mole", &["0"], SOURCE_VSCHEMA), ("mole_new", &["0"], SOURCE_VSCHEMA)).await;
    life.source.run(ROWS).await.unwrap();
    life.copied().await;
    let before = life.source_topology().await;

    // a migration that is cancelled takes its way back along
    assert!(life.way_back("prepare", &[]).await.ok());
    let cancelled = life.migration().migrate(&["cancel"]).await.unwrap().expect().unwrap();
    assert!(cancelled.contains("its way back is taken away, too"), "{cancelled}");
    assert_eq!(life.source_topology().await, before);
    life.expect_source_alone().await;

    life.copied().await;
    let dry = life.way_back("prepare", &["--dry-run"]).await;
    assert!(dry.ok() && dry.stdout.contains("Register this cluster as mount mole_new.import"), "{dry}");
    assert_eq!(life.source_topology().await, before, "a dry run writes nothing");
    assert!(life.way_back("prepare", &[]).await.ok());
    let printed = life.complete().await;
    assert!(printed.contains("the way back is open"), "{printed}");
    until_writable(&pair.target, "mole_new").await;
    expect_denied(&pair.source, "mole").await;
    life.until_compared().await;
    let unregister = pair.target.vtctldclient(&["Mount", "unregister", "--name", stock::MOUNT]).await.unwrap();
    assert!(!unregister.ok() && unregister.stderr.contains("mole_new.import"), "{unregister}");

    let cancelled = life.way_back("cancel", &[]).await;
    assert!(cancelled.ok(), "{cancelled}");
    assert_eq!(life.source_topology().await, before);
    life.expect_source_alone().await;
    until_writable(&pair.source, "mole").await;
    until_writable(&pair.target, "mole_new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prepare_not_a_byte_is_written_to_the_source() {
    let pair = stock::pair().await.unwrap();
    let life = Life::start(pair, ("wharf", &["0"], SOURCE_VSCHEMA), ("wharf_new", &["0"], SOURCE_VSCHEMA)).await;
    life.source.run(ROWS).await.unwrap();
    let before = life.source_topology().await;
    life.copied().await;
    let printed = life.complete().await;
    assert!(!printed.to_lowercase().contains("way back"), "{printed}");
    let late = life.way_back("prepare", &[]).await;
    assert!(!late.ok() && late.stderr.contains("no streams found in keyspace wharf_new for import"), "{late}");
    assert_eq!(life.source_topology().await, before);
    assert_eq!(life.streams_of_source().await, 0);
}
