//! Parses the flags and runs the server.

#![recursion_limit = "256"] // the layout of a whole call, one future in the other, is deeper than the usual 128

use std::process::ExitCode;
use std::time::Duration;

use vtmigrated::{advise, app, cli, config::Config, failpoint, health, telemetry, way_back};

/// Memory that is free for some seconds goes back to the system: clients that flood the server leave nothing behind.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long threads are waited for at the end: one may stand in a read of a file whose server is down.
const LAST_READS: Duration = Duration::from_secs(1);
/// Bytes of a thread's stack, as of a program's first one: without optimisation the longest commands take more than the usual 2 MiB.
/// What is not touched takes no memory.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run());
    runtime.shutdown_timeout(LAST_READS);
    code
}

async fn run() -> ExitCode {
    if let Some(advise) = cli::called("advise") {
        return advise::run(&advise).await;
    }
    if let Some(asked) = cli::called("way-back") {
        return way_back::run(&asked).await;
    }
    if let Some(health) = cli::called("health") {
        return health::run(&health).await;
    }
    let config = match Config::load(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(answer) => return answer.print(),
    };
    rustls::crypto::ring::default_provider().install_default().ok();
    if let Err(error) = telemetry::init(&config.log, config.metrics.clone(), &config.traces, &config.otlp) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let _points = failpoint::setup();
    let ended = app::run(config, app::stop_signal()).await;
    if let Err(error) = &ended {
        tracing::error!("{error}");
    }
    telemetry::flush().await;
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
