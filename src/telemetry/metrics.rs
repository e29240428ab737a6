//! Meters of the program.

/// The `--stats_*` flags.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Variables that are not shown.
    pub dropped: Vec<String>,
    /// Labels whose values are summed up as `all`.
    pub combined: Vec<String>,
}
