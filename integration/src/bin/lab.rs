//! Starts programs for a client that is not written in Rust, and prints one line of JSON with their addresses when all serve:
//! a server that keeps its topology in memory; one that forwards to a port where the client itself serves; two clusters, the source with rows; a server on the target's topology.
//! They end when the standard input is closed; then it fails if something was left that must not be.

use std::{error::Error, io};

use integration::{
    cluster::{Cluster, topology::GLOBAL_ROOT},
    ports::Port,
    server::Server,
};
use serde_json::{Value, json};

/// Every column type that the Java test reads back, NULL included.
const TABLES: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARBINARY(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2));
    SET SESSION cte_max_recursion_depth = 100000;
    INSERT INTO customer
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        SELECT i, CONCAT('user', i, '@example.com'), IF(i % 7 = 0, NULL, REPEAT('x', i % 50)) FROM n;
    INSERT INTO corder
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        SELECT i, 1 + i % 2000, i / 100 FROM n;";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let memory = Server::start::<&str>(&[]).await?;
    let fallback = Port::free()?;
    let fallback_address = format!("127.0.0.1:{}", fallback.number());
    let front = Server::start(&[format!("--fallback-vtctld-server={fallback_address}")]).await?;
    let (source, target) = tokio::try_join!(
        Cluster::new("zone1").keyspace("commerce", &["0"]).replicas(1).start(),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).first_uid(200).start(),
    )?;
    source.run("commerce", TABLES).await?;
    let server = Server::start(&target.topo_flags()).await?;
    println!(
        "{}",
        json!({
            "memory": addresses(&memory),
            "front": addresses(&front),
            "fallback": {"grpc": fallback_address},
            "server": addresses(&server),
            "source": describe(&source, "commerce"),
            "target": describe(&target, "customer"),
        })
    );
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    drop((memory, front, server));
    target.finish().await?;
    source.finish().await?;
    Ok(())
}

fn addresses(server: &Server) -> Value {
    json!({"grpc": server.grpc_address().to_string(), "http": server.http_address().to_string()})
}

/// A cluster's topology, and the primaries of a keyspace by shard.
fn describe(cluster: &Cluster, keyspace: &str) -> Value {
    let primaries = cluster.shards(keyspace).into_iter().filter_map(|shard| {
        let primary = shard.tablets().first()?;
        let alias = primary.alias();
        Some((shard.name.clone(), json!({"address": primary.address(), "cell": alias.cell, "uid": alias.uid})))
    });
    json!({
        "address": cluster.etcd().address(),
        "root": GLOBAL_ROOT,
        "keyspace": keyspace,
        "primaries": primaries.collect::<serde_json::Map<_, _>>(),
    })
}
