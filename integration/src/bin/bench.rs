//! What tracing costs: three servers on one cluster with a running migration, without traces, with 1 % and with all of
//! them, called in turns. `integration-bench [rounds] [milliseconds of a turn]`, with `VTMIGRATED_BIN` naming a release build.
//!
//! Turns beside each other are compared, and the medians printed: calls answered, and processor time of the server for each
//! call, which other programs on the host disturb least. Fails when traces cost more of it than their bar.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use integration::{
    client::Vtctld,
    cluster::Cluster,
    collector::Collector,
    life::{Life, MOUNT, migrate},
    load::{process, report::median},
    server::Server,
};
use tonic::Status;
use vtmigrated_proto::vtctldata::{GetWorkflowsRequest, MountShowRequest};

const CALLERS: usize = 16;
/// Name, sampling rate, and by how many percent a call may cost more than without.
const MODES: [(&str, &str, f64); 3] = [("no traces", "", 0.0), ("1 %", "0.01", 2.0), ("100 %", "1", 10.0)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rpc {
    MountShow,
    GetWorkflows,
}

/// Of one turn.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    calls_per_second: f64,
    /// Of the server's processor time, in microseconds.
    per_call: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(15), |text| text.parse())?;
    let turn = Duration::from_millis(arguments.next().map_or(Ok(1500), |text| text.parse())?);
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1),
        Cluster::new("zone2").keyspace("customer", &["0"]).vschema("{}").first_uid(200),
    )
    .await?;
    life.source.run("commerce", "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY)").await?;
    life.create(migrate("commerce", "customer")).await?;
    life.until_running("customer").await?;
    let sink = Collector::sink().await?;
    let mut servers = Vec::new();
    for (_, rate, _) in MODES {
        let mut flags = life.target.topo_flags();
        if !rate.is_empty() {
            flags.extend(sink.flags());
            flags.push(format!("--tracing-sampling-rate={rate}"));
        }
        servers.push(Server::start(&flags).await?);
    }
    let mut too_much = Vec::new();
    for rpc in [Rpc::MountShow, Rpc::GetWorkflows] {
        let mut turns: Vec<[Turn; 3]> = Vec::new();
        for round in 0..=rounds {
            let mut of = [Turn::default(); 3];
            for at in 0..3 {
                let at = (round + at) % 3;
                of[at] = measure(&servers[at], rpc, turn).await?;
            }
            // the first warms up
            if round > 0 {
                turns.push(of);
            }
        }
        too_much.extend(print(rpc, &turns));
    }
    drop(servers);
    life.finish().await?;
    if too_much.is_empty() { Ok(()) } else { Err(format!("over their bars: {}", too_much.join(", ")).into()) }
}

/// Calls from all sides for the time of a turn.
async fn measure(server: &Server, rpc: Rpc, turn: Duration) -> Result<Turn, Box<dyn Error>> {
    let client = server.client().await?;
    let (before, start) = (processor_time(server)?, Instant::now());
    let callers = (0..CALLERS).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let mut calls = 0_u32;
            while start.elapsed() < turn {
                call(&mut client, rpc).await?;
                calls += 1;
            }
            Ok::<_, Status>(calls)
        })
    });
    let mut calls = 0;
    for caller in futures::future::join_all(callers).await {
        calls += caller??;
    }
    let (elapsed, spent) = (start.elapsed(), processor_time(server)?.saturating_sub(before));
    Ok(Turn {
        calls_per_second: f64::from(calls) / elapsed.as_secs_f64(),
        per_call: spent.as_secs_f64() * 1e6 / f64::from(calls),
    })
}

async fn call(client: &mut Vtctld, rpc: Rpc) -> Result<(), Status> {
    match rpc {
        Rpc::MountShow => client.mount_show(MountShowRequest { name: MOUNT.to_owned() }).await.map(drop),
        Rpc::GetWorkflows => {
            let request = GetWorkflowsRequest { keyspace: "customer".to_owned(), ..GetWorkflowsRequest::default() };
            client.get_workflows(request).await.map(drop)
        }
    }
}

/// Processor time of a server in all its threads.
fn processor_time(server: &Server) -> Result<Duration, Box<dyn Error>> {
    Ok(process::cpu(server.process().pid().ok_or("the server has ended")?)?)
}

/// Prints the medians, and answers what is over its bar.
#[allow(clippy::print_stdout, reason = "what the program is for")]
fn print(rpc: Rpc, turns: &[[Turn; 3]]) -> Vec<String> {
    let mut over = Vec::new();
    for (at, (name, _, bar)) in MODES.iter().enumerate() {
        let calls = median(turns.iter().map(|of| of[at].calls_per_second));
        let per_call = median(turns.iter().map(|of| of[at].per_call));
        let fewer = median(turns.iter().map(|of| 100.0 * (1.0 - of[at].calls_per_second / of[0].calls_per_second)));
        let more = median(turns.iter().map(|of| 100.0 * (of[at].per_call / of[0].per_call - 1.0)));
        println!(
            "{rpc:?}, {name:9}: {calls:7.0} calls/s ({fewer:+5.1} % fewer), {per_call:6.1} us of processor a call ({more:+5.1} %, bar: {bar} %)"
        );
        if more > *bar {
            over.push(format!("{rpc:?} with traces of {name}: {more:+.1} %"));
        }
    }
    over
}
