//! From the file, the environment and the command line to flags: the command line wins, then the environment.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::no_effect::{NO_EFFECT, as_stock};

pub(super) const AFTER_HELP: &str = "All other flags of vtctld 22 are accepted and have no effect. Each flag can also be \
    given in the configuration file, and in the environment as VTMIGRATED_ and its name in upper case.\n\n\
    vtmigrated health, vtmigrated advise and vtmigrated way-back query a running server: see their --help.";

/// Names that stock gives the environment's variables.
const STOCK_ENVIRONMENT: &[(&str, &str)] = &[
    ("config-file", "VT_CONFIG_FILE"),
    ("config-name", "VT_CONFIG_NAME"),
    ("config-path", "VT_CONFIG_PATH"),
    ("config-type", "VT_CONFIG_TYPE"),
];

/// Why flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Also help, which is printed to standard output.
    #[error("{0}")]
    CommandLine(#[from] clap::Error),
    #[error("in {origin}: {error}")]
    Elsewhere { origin: &'static str, error: String },
}

/// Where a flag's value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File,
    Environment,
    CommandLine,
}

/// A flag as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With dashes.
    pub name: String,
    /// Lists are joined with commas.
    pub value: String,
    pub origin: Origin,
    pub has_effect: bool,
}

/// What is known of the flags besides the command line: names with dashes, and values.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub file: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
}

/// All flags, those that have an effect typed.
#[derive(Clone, Debug)]
pub struct Given {
    pub cli: Cli,
    pub flags: Vec<Flag>,
}

/// Reads the flags; `args` begins with the program's name.
///
/// # Errors
/// An unknown flag or a bad value, with near names; or help.
pub fn given(args: impl IntoIterator<Item = OsString>, settings: &Settings) -> Result<Given, Error> {
    let mut args = normalize(args);
    if let Some(error) = single_dash(&args) {
        return Err(error.into());
    }
    let typed = command().try_get_matches_from(&args)?;
    let on_command_line = names(&typed);
    let program = if args.is_empty() { OsString::from("vtctld") } else { args.remove(0) };
    let environment = outside(&settings.environment, "the environment", &on_command_line)?;
    let before_file = on_command_line.iter().chain(&environment.names).cloned().collect();
    let file = outside(&settings.file, "the configuration file", &before_file)?;
    let all = std::iter::once(program).chain(file.args).chain(environment.args).chain(args);
    let matches = command().try_get_matches_from(all)?;
    let origin = |name: &String| {
        if on_command_line.contains(name) {
            Origin::CommandLine
        } else if environment.names.contains(name) {
            Origin::Environment
        } else if file.names.contains(name) {
            Origin::File
        } else {
            Origin::Default
        }
    };
    let flags = effective(&matches, origin);
    Ok(Given { cli: Cli::from_arg_matches(&matches)?, flags })
}

/// True when there is such a flag; `name` with dashes.
pub fn is_flag(name: &str) -> bool {
    command().get_arguments().any(|arg| arg.get_long() == Some(name))
}

/// The flags that variables of the environment give a value, by `variable`.
pub fn environment(variable: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let command = command();
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    let own = names.map(|name| (name, environment_name(name)));
    let stock = STOCK_ENVIRONMENT.iter().map(|(name, variable)| (*name, (*variable).to_owned()));
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, key) in own.chain(stock) {
        if found.iter().all(|(given, _)| given != name)
            && let Some(value) = variable(&key)
        {
            found.push((name.to_owned(), value));
        }
    }
    found
}

/// The variable that gives a flag its value.
fn environment_name(flag: &str) -> String {
    format!("VTMIGRATED_{}", flag.replace('-', "_").to_uppercase())
}

/// The flags of [`Cli`] and those without effect, taking values as stock does.
pub(super) fn command() -> Command {
    Cli::command().args(NO_EFFECT.iter().map(super::no_effect::NoEffect::arg)).mut_args(as_stock)
}

/// Flags from outside of the command line, as arguments.
struct Outside {
    names: BTreeSet<String>,
    args: Vec<OsString>,
}

fn outside(
    settings: &[(String, String)],
    origin: &'static str,
    overridden: &BTreeSet<String>,
) -> Result<Outside, Error> {
    let args: Vec<OsString> = settings
        .iter()
        .filter(|(name, _)| !overridden.contains(name))
        .map(|(name, value)| format!("--{name}={value}").into())
        .collect();
    let program = std::iter::once(OsString::from("vtctld"));
    let parsed = command().try_get_matches_from(program.chain(args.iter().cloned()));
    let matches = parsed.map_err(|error| {
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Error::Elsewhere { origin, error: text }
    })?;
    Ok(Outside { names: names(&matches), args })
}

/// Flags that are given, with dashes.
fn names(matches: &ArgMatches) -> BTreeSet<String> {
    let command = command();
    let given = command
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long());
    given.map(str::to_owned).collect()
}

fn effective(matches: &ArgMatches, origin: impl Fn(&String) -> Origin) -> Vec<Flag> {
    let command = command();
    let mut flags: Vec<Flag> = command
        .get_arguments()
        .filter_map(|arg| Some((arg, arg.get_long()?.to_owned())))
        .filter(|(_, name)| !matches!(name.as_str(), "help" | "version"))
        .map(|(arg, name)| {
            let raw = matches.try_get_raw(arg.get_id().as_str()).ok().flatten();
            let value = raw.into_iter().flatten().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
            let has_effect = NO_EFFECT.iter().all(|flag| flag.name != name);
            Flag { origin: origin(&name), name, value, has_effect }
        })
        .collect();
    flags.sort_by(|a, b| a.name.cmp(&b.name));
    flags
}

/// `--topo_global_root=/x` becomes `--topo-global-root=/x`; values stay as they are.
pub(super) fn normalize(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut only_values = false;
    let spell = |arg: OsString| {
        let Some(text) = arg.to_str() else { return arg };
        only_values |= text == "--";
        match text.strip_prefix("--") {
            Some(flag) if !only_values => {
                let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
                let name = name.replace('_', "-");
                OsString::from(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")))
            }
            _ => arg,
        }
    };
    args.into_iter().map(spell).collect()
}

/// `-port` is no flag, in stock neither: say what is meant.
fn single_dash(args: &[OsString]) -> Option<clap::Error> {
    let mut command = command();
    let mut value_follows = false;
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if arg == "--" {
            return None;
        }
        if std::mem::take(&mut value_follows) {
            continue;
        }
        if let Some(name) = arg.strip_prefix("--") {
            let flag = command.get_arguments().find(|flag| flag.get_long() == Some(name));
            value_follows = flag.is_some_and(|flag| !flag.is_require_equals_set() && flag.get_action().takes_values());
        } else if let Some(flag) = arg.strip_prefix('-').filter(|flag| flag.len() > 1) {
            let name = flag.split('=').next().unwrap_or_default().replace('_', "-");
            if is_flag(&name) {
                let text = format!("unexpected argument '-{name}' found\n\n  tip: flags have two dashes: '--{flag}'\n");
                return Some(command.error(clap::error::ErrorKind::UnknownArgument, text));
            }
        }
    }
    None
}
