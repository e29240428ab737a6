//! Starts programs for a client that is not written in Rust, and prints one line of JSON with their addresses when all serve.
//! They end when its standard input is closed.

use std::{error::Error, io};

use integration::{
    cluster::{Cluster, topology::GLOBAL_ROOT},
    server::Server,
};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let memory = Server::start::<&str>(&[]).await?;
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).without_tablets().start().await?;
    println!("{}", json!({"memory": addresses(&memory), "source": topology(&source)}));
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}

fn addresses(server: &Server) -> Value {
    json!({"grpc": server.grpc_address().to_string(), "http": server.http_address().to_string()})
}

fn topology(cluster: &Cluster) -> Value {
    json!({"address": cluster.etcd().address(), "root": GLOBAL_ROOT})
}
