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
    /// File with flags as keys; the other flags of this group are then not looked at
    #[arg(long, default_value = "", value_name = "FILE")]
    pub config_file: String,
    /// Folders to look for such a file in; the working folder when absent
    #[arg(long, value_delimiter = ',', value_name = "FOLDERS")]
    pub config_path: Vec<String>,
    /// Name of the file without its ending
    #[arg(long, default_value = "vtconfig", value_name = "NAME")]
    pub config_name: String,
    /// Form of the file: yaml, json or toml; told by its ending when empty
    #[arg(long, default_value = "", value_name = "FORM")]
    pub config_type: String,
    /// What to do when there is no such file
    #[arg(long, default_value = "warn", value_enum, ignore_case = true, value_name = "WHAT")]
    pub config_file_not_found_handling: NotFound,
}
