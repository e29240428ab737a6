//! What tracing costs: three servers on one farm with a running migration, with all traces, with 1 % and without, called in turns.
//! `integration-bench [rounds] [milliseconds of a turn]`, with `VTMIGRATED_BIN` naming a release build.
//!
//! Turns beside each other are compared: processor time of the server for each call is what other programs on the host disturb
//! least. Each caller asks in words of its own, so that no read is shared. Fails when traces cost more than their bar.

use std::{collections::BTreeMap, error::Error, time::Duration};

use integration::{
    collector::Collector,
    farm::{Farm, Settings, Shape, Side},
    life::MOUNT,
    load::{
        self, Plan,
        call::{Kind, Subject},
        report::{self, median},
        turn::{self, Loop, Turn},
    },
    server::Server,
};

const CALLERS: usize = 16;
const CONNECTIONS: usize = 4;
/// Name, sampling rate, and by how many percent a call may cost more than without. The last is what the others are compared with.
const MODES: [(&str, &str, f64); 3] = [("100 %", "1", 10.0), ("1 %", "0.01", 2.0), ("no traces", "", 0.0)];

#[tokio::main]
#[allow(clippy::print_stdout, reason = "what the program is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(15), |text| text.parse())?;
    let turn = Duration::from_millis(arguments.next().map_or(Ok(1500), |text| text.parse())?);
    let shape = Shape { workflows: 1, ..Shape::default() };
    let farm = Farm::start(Settings { shape, ..Settings::default() }).await?;
    farm.mount().await?;
    let sink = Collector::sink().await?;
    let (mut started, mut servers) = (Vec::new(), Vec::new());
    for (name, rate, _) in MODES {
        let mut flags = farm.cluster(Side::Target).flags();
        if !rate.is_empty() {
            flags.extend(sink.flags());
            flags.push(format!("--tracing-sampling-rate={rate}"));
        }
        let server = Server::start(&flags).await?;
        servers.push(turn::Server::connect(name, &server.grpc_address().to_string(), CONNECTIONS).await?);
        started.push(server);
    }
    let subject = Subject { mount: MOUNT.to_owned(), target: Side::Target.keyspace(0), ..Subject::default() };
    let how = Loop::Closed { callers: CALLERS };
    let (others, idle) = (BTreeMap::new(), BTreeMap::new());
    let plan = Plan { rounds, most: Duration::MAX, turn, how, ways: CALLERS, others, idle };
    let mut too_much = Vec::new();
    for kind in [Kind::MountShow, Kind::GetWorkflows] {
        let rounds = load::measure(&servers, kind, std::slice::from_ref(&subject), &plan).await?;
        println!("{}", report::table(&format!("{kind:?}"), &MODES.map(|(name, ..)| name), &rounds));
        too_much.extend(over(kind, &rounds));
    }
    drop((servers, started));
    farm.finish().await?;
    if too_much.is_empty() { Ok(()) } else { Err(format!("over their bars: {}", too_much.join(", ")).into()) }
}

/// What traces cost more than their bar, by the server's processor time for each call.
fn over(kind: Kind, rounds: &[Vec<Turn>]) -> Vec<String> {
    let cost = |turns: &[Turn], at: usize| turns.get(at).map_or(0.0, |turn| turn.cpu_per_call("server"));
    let last = MODES.len() - 1;
    let ratio = |turns: &[Turn], at: usize| 100.0 * (cost(turns, at) / cost(turns, last) - 1.0);
    let more = |at: usize| median(rounds.iter().map(|turns| ratio(turns.as_slice(), at)));
    let judged = |(at, (name, _, bar)): (usize, (&str, &str, f64))| {
        let more = more(at);
        (more > bar).then(|| format!("{kind:?} with traces of {name}: {more:+.1} % (bar: {bar} %)"))
    };
    MODES.into_iter().take(last).enumerate().filter_map(judged).collect()
}
