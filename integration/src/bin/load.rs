//! Load on vtctlds: `integration-load --farm 127.0.0.1:<page of a farm>` starts our server (`VTMIGRATED_BIN`) and, with `--stock`,
//! Vitess's own beside it, and lets them take turns with each of `--calls`. `--at host:port` and `--against host:port` measure
//! servers that run already; `--real` starts two clusters of Vitess's own programs with a migration of three tables instead of
//! a farm's. Prints medians of all rounds, for each call of the load, and ratios with their spread.
//!
//! Calls go round and round in a closed loop with `--callers`, or come at a rate with `--rate`, over `--connections`.

use std::{collections::BTreeMap, error::Error, time::Duration};

use clap::Parser;
use integration::{
    farm::Facts,
    load::{
        self, Plan,
        call::{Kind, Subject},
        real::Real,
        report,
        turn::{Loop, Server},
    },
    server,
    stock::{Generation, Vtctld},
};

#[derive(Parser)]
struct Flags {
    /// Page of a farm, host:port
    #[arg(long, required_unless_present = "real")]
    farm: Option<String>,
    /// Starts two clusters of Vitess's own programs
    #[arg(long, conflicts_with_all = ["farm", "at"])]
    real: bool,
    /// A server that runs already, instead of starting ours; host:port
    #[arg(long)]
    at: Option<String>,
    /// One to compare with; host:port
    #[arg(long)]
    against: Option<String>,
    /// Starts Vitess's own vtctld 24, to compare with
    #[arg(long, conflicts_with = "against")]
    stock: bool,
    /// Calls to make
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["MountShow", "GetKeyspaces", "GetWorkflows"])]
    calls: Vec<Kind>,
    /// Rounds that count
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Milliseconds of a turn
    #[arg(long, default_value_t = 2000)]
    turn: u64,
    /// Callers of the closed loop
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// Connections to each server
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls a second, in an open loop
    #[arg(long)]
    rate: Option<f64>,
    /// Keyspace of the target that the calls are about; the first when absent
    #[arg(long)]
    keyspace: Option<String>,
    /// Tables of MigrateCreate; all when absent
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// More processes to watch: mysql=4711
    #[arg(long, value_parser = process)]
    watch: Vec<(String, u32)>,
    /// Another flag of our server
    #[arg(long, allow_hyphen_values = true)]
    flag: Vec<String>,
}

fn process(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').ok_or("not name=pid")?;
    Ok((name.to_owned(), pid.parse::<u32>().map_err(|error| format!("{pid}: {error}"))?))
}

/// The servers, and what keeps those alive that were started here.
struct Started {
    servers: Vec<Server>,
    facts: Facts,
    _ours: Option<server::Server>,
    _stock: Option<Vtctld>,
    _real: Option<Real>,
}

impl Started {
    async fn start(flags: &Flags) -> Result<Self, Box<dyn Error>> {
        let real = if flags.real { Some(Real::start().await?) } else { None };
        let facts = match (&real, &flags.farm) {
            (Some(real), _) => real.facts(),
            (None, farm) => of_farm(farm.as_deref().unwrap_or_default()).await?,
        };
        let (mut servers, connections) = (Vec::new(), flags.connections);
        let mut ours = None;
        if let Some(at) = &flags.at {
            servers.push(Server::connect("this", at, connections).await?);
        } else if let Some(real) = &real {
            servers.push(Server::connect("ours", &real.address(), connections).await?);
        } else {
            let given: Vec<&String> = facts.flags.iter().chain(&flags.flag).collect();
            let started = server::Server::start(&given).await?;
            servers.push(Server::connect("ours", &started.grpc_address().to_string(), connections).await?);
            ours = Some(started);
        }
        if let Some(against) = &flags.against {
            servers.push(Server::connect("other", against, connections).await?);
        }
        let mut stock = None;
        if flags.stock {
            let started = Vtctld::start(Generation::V24, &facts.topology).await?;
            servers.push(Server::connect("stock", &started.address(), connections).await?);
            stock = Some(started);
        }
        Ok(Self { servers, facts, _ours: ours, _stock: stock, _real: real })
    }
}

/// What the page of a farm says.
async fn of_farm(address: &str) -> Result<Facts, Box<dyn Error>> {
    let (_, page) = vtmigrated::fetch::page(address, address, "/", 1 << 20).await?;
    Ok(serde_json::from_slice(&page)?)
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let started = Started::start(&flags).await?;
    let facts = &started.facts;
    let keyspace = flags.keyspace.clone().or_else(|| facts.keyspaces.keys().next().cloned()).unwrap_or_default();
    let about = Subject {
        mount: facts.mount.clone(),
        source: facts.keyspaces.get(&keyspace).cloned().unwrap_or_default(),
        target: keyspace,
        workflow: facts.workflows.first().cloned().unwrap_or_default(),
        tables: flags.tables.clone(),
        cells: facts.cells.clone(),
    };
    let mut others: BTreeMap<String, u32> = facts.processes.clone();
    others.extend(flags.watch.iter().cloned());
    let how = flags.rate.map_or(Loop::Closed { callers: flags.callers }, |rate| Loop::Open { rate });
    let plan = Plan { rounds: flags.rounds, turn: Duration::from_millis(flags.turn), how, others };
    let names: Vec<&str> = started.servers.iter().map(|server| server.name.as_str()).collect();
    for kind in &flags.calls {
        let rounds = load::measure(&started.servers, *kind, &about, &plan).await?;
        println!("{}", report::table(&format!("{kind:?}"), &names, &rounds));
    }
    Ok(())
}
