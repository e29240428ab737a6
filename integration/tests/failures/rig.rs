//! Two clusters with a mount between them, and as many servers as a test wants to lose.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use integration::{
    client::Vtctld,
    cluster::{Cluster, Snapshot, topology::GLOBAL_ROOT},
    life::{MOUNT, SOURCE_VSCHEMA, TARGET_VSCHEMA, WORKFLOW, migrate, streams, until},
    server::Server,
};
use mysql_async::prelude::Queryable;
use tonic::{Code, Status};
use vtmigrated_proto::vtctldata::{
    MigrateCreateRequest, MountRegisterRequest, MoveTablesCompleteRequest, WorkflowDeleteRequest,
    WorkflowStatusRequest, WorkflowStatusResponse,
};

pub const TABLES: [&str; 3] = ["corder", "customer", "product"];
const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128), KEY by_email (email));
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL);
    CREATE TABLE product (sku VARBINARY(40) NOT NULL PRIMARY KEY, description VARCHAR(200));
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
        SELECT i, CONCAT('user', i, '@example.com') FROM n;
    INSERT INTO corder SELECT id * 3, id FROM customer;
    INSERT INTO product VALUES ('SKU-1', 'Monitor'), ('SKU-2', NULL);";

/// `commerce/0` with rows, mounted in a cluster with an empty `customer/-80,80-`.
pub struct Rig {
    pub source: Cluster,
    pub target: Cluster,
}

pub type Answer<T> = Result<T, Status>;

impl Rig {
    pub async fn start() -> Self {
        let (source, target) = tokio::try_join!(
            Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA).start(),
            Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA).first_uid(200).start(),
        )
        .unwrap();
        let rig = Self { source, target };
        rig.source.run("commerce", SCHEMA).await.unwrap();
        let server = rig.server("").await;
        register(&server, rig.source.etcd().address()).await.unwrap();
        // from now on the SrvVSchema is as our server writes it
        create(&server).await.unwrap();
        cancel(&server).await.unwrap();
        rig
    }

    pub fn flags(&self) -> Vec<String> {
        let mut flags = self.target.topo_flags();
        flags.push("--topo_etcd_lease_ttl=2".to_owned());
        flags
    }

    /// A server of the target, with fail-points.
    pub async fn server(&self, points: &str) -> Server {
        Server::start_with_points(&self.flags(), points).await.unwrap()
    }

    /// A server that waits once, so many milliseconds, after it has written the workflow's record.
    pub async fn waiting(&self, milliseconds: u32) -> Server {
        let mut flags = self.target.topo_flags();
        // the thread that waits cannot keep a lease alive
        flags.push("--topo_etcd_lease_ttl=30".to_owned());
        Server::start_with_points(&flags, &format!("effect=5*off->1*sleep({milliseconds})")).await.unwrap()
    }

    /// Returns when create has written the workflow's record.
    pub async fn until_recorded(&self) {
        while self.record().await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A server that dies at its `number`-th place, from 1.
    pub async fn doomed(&self, number: usize) -> Server {
        self.server(&format!("effect={}*off->return", number - 1)).await
    }

    /// Gives a command to a server that dies at its `number`-th place; answers whether it died. One that outlives the command must
    /// have done it.
    pub async fn killed<T: Debug>(
        &self,
        number: usize,
        what: &str,
        command: impl AsyncFn(&Server) -> Answer<T>,
    ) -> bool {
        let doomed = self.doomed(number).await;
        let answer = command(&doomed).await;
        let dead = died(&doomed, answer.is_ok()).await;
        assert!(dead || answer.is_ok(), "{what}, which the server outlived: {answer:?}");
        dead
    }

    pub async fn snapshot(&self) -> Snapshot {
        self.target.snapshot().await.unwrap()
    }

    /// Fails with the differences unless the target is as it was.
    pub async fn expect_as(&self, before: &Snapshot, what: &str) {
        let changes = before.changes(&self.snapshot().await);
        assert!(changes.is_empty(), "{what}: the target is not as before:\n{}", changes.join("\n"));
    }

    /// Drops the workflow's tables where they are there, as a person does with empty ones that cancel has left; answers how many.
    /// Fails when one holds a row.
    pub async fn drop_empty(&self) -> usize {
        let mut dropped = 0;
        for shard in self.target.shards("customer") {
            let mut conn = shard.connect().await.unwrap();
            let named = "select table_name from information_schema.tables where table_schema = database() and table_name in \
                         ('corder', 'customer', 'product')";
            for table in conn.query::<String, _>(named).await.unwrap() {
                let row: Option<u8> = conn.query_first(format!("select 1 from {table} limit 1")).await.unwrap();
                assert!(row.is_none(), "{table} on {} holds rows", shard.name);
                conn.query_drop(format!("drop table {table}")).await.unwrap();
                dropped += 1;
            }
            conn.disconnect().await.unwrap();
        }
        dropped
    }

    /// Waits until all streams run and the rows are the same on both sides.
    pub async fn until_copied(&self, server: &Server, what: &str) {
        until(&format!("{what}: all streams running"), async || {
            let status = status(server).await.map_err(|e| e.to_string())?;
            let streams = streams(&status);
            // a stream has no position before its copy begins
            let all = streams.len() == 2
                && streams.iter().all(|stream| stream.status == "Running" && !stream.position.is_empty());
            if all { Ok(()) } else { Err(format!("{streams:?}")) }
        })
        .await
        .unwrap();
        if let Err(error) = until(&format!("{what}: the same rows"), async || self.same_rows().await).await {
            for (piece, held) in self.snapshot().await.pieces.iter().filter(|(piece, _)| piece.contains("rows")) {
                eprintln!("{piece}:\n{held}");
            }
            panic!("{error}");
        }
    }

    /// Compares all tables row by row.
    pub async fn same_rows(&self) -> Result<(), String> {
        for table in TABLES {
            let sides = tokio::try_join!(self.source.table("commerce", table), self.target.table("customer", table));
            let (source, target) = sides.map_err(|e| e.to_string())?;
            assert!(!source.rows.is_empty());
            source.expect_same(&target).map_err(|e| format!("{table}: {e}"))?;
        }
        Ok(())
    }

    /// The locks of a dead server end now instead of at the end of their lease.
    pub async fn end_leases(&self) {
        for etcd in [self.source.etcd(), self.target.etcd()] {
            let mut client = etcd.connect().await.unwrap();
            for key in etcd.locks().await.unwrap() {
                let lease: i64 = key.rsplit('/').next().unwrap().parse().unwrap();
                client.lease_revoke(lease).await.ok();
            }
        }
    }

    /// Keys of locks in the target's topology.
    pub async fn locks(&self) -> Vec<String> {
        self.target.etcd().locks().await.unwrap()
    }

    /// The workflow's record as JSON.
    pub async fn record(&self) -> Option<String> {
        let key = format!("{GLOBAL_ROOT}/internal/vtmigrated/customer/{WORKFLOW}/Record");
        let found = self.target.etcd().dump(&key).await.unwrap();
        found.into_values().next().map(|value| String::from_utf8(value).unwrap())
    }

    pub async fn finish(self) {
        self.target.finish().await.unwrap();
        self.source.finish().await.unwrap();
    }
}

