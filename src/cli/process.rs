//! Flags of the process: its file, its end, its version.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ProcessArgs {
    /// File that holds the process id while the program runs
    #[arg(long, default_value = "", value_name = "FILE")]
    pub pid_file: String,
    /// Minimum time to keep running after a stop signal
    #[arg(long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub lameduck_period: Duration,
    /// How long calls in progress may take after a stop signal
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub onterm_timeout: Duration,
    /// How long operations and HTTP requests in progress may take after that
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub onclose_timeout: Duration,
    /// Print the version and exit
    #[arg(long, short = 'v')]
    pub version: bool,
}
