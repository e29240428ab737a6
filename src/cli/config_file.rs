//! Flags of the configuration file.

use clap::{Args, ValueEnum};

/// What to do when there is no configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NotFound {
    Ignore,
    Warn,
    Error,
    Exit,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Configuration file")]
pub struct ConfigFileArgs {
    /// File with flags as keys; if set, the other flags of this group are ignored
    #[arg(long, default_value = "", value_name = "FILE")]
    pub config_file: String,
    /// Directories to search for the file; the working directory when absent
    #[arg(long, value_delimiter = ',', value_name = "FOLDERS")]
    pub config_path: Vec<String>,
    /// Name of the file without its extension
    #[arg(long, default_value = "vtconfig", value_name = "NAME")]
    pub config_name: String,
    /// Format of the file: yaml, json or toml; taken from its extension when empty
    #[arg(long, default_value = "", value_name = "FORM")]
    pub config_type: String,
    /// What to do when the file is not found
    #[arg(long, default_value = "warn", value_enum, ignore_case = true, value_name = "WHAT")]
    pub config_file_not_found_handling: NotFound,
}
