//! The log: lines in glog's form as stock writes them, or JSON, to standard error and to files by severity.

mod files;
mod glog;
mod json;
mod levels;
mod record;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use files::Files;
pub use levels::{Levels, level, modules};
use record::{Fields, Record};

/// Form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Glog,
    Json,
}

impl Format {
    /// # Errors
    /// A text for any other name.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.to_lowercase().as_str() {
            // later versions of vtctld call it text
            "glog" | "text" => Ok(Self::Glog),
            "json" => Ok(Self::Json),
            _ => Err(format!("{name}: it must be glog or json")),
        }
    }
}

/// glog's severities, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    /// # Errors
    /// A text for what is neither a name nor a number from 0 to 3.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.to_uppercase().as_str() {
            "0" | "INFO" => Ok(Self::Info),
            "1" | "WARNING" => Ok(Self::Warning),
            "2" | "ERROR" => Ok(Self::Error),
            "3" | "FATAL" => Ok(Self::Fatal),
            _ => Err(format!("{name}: it must be INFO, WARNING, ERROR, FATAL or 0 to 3")),
        }
    }

    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            _ => Self::Info,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// Where lines go and which.
#[derive(Clone, Debug)]
pub struct Options {
    pub format: Format,
    /// The least severity.
    pub level: Level,
    /// `--v`.
    pub verbosity: i32,
    /// `--vmodule`: patterns of file names without ending, and their verbosity.
    pub modules: Vec<(String, i32)>,
    pub only_stderr: bool,
    pub also_stderr: bool,
    /// With files: lines from this severity go to standard error, too.
    pub stderr_threshold: Severity,
    /// None: standard error only.
    pub folder: Option<PathBuf>,
    /// A second folder for the links to the current files.
    pub links: Option<PathBuf>,
    /// In bytes.
    pub max_size: u64,
    /// Files are deleted so long after they were begun.
    pub keep: Option<Duration>,
    /// Files are deleted so long after they were last written to.
    pub keep_by_change: Option<Duration>,
    pub purge_interval: Duration,
    /// Leave out what errors and requests contain.
    pub sanitize: bool,
}

/// The layer that writes lines.
pub struct Lines {
    format: Format,
    sanitize: bool,
    /// Lines from this severity go to standard error.
    stderr: Severity,
    files: Option<Files>,
}

impl Lines {
    /// Opens the first file, if there are to be files, and begins to delete old ones.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn open(options: &Options) -> io::Result<Self> {
        let folder = options.folder.clone().filter(|_| !options.only_stderr);
        let everything = folder.is_none() || options.also_stderr;
        let files = folder.map(|folder| Files::open(folder, options)).transpose()?;
        Ok(Self {
            format: options.format,
            sanitize: options.sanitize,
            stderr: if everything { Severity::Info } else { options.stderr_threshold },
            files,
        })
    }

    fn line(&self, record: &Record) -> String {
        match self.format {
            Format::Glog => glog::line(record),
            Format::Json => json::line(record),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let record = Record::new(event, &context, self.sanitize);
        let line = self.line(&record);
        if record.severity >= self.stderr {
            // nobody can be told when this fails
            io::stderr().write_all(line.as_bytes()).ok();
        }
        if let Some(files) = &self.files {
            files.write(record.severity, &line);
        }
    }
}

#[cfg(test)]
mod tests;