/// True when the server has died of its fail-point, which takes a moment after its caller saw the connection end.
pub async fn died(server: &Server, answered: bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if server.process().ended().unwrap().is_some() {
            return true;
        }
        if answered || Instant::now() > end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn client(server: &Server) -> Answer<Vtctld> {
    server.client().await.map_err(|e| Status::unavailable(e.to_string()))
}

pub async fn register(server: &Server, topo_server: String) -> Answer<()> {
    let request = MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server,
        topo_root: GLOBAL_ROOT.to_owned(),
        name: MOUNT.to_owned(),
    };
    client(server).await?.mount_register(request).await.map(drop)
}

pub async fn create(server: &Server) -> Answer<WorkflowStatusResponse> {
    create_as(server, request()).await
}

/// All tables of the source, from its own cell.
pub fn request() -> MigrateCreateRequest {
    MigrateCreateRequest { cells: vec!["zone1".to_owned()], ..migrate("commerce", "customer") }
}

pub async fn create_as(server: &Server, request: MigrateCreateRequest) -> Answer<WorkflowStatusResponse> {
    client(server).await?.migrate_create(request).await.map(tonic::Response::into_inner)
}

pub async fn status(server: &Server) -> Answer<WorkflowStatusResponse> {
    let request = WorkflowStatusRequest {
        keyspace: "customer".to_owned(),
        workflow: WORKFLOW.to_owned(),
        ..WorkflowStatusRequest::default()
    };
    client(server).await?.workflow_status(request).await.map(tonic::Response::into_inner)
}

pub async fn complete(server: &Server) -> Answer<()> {
    complete_as(server, false).await.map(drop)
}

/// The same; `insists`: with `--ignore-source-keyspace` of the stock client. Answers the summary.
pub async fn complete_as(server: &Server, insists: bool) -> Answer<String> {
    let request = MoveTablesCompleteRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        ignore_source_keyspace: insists,
        ..MoveTablesCompleteRequest::default()
    };
    Ok(client(server).await?.move_tables_complete(request).await?.into_inner().summary)
}

pub async fn cancel(server: &Server) -> Answer<()> {
    let request = WorkflowDeleteRequest {
        keyspace: "customer".to_owned(),
        workflow: WORKFLOW.to_owned(),
        ..WorkflowDeleteRequest::default()
    };
    client(server).await?.workflow_delete(request).await.map(drop)
}

/// Success, or that there is nothing of that name any more.
pub fn done_or_gone(answer: Answer<()>, what: &str) {
    if let Err(status) = answer {
        assert_eq!(status.code(), Code::NotFound, "{what}: {status:?}");
        assert!(status.message().contains("no streams found in keyspace customer for import"), "{what}: {status:?}");
    }
}
