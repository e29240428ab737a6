//! Load on vtctlds: `integration-load --farm 127.0.0.1:<page of a farm>` starts our server (`VTMIGRATED_BIN`) and, with `--stock`,
//! Vitess's own beside it, and lets them take turns with each of `--calls`. `--at host:port` and `--against host:port` measure
//! servers that run already; `--program` starts several of ours; `--real` starts two clusters of Vitess's own programs with a
//! migration of three tables instead of a farm's. Prints medians of all rounds, for each call of the load, and ratios with their
//! spread.
//!
//! Calls go round and round in a closed loop with `--callers`, or come at a rate with `--rate`, over `--connections`. Instead
//! of that: `--life` goes through one migration, `--rest` looks at a server that nobody calls, `--soak` at what it holds while time
//! goes by, `--allocations` counts these.

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use integration::{
    farm::Facts,
    load::{
        self, Plan, allocations,
        call::{Kind, Subject},
        held::{self, Held},
        life,
        real::Real,
        report, rest,
        turn::{Loop, Server},
    },
    server,
    stock::{Generation, Vtctld},
};

/// How long nobody calls before a load: a round of our watcher, which is no cost of a call, comes once in that.
const IDLE: Duration = Duration::from_secs(10);
/// After a load, memory is given back within this.
const AFTERWARDS: Duration = Duration::from_secs(30);

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
    /// Programs of ours to start, each for itself: small=target/levels/z/release/vtmigrated
    #[arg(long, value_parser = program, conflicts_with_all = ["real", "at"])]
    program: Vec<(String, PathBuf)>,
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
    /// Seconds after which no round of a call begins, once one has counted
    #[arg(long, default_value_t = 3600)]
    most: u64,
    /// Milliseconds of a turn
    #[arg(long, default_value_t = 2000)]
    turn: u64,
    /// Callers of the closed loop
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// In how many ways callers ask: about so many mounts, keyspaces and workflows as far as there are as many, each in words of its
    /// own, so that what servers read cannot be shared; 1 for all the same
    #[arg(long, default_value_t = 1)]
    ways: usize,
    /// Connections to each server
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Calls a second, in an open loop
    #[arg(long)]
    rate: Option<f64>,
    /// Keyspace of the target that the calls are about; when absent the first, and for MigrateCreate another for each server, if there
    /// are as many
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
    /// Each step of a migration of all tables once, on a farm, and a round of the watcher
    #[arg(long, group = "instead", conflicts_with_all = ["real", "at"])]
    life: bool,
    /// Seconds for which our server is looked at while nobody calls it
    #[arg(long, group = "instead", conflicts_with_all = ["real", "at"])]
    rest: Option<u64>,
    /// Minutes of the calls in turn, on the first server: fails when it holds more and more
    #[arg(long, group = "instead")]
    soak: Option<u64>,
    /// Calls of each kind over which the allocations of a program with the feature `allocation-stats` are counted
    #[arg(long, group = "instead", conflicts_with_all = ["real", "at"])]
    allocations: Option<u32>,
}

fn process(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').ok_or("not name=pid")?;
    Ok((name.to_owned(), pid.parse::<u32>().map_err(|error| format!("{pid}: {error}"))?))
}

fn program(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("not name=path")?;
    Ok((name.to_owned(), path.into()))
}

impl Flags {
    /// The programs of ours to start.
    fn programs(&self) -> Result<Vec<(String, PathBuf)>, server::Error> {
        if self.program.is_empty() {
            Ok(vec![("ours".to_owned(), server::binary()?)])
        } else {
            Ok(self.program.clone())
        }
    }

    /// The flags of a server of ours.
    fn of_ours(&self, facts: &Facts) -> Vec<String> {
        facts.flags.iter().chain(&self.flag).cloned().collect()
    }

    /// The same for one whose costs are those of the calls alone.
    fn without_watch(&self, facts: &Facts) -> Vec<String> {
        [self.of_ours(facts), vec!["--watch-interval=0".to_owned()]].concat()
    }

    fn farm(&self) -> &str {
        self.farm.as_deref().unwrap_or_default()
    }

    /// What calls can be about, as many as are different.
    fn subjects(&self, facts: &Facts) -> Vec<Subject> {
        let named = |target: &String| (target.clone(), facts.keyspaces.get(target).cloned().unwrap_or_default());
        let keyspaces: Vec<(String, String)> = match &self.keyspace {
            Some(only) => vec![named(only)],
            None => facts.keyspaces.keys().map(named).collect(),
        };
        let subject = |number: usize| {
            let (target, source) = load::nth(&keyspaces, number);
            Subject {
                mount: load::nth(&facts.mounts, number),
                source,
                target,
                workflow: load::nth(&facts.workflows, number),
                tables: self.tables.clone(),
                cells: facts.cells.clone(),
            }
        };
        let count = keyspaces.len().max(facts.mounts.len()).max(facts.workflows.len());
        (0..count.max(1)).map(subject).collect()
    }

    fn plan(&self, facts: &Facts) -> Plan {
        let mut others: BTreeMap<String, u32> = facts.processes.clone();
        others.extend(self.watch.iter().cloned());
        let how = self.rate.map_or(Loop::Closed { callers: self.callers }, |rate| Loop::Open { rate });
        let (most, turn) = (Duration::from_secs(self.most), Duration::from_millis(self.turn));
        Plan { rounds: self.rounds, most, turn, how, ways: self.ways, others, idle: BTreeMap::new() }
    }
}

