//! Flags that stock does not have.

use clap::Args;

/// Heading of such flags in the help.
pub(super) const NOT_IN_VTCTLD: &str = "Flags that stock does not have";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = NOT_IN_VTCTLD)]
pub struct VtmigratedArgs {
    /// Take mounts whose topology cannot be reached or is empty
    #[arg(long)]
    pub allow_unreachable_mounts: bool,
    /// Leave the batching of changes to the target tablets' settings instead of switching it off
    #[arg(long)]
    pub keep_vplayer_batching: bool,
    /// Let complete end workflows that are not done
    #[arg(long)]
    pub allow_unfinished_complete: bool,
    /// Time between two looks at mounts and migrations, for the status page and the metrics; 0: none is taken
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = super::values::duration)]
    pub watch_interval: std::time::Duration,
}
