//! `integration-demo`: the demonstration. `integration/demo` prepares the machine, builds and starts it.

use std::{io, process::ExitCode, time::Instant};

use clap::Parser;
use integration::demo::{
    Error, Lab,
    life::{self, Summary},
    screen::Screen,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Starts two clusters and vtmigrated, brings a keyspace from one into the other while an application writes, compares both
/// sides, and removes what it has started.
#[derive(Debug, Parser)]
#[command(name = "integration/demo")]
struct Args {
    /// Rows of the source, in three tables
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=20_000_000))]
    rows: u64,
    /// Leave everything running, and print the addresses, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// What one ends programs with.
struct Stop {
    signals: [Signal; 3],
}

enum Outcome {
    Done(Box<Summary>),
    Failed(Error),
    Stopped,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let begin = Instant::now();
    match demonstrate(&args, begin).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: ERROR: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate(args: &Args, begin: Instant) -> Result<ExitCode, Error> {
    let mut stop = Stop::new()?;
    let mut screen = Screen::new();
    screen.step("Start two clusters, each with etcd, MySQL and tablets, and vtmigrated on the target's topology")?;
    // On a signal the branch that did not win is dropped, and with it everything that it had started.
    let lab = tokio::select! {
        biased;
        () = stop.wait() => return stopped(),
        lab = Lab::start() => lab?,
    };
    for line in lab.addresses()? {
        screen.answer(&line)?;
    }
    let mut outcome = tokio::select! {
        biased;
        () = stop.wait() => Outcome::Stopped,
        result = life::run(&lab, &mut screen, args.rows) => match result {
            Ok(summary) => Outcome::Done(Box::new(summary)),
            Err(error) => Outcome::Failed(error),
        },
    };
    let took = begin.elapsed();
    if args.keep && !matches!(outcome, Outcome::Stopped) {
        screen.step("Everything runs on")?;
        for line in lab.addresses()? {
            screen.answer(&line)?;
        }
        match &outcome {
            Outcome::Done(summary) => summary.print(&mut screen, took, Some(&lab.page()))?,
            Outcome::Failed(error) => eprintln!("demo: ERROR: {error}"),
            Outcome::Stopped => {}
        }
        screen.note("Ctrl-C ends everything and removes it")?;
        stop.wait().await;
        screen.note("ending everything")?;
    }
    match &mut outcome {
        Outcome::Stopped => {
            drop(lab);
            stopped()
        }
        Outcome::Failed(_) if args.keep => Ok(ExitCode::FAILURE),
        Outcome::Failed(error) => {
            drop(lab);
            eprintln!("demo: ERROR: {error}");
            Ok(ExitCode::FAILURE)
        }
        Outcome::Done(summary) => {
            let removed = lab.remove().await;
            if !args.keep {
                summary.print(&mut screen, took, None)?;
            }
            removed?;
            Ok(if summary.same() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn stopped() -> Result<ExitCode, Error> {
    eprintln!("\ndemo: stopped; everything that it had started is ended and removed");
    // as shells say it of a program that SIGINT has ended
    Ok(ExitCode::from(130))
}

impl Stop {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self { signals: [signal(interrupt)?, signal(terminate)?, signal(hangup)?] })
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