/// What a table is about.
fn title(kind: Kind, plan: &Plan, rounds: usize) -> String {
    let how = match plan.how {
        _ if kind.makes() => "1 caller".to_owned(),
        Loop::Closed { callers } => format!("{callers} callers"),
        Loop::Open { rate } => format!("{rate} calls a second"),
    };
    let ways = if plan.ways > 1 { format!(", asked in {} ways", plan.ways) } else { String::new() };
    format!("{kind:?}: {how}{ways}, {rounds} rounds of {} ms", plan.turn.as_millis())
}

/// The servers, and what keeps those alive that were started here.
struct Started {
    servers: Vec<Server>,
    facts: Facts,
    ours: Vec<server::Server>,
    _stock: Option<Vtctld>,
    _real: Option<Real>,
}

impl Started {
    async fn start(flags: &Flags) -> Result<Self, Box<dyn Error>> {
        let real = if flags.real { Some(Real::start().await?) } else { None };
        let facts = match &real {
            Some(real) => real.facts(),
            None => of_farm(flags.farm()).await?,
        };
        let (mut servers, connections) = (Vec::new(), flags.connections);
        let mut ours = Vec::new();
        if let Some(at) = &flags.at {
            servers.push(Server::connect("this", at, connections).await?);
        } else if let Some(real) = &real {
            servers.push(Server::connect("ours", &real.address(), connections).await?);
        } else {
            let given = if flags.life { flags.without_watch(&facts) } else { flags.of_ours(&facts) };
            for (name, path) in flags.programs()? {
                let started = server::Server::start_program(path, &given, &[]).await?;
                servers.push(Server::connect(&name, &started.grpc_address().to_string(), connections).await?);
                ours.push(started);
            }
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
        Ok(Self { servers, facts, ours, _stock: stock, _real: real })
    }
}

/// What the page of a farm says.
async fn of_farm(address: &str) -> Result<Facts, Box<dyn Error>> {
    let (_, page) = vtmigrated::http_get::page(address, address, "/", 1 << 20).await?;
    Ok(serde_json::from_slice(&page)?)
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    if let Some(calls) = flags.allocations {
        return count_allocations(&flags, calls).await;
    }
    let started = Started::start(&flags).await?;
    let facts = &started.facts;
    let (abouts, plan) = (flags.subjects(facts), flags.plan(facts));
    let first = started.servers.first().ok_or("no server")?;
    if flags.life {
        println!("{}", life::HEAD);
        let told = |step: &life::Step| println!("{}", life::line(step));
        life::run(first, &load::nth(&abouts, 0), flags.farm(), &flags.of_ours(facts), told).await?;
        return Ok(());
    }
    if let Some(seconds) = flags.rest {
        let ours = started.ours.first().ok_or("--rest is for a server that is started here")?;
        println!("{}", rest::look(ours, Duration::from_secs(seconds)).await?);
        return Ok(());
    }
    if let Some(minutes) = flags.soak {
        return soak(first, &flags.calls, &abouts, &plan, Duration::from_secs(minutes * 60)).await;
    }
    let plan = Plan { idle: load::process::idle(&plan.others, IDLE).await?, ..plan };
    let names: Vec<&str> = started.servers.iter().map(|server| server.name.as_str()).collect();
    for kind in &flags.calls {
        let rounds = load::measure(&started.servers, *kind, &abouts, &plan).await?;
        println!("{}", report::table(&title(*kind, &plan, rounds.len()), &names, &rounds));
    }
    Ok(())
}

/// Calls in turn for so long, and what the server holds before, after each round, and when it was left alone.
#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn soak(
    server: &Server,
    calls: &[Kind],
    abouts: &[Subject],
    plan: &Plan,
    long: Duration,
) -> Result<(), Box<dyn Error>> {
    let since = Instant::now();
    println!("{:>6} s: {}", 0, Held::now(server.pid)?);
    let mut series = Vec::new();
    while since.elapsed() < long {
        for kind in calls {
            let (calls, undo) = load::asked(*kind, abouts, 0, plan.ways);
            server.turn((calls.as_slice(), undo.as_ref()), plan.how, plan.turn, &plan.others).await?;
        }
        let held = Held::now(server.pid)?;
        println!("{:>6} s: {held}", since.elapsed().as_secs());
        series.push(held);
    }
    tokio::time::sleep(AFTERWARDS).await;
    println!("left alone for {AFTERWARDS:?}: {}", Held::now(server.pid)?);
    let grown = held::grown(&series);
    if grown.is_empty() { Ok(()) } else { Err(format!("grown over the second half: {}", grown.join(", ")).into()) }
}

#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn count_allocations(flags: &Flags, calls: u32) -> Result<(), Box<dyn Error>> {
    let facts = of_farm(flags.farm()).await?;
    let (about, given) = (load::nth(&flags.subjects(&facts), 0), flags.without_watch(&facts));
    for (name, path) in flags.programs()? {
        for kind in &flags.calls {
            let (call, undo) = (kind.of(&about), kind.undo(&about));
            let each = allocations::count(&path, &given, (&call, undo.as_ref()), calls).await?;
            println!("{kind:?}, {name}: {each:.1} allocations for each call, over {calls} calls");
        }
    }
    Ok(())
}
