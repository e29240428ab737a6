//! Starts programs for a client that is not written in Rust: `integration-lab memory`.
//!
//! Prints one line of JSON with their addresses when all serve, and ends them when its standard input is closed.

use std::{error::Error, io};

use integration::server::Server;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("memory") => memory().await,
        _ => Err("usage: integration-lab memory".into()),
    }
}

/// A server that keeps its topology in memory.
async fn memory() -> Result<(), Box<dyn Error>> {
    let server = Server::start::<&str>(&[]).await?;
    println!("{}", json!({"grpc": server.grpc_address().to_string(), "http": server.http_address().to_string()}));
    Ok(stdin_closed().await?)
}

async fn stdin_closed() -> io::Result<()> {
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}
