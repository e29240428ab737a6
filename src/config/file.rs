//! The configuration file: flags as keys, in YAML, JSON or TOML.

use std::path::{Path, PathBuf};

use ::config::{File, FileFormat, Value, ValueKind};

use super::Error;
use crate::cli::ConfigFileArgs;
use crate::cli::config_file::NotFound;

/// Endings that are looked for, in stock's order.
const ENDINGS: &[&str] = &["json", "toml", "yaml", "yml"];

/// Keys by which stock knows some flags.
const STOCK_KEYS: &[(&str, &str)] = &[
    ("trace.service", "tracer"),
    ("trace.enable-logging", "tracing-enable-logging"),
    ("trace.datadog.agent.host", "datadog-agent-host"),
    ("trace.datadog.agent.port", "datadog-agent-port"),
    ("trace.jaeger.agent-host", "jaeger-agent-host"),
    ("trace.jaeger.sampling_type", "tracing-sampling-type"),
    ("trace.jaeger.sampling_rate", "tracing-sampling-rate"),
    ("backup.storage.azblob.account.name", "azblob-backup-account-name"),
    ("backup.storage.azblob.account.key_file", "azblob-backup-account-key-file"),
    ("backup.storage.azblob.container_name", "azblob-backup-container-name"),
    ("backup.storage.azblob.storage_root", "azblob-backup-storage-root"),
    ("backup.storage.azblob.buffer_size", "azblob-backup-buffer-size"),
    ("backup.storage.azblob.parallelism", "azblob-backup-parallelism"),
];

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Names with dashes, and values.
    pub flags: Vec<(String, String)>,
    /// For the log.
    pub notes: Vec<String>,
}

/// Finds and reads the file; `asked` when any flag speaks of one.
///
/// # Errors
/// A file that is malformed, unreadable, or missing where that is an error.
pub(super) fn read(args: &ConfigFileArgs, asked: bool) -> Result<Read, Error> {
    let Some(path) = find(args) else {
        let folders = folders(args).iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
        let name = if args.config_file.is_empty() { &args.config_name } else { &args.config_file };
        let missing = Error::NoFile { name: name.clone(), folders };
        return match args.config_file_not_found_handling {
            NotFound::Error | NotFound::Exit => Err(missing),
            NotFound::Warn if asked => Ok(Read { notes: vec![missing.to_string()], ..Read::default() }),
            NotFound::Warn | NotFound::Ignore => Ok(Read::default()),
        };
    };
    let bad = |detail: String| Error::BadFile { path: path.clone(), detail };
    let text = std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
    let source = File::from_str(&text, format(args, &path)?);
    let values = ::config::Config::builder().add_source(source).build().map_err(|error| bad(error.to_string()))?;
    let mut found = Vec::new();
    flatten("", values.cache, &mut found);
    let mut read = Read { notes: vec![format!("reading flags from {}", path.display())], ..Read::default() };
    let mut unknown = Vec::new();
    for (key, value) in found {
        match flag_of(&key) {
            Some(name) => read.flags.push((name, value)),
            None => unknown.push(key),
        }
    }
    if !unknown.is_empty() {
        unknown.sort();
        read.notes.push(format!("these keys of the config file are not flags of vtctld: {}", unknown.join(", ")));
    }
    Ok(read)
}

fn folders(args: &ConfigFileArgs) -> Vec<PathBuf> {
    let given: Vec<PathBuf> = args.config_path.iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    if given.is_empty() { vec![std::env::current_dir().unwrap_or_default()] } else { given }
}

fn find(args: &ConfigFileArgs) -> Option<PathBuf> {
    if !args.config_file.is_empty() {
        return Some(PathBuf::from(&args.config_file)).filter(|path| path.exists());
    }
    if args.config_name.is_empty() {
        return None;
    }
    folders(args).into_iter().find_map(|folder| {
        let with_ending = ENDINGS.iter().map(|ending| folder.join(format!("{}.{ending}", args.config_name)));
        let bare = (!args.config_type.is_empty()).then(|| folder.join(&args.config_name));
        with_ending.chain(bare).find(|path| path.is_file())
    })
}

fn format(args: &ConfigFileArgs, path: &Path) -> Result<FileFormat, Error> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let kind = match args.config_type.as_str() {
        "" => ending,
        _ if !args.config_file.is_empty() => ending,
        given => given.to_lowercase(),
    };
    match kind.as_str() {
        "yaml" | "yml" => Ok(FileFormat::Yaml),
        "json" => Ok(FileFormat::Json),
        "toml" => Ok(FileFormat::Toml),
        _ => Err(Error::UnknownFormat { path: path.to_owned(), kind }),
    }
}

/// The flag that a key means, if it is one that a file may set.
fn flag_of(key: &str) -> Option<String> {
    if let Some((_, flag)) = STOCK_KEYS.iter().find(|(stock, _)| *stock == key) {
        return Some((*flag).to_owned());
    }
    let name = key.replace('_', "-");
    let excluded = name.starts_with("config-") || matches!(name.as_str(), "help" | "version");
    (!excluded && crate::cli::is_flag(&name)).then_some(name)
}

/// Nested tables become keys with dots, lists are joined with commas.
fn flatten(prefix: &str, value: Value, found: &mut Vec<(String, String)>) {
    match value.kind {
        ValueKind::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&key.to_lowercase(), value, found);
            }
        }
        ValueKind::Array(list) => {
            let items: Vec<String> = list.into_iter().filter_map(|item| item.into_string().ok()).collect();
            found.push((prefix.to_owned(), items.join(",")));
        }
        ValueKind::Nil => {}
        _ => found.extend(value.into_string().ok().map(|value| (prefix.to_owned(), value))),
    }
}
