//! Parses the flags and runs the server.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use vtmigrated::{app, config::Config, failpoint, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::load(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(answer) => return answer.print(),
    };
    if let Err(error) = telemetry::init(&config.log, config.metrics.clone()) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let _points = failpoint::setup();
    rustls::crypto::ring::default_provider().install_default().ok();
    if let Err(error) = app::run(config, stop_signal()).await {
        tracing::error!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
