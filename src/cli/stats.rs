//! Flags of exported variables and metrics.

use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct StatsArgs {
    /// Variables that are not exported, separated by commas
    #[arg(long, default_value = "", value_name = "NAMES")]
    pub stats_drop_variables: String,
    /// Labels whose values are summed up as "all", separated by commas
    #[arg(long, default_value = "", value_name = "LABELS")]
    pub stats_combine_dimensions: String,
}
