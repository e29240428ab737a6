//! `integration-tablet`: one tablet until SIGTERM or SIGINT.

use std::process::ExitCode;

use clap::Parser;
use integration_tablet::{Options, Tablet};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use vtmigrated::key_range;

/// A tablet on a real MySQL server, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(name = "integration-tablet")]
struct Args {
    #[arg(long, default_value = "zone1")]
    cell: String,
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    keyspace: String,
    /// `0`, or a key range such as `-80`
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    shard: String,
    /// `vt_<keyspace>` unless given
    #[arg(long)]
    db_name: Option<String>,
    #[arg(long, default_value = "_vt")]
    sidecar_db: String,
    #[arg(long)]
    mysql_port: u16,
    #[arg(long, default_value = "root")]
    mysql_user: String,
    #[arg(long, default_value = "127.0.0.1")]
    hostname: String,
    /// Port of both services; 0 takes a free one and prints it
    #[arg(long, default_value_t = 0)]
    grpc_port: u16,
    #[arg(long, default_value = "127.0.0.1:2379")]
    topo_global_server: String,
    #[arg(long, default_value = "/vitess/global")]
    topo_global_root: String,
}

impl Args {
    fn options(self) -> Result<(Options, u16), key_range::Error> {
        let mut options = Options::new(&self.cell, self.uid, &self.keyspace, &self.shard, self.mysql_port);
        if self.shard.contains('-') {
            options.key_range = Some(key_range::parse(&self.shard)?);
        }
        if let Some(name) = self.db_name {
            options.db_name = name;
        }
        options.sidecar_db = self.sidecar_db;
        options.mysql_user = self.mysql_user;
        options.hostname = self.hostname;
        options.topo_global_server = self.topo_global_server;
        options.topo_global_root = self.topo_global_root;
        Ok((options, self.grpc_port))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("integration-tablet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let (options, port) = args.options()?;
    let alias = options.alias_text();
    let listener = TcpListener::bind((options.hostname.as_str(), port)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tablet = Tablet::start(options, listener).await?;
    println!("{alias} serves on port {}", tablet.port());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tablet.stop().await?;
    Ok(())
}
