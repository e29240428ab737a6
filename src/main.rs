//! Parses the flags and runs the server.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use vtmigrated::{advise, app, cli, cli::Cli, config::Config, failpoint, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(advise) = cli::advise::from_args() {
        return advise::run(&advise).await;
    }
    let cli = Cli::from_args();
    telemetry::init();
    let _points = failpoint::setup();
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match Config::try_from(cli) {
        Ok(config) => app::run(config, stop_signal()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = result {
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
