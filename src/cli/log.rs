//! Flags of the log.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// Log to standard error instead of files; the default without --log_dir
    #[arg(long)]
    pub logtostderr: bool,
    /// Log to standard error as well as to files
    #[arg(long)]
    pub alsologtostderr: bool,
    /// Lines of this severity and above go to standard error as well: INFO, WARNING, ERROR, FATAL or 0 to 3
    #[arg(long, default_value = "1", value_name = "SEVERITY")]
    pub stderrthreshold: String,
    /// Verbosity: 0 logs INFO, 1 and above debug, 10 and above everything
    #[arg(long = "v", default_value_t = 0, value_name = "LEVEL")]
    pub verbosity: i32,
    /// The same for source files: pattern=LEVEL, separated by commas, patterns with * and ?
    #[arg(long, default_value = "", value_name = "PATTERNS")]
    pub vmodule: String,
    /// Directory of the log files
    #[arg(long, default_value = "", value_name = "FOLDER")]
    pub log_dir: String,
    /// Another directory for the symbolic links to the current log files
    #[arg(long, default_value = "", value_name = "FOLDER")]
    pub log_link: String,
    /// Size at which log files are rotated, in bytes
    #[arg(long, default_value_t = 1_887_436_800, value_name = "BYTES")]
    pub log_rotate_max_size: u64,
    /// Delete log files this long after they were created; never when 0
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub keep_logs: Duration,
    /// Delete log files this long after their last line; never when 0
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub keep_logs_by_mtime: Duration,
    /// How often to look for log files to delete
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    pub purge_logs_interval: Duration,
    /// Do not log the contents of SQL statements and requests
    #[arg(long)]
    pub vtctld_sanitize_log_messages: bool,
    /// Format of log lines: glog (or text), or json; without it --log_structured decides
    #[arg(long, default_value = "", value_name = "FORM")]
    pub log_format: String,
    /// Log JSON; the flag by which vtctld 24 chooses the format of log lines
    #[arg(long)]
    pub log_structured: bool,
    /// Minimum severity that is logged: debug, info, warn, error
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}
