//! What passing a call through costs: the same call to a vtctld directly, and through a server that forwards it, in turn.
//!
//! `integration-passing [calls]`. The vtctld is a second vtmigrated; `GetKeyspaces` is forwarded to it by `--fallback-rpcs`.

use std::{
    env,
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use integration::{client::Vtctld, server::Server};
use vtmigrated_proto::vtctldata::{CreateKeyspaceRequest, GetKeyspacesRequest};

/// Cost at the median that passing through may have.
const BAR: Duration = Duration::from_millis(1);
const WARM: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let calls = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5000);
    match measure(calls).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the times; true when the bar is kept.
async fn measure(calls: usize) -> Result<bool, Box<dyn Error>> {
    let behind = Server::start::<&str>(&[]).await?;
    let address = behind.grpc_address();
    let flags = [format!("--fallback-vtctld-server={address}"), "--fallback-rpcs=GetKeyspaces".to_owned()];
    let front = Server::start(&flags).await?;
    let (mut direct, mut through) = (behind.client().await?, front.client().await?);
    for number in 0..10 {
        let name = format!("keyspace{number}");
        direct.create_keyspace(CreateKeyspaceRequest { name, ..CreateKeyspaceRequest::default() }).await?;
    }
    for _ in 0..WARM {
        call(&mut direct).await?;
        call(&mut through).await?;
    }
    let mut times = [Vec::with_capacity(calls), Vec::with_capacity(calls)];
    for _ in 0..calls {
        times[0].push(call(&mut direct).await?);
        times[1].push(call(&mut through).await?);
    }
    let [direct, through] = times.map(|mut times| {
        times.sort();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    });
    let cost = through.0.saturating_sub(direct.0);
    println!("direct:  median {:?}, 99 % {:?} of {calls}", direct.0, direct.1);
    println!("through: median {:?}, 99 % {:?}", through.0, through.1);
    println!("passing through costs {cost:?} at the median (bar: {BAR:?})");
    Ok(cost < BAR)
}

async fn call(client: &mut Vtctld) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let found = client.get_keyspaces(GetKeyspacesRequest {}).await?.into_inner().keyspaces.len();
    let time = start.elapsed();
    if found == 10 { Ok(time) } else { Err(format!("{found} keyspaces").into()) }
}
