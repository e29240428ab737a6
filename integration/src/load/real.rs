//! Two clusters of Vitess's own programs with a workflow that runs: what a load costs MySQL cannot be told on light tablets.

use std::collections::BTreeMap;

use crate::{
    etcd::Etcd,
    farm::Facts,
    stock::{self, Generation, Keyspace, MOUNT, Pair},
};

const WORKFLOW: &str = "import";
const SOURCE: &str = "commerce";
const TARGET: &str = "customer";
const TABLES: &str = "CREATE TABLE a (id BIGINT NOT NULL PRIMARY KEY, v BIGINT); CREATE TABLE b LIKE a; CREATE TABLE c LIKE a; \
                      INSERT INTO a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO b SELECT * FROM a; INSERT INTO c SELECT * FROM a";
const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "a": {"columnVindexes": [{"column": "id", "name": "hash"}]},
    "b": {"columnVindexes": [{"column": "id", "name": "hash"}]},
    "c": {"columnVindexes": [{"column": "id", "name": "hash"}]}}}"#;

/// The clusters; they end when this is dropped.
pub struct Real {
    pair: Pair,
    source: Keyspace,
    target: Keyspace,
}

impl Real {
    /// Starts both clusters, one shard and two, and moves three tables until they are copied.
    ///
    /// # Errors
    /// A program does not come up, or a command is refused.
    pub async fn start() -> Result<Self, stock::Error> {
        let pair = Pair::start(Generation::V24, Generation::V24, &[]).await?;
        let source = pair.source.keyspace(SOURCE, &["0"]).await?;
        let target = pair.target.keyspace(TARGET, &["-80", "80-"]).await?;
        source.run(TABLES).await?;
        pair.target.apply_vschema(TARGET, VSCHEMA).await?;
        let migration = pair.migration(WORKFLOW, SOURCE, TARGET);
        migration.create(&["--all-tables", "--tablet-types", "primary"]).await?.expect()?;
        migration.until_running().await?;
        Ok(Self { pair, source, target })
    }

    /// Our server of the target: `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.pair.target.server().grpc_address().to_string()
    }

    /// What a load has to know of it.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut processes = BTreeMap::new();
        let mut add = |name: String, pid: Option<u32>| processes.extend(pid.map(|pid| (name, pid)));
        let etcd = |etcd: &Etcd| etcd.process().pid();
        add("etcd source".to_owned(), etcd(self.pair.source.etcd()));
        add("etcd target".to_owned(), etcd(self.pair.target.etcd()));
        for (side, keyspace) in [("source", &self.source), ("target", &self.target)] {
            for shard in &keyspace.shards {
                add(format!("mysql {side} {}", shard.name), shard.tablet.mysqld().process().pid());
                add(format!("tablet {side} {}", shard.name), shard.tablet.process().pid());
            }
        }
        Facts {
            flags: Vec::new(),
            topology: self.pair.target.etcd().address(),
            mount: MOUNT.to_owned(),
            mounts: vec![MOUNT.to_owned()],
            keyspaces: BTreeMap::from([(TARGET.to_owned(), SOURCE.to_owned())]),
            workflows: vec![WORKFLOW.to_owned()],
            cells: vec![self.pair.source.cell().to_owned()],
            processes,
        }
    }
}
