//! A farm of light tablets, for any vtctld: `integration-farm --shards 64 --tables 200 --workflows 20`. Prints, as JSON on one
//! line, the address of its page (`control`) and what the page says at `/`, once it can be used; ends with SIGINT or SIGTERM.
//!
//! `GET /calls` counts what was asked of the tablets since the last time. `POST /tablets` gives tablets faults:
//! `{"tablets": "customer/-80", "delay_ms": 20, "error": "text", "hang": true, "methods": ["RefreshState"]}`, where `tablets` is
//! an alias, a keyspace, `keyspace/shard`, a cell or `*`, and everything else may be absent. `POST /topology` slows topologies
//! down: `{"zone1": 20, "zone2": 20}`, milliseconds by cell; the source's is `zone1`. That takes `--topology-delay`, be it 0.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use clap::Parser;
use integration::{
    farm::{self, Farm, Faults, Settings, Shape, Side},
    life::MOUNT,
    process,
};
use tokio::signal::unix::{SignalKind, signal};

/// Light tablets of two clusters, the first of which is mounted in the second.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    shape: Shape,
    /// Milliseconds that each call of a tablet takes
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Milliseconds that each operation of the topologies takes
    #[arg(long)]
    topology_delay: Option<u64>,
    /// Milliseconds that each stream copies for
    #[arg(long, default_value_t = 0)]
    copy: u64,
    /// Name of the first mount
    #[arg(long, default_value = MOUNT)]
    mount: String,
    /// Mounts of the source; workflows at start take turns with them
    #[arg(long, default_value_t = 1)]
    mounts: usize,
    /// Where the page is
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    // each tablet listens, and each vtctld has a connection to each
    process::raise_file_limit()?;
    let (mut end, mut quit) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let copy_time = Duration::from_millis(flags.copy);
    let slow_topology = flags.topology_delay.is_some();
    let (shape, mount, mounts) = (flags.shape, flags.mount, flags.mounts);
    let settings = Settings { shape, mount, mounts, copy_time, slow_topology, ..Settings::default() };
    let farm = Farm::start(settings).await?;
    farm.mount().await?;
    farm.upset("*", &Faults { delay_ms: flags.delay, ..Faults::default() });
    for side in [Side::Source, Side::Target] {
        farm.cluster(side).delay_topology(Duration::from_millis(flags.topology_delay.unwrap_or_default()));
    }
    let farm = Arc::new(farm);
    let control = farm::serve(Arc::clone(&farm), flags.control).await?;
    let mut facts = serde_json::to_value(farm.facts())?;
    facts["control"] = control.to_string().into();
    println!("{facts}");
    tokio::select! { _ = end.recv() => {} _ = quit.recv() => {} }
    Ok(())
}
