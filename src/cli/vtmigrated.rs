//! Flags that vtctld does not have.

use clap::Args;

/// Heading of such flags in the help.
pub(super) const NOT_IN_VTCTLD: &str = "Flags that vtctld does not have";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = NOT_IN_VTCTLD)]
pub struct VtmigratedArgs {
    /// Register mounts even if their topology cannot be reached or is empty
    #[arg(long)]
    pub allow_unreachable_mounts: bool,
    /// Keep the target tablets' own setting for vplayer batching instead of turning batching off
    #[arg(long)]
    pub keep_vplayer_batching: bool,
    /// Let complete end workflows that are not finished
    #[arg(long)]
    pub allow_unfinished_complete: bool,
    /// How often the watcher reads mounts and migrations, for the status page and the metrics; 0: never
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = super::values::duration)]
    pub watch_interval: std::time::Duration,
}
