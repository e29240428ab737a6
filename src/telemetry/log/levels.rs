//! Which events are logged: the level, `--v` and `--vmodule`.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use super::Options;

/// Libraries that tell too much at the level of our own code.
const LIBRARIES: &[&str] = &["h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "etcd_client"];

/// The filter of the log.
pub struct Levels {
    own: Level,
    modules: Vec<(String, Level)>,
}

impl Levels {
    pub fn new(options: &Options) -> Self {
        let own = options.level.max(verbose(options.verbosity));
        let modules = options.modules.iter().map(|(pattern, verbosity)| (pattern.clone(), verbose(*verbosity)));
        Self { own, modules: modules.collect() }
    }

    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let krate = metadata.target().split("::").next().unwrap_or_default();
        if metadata.is_span() {
            return krate == "vtmigrated";
        }
        let limit = if LIBRARIES.contains(&krate) { self.own.min(Level::WARN) } else { self.own };
        if *metadata.level() <= limit {
            return true;
        }
        let file = metadata.file().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let file = file.strip_suffix(".rs").unwrap_or(file);
        self.modules.iter().any(|(pattern, level)| metadata.level() <= level && matches(pattern, file))
    }
}

impl<S> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.takes(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.takes(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // spans are of level INFO and needed for their fields
        let modules = self.modules.iter().map(|(_, level)| *level).max().unwrap_or(Level::ERROR);
        Some(self.own.max(modules).max(Level::INFO).into())
    }
}

/// The level that a verbosity switches on.
fn verbose(verbosity: i32) -> Level {
    match verbosity {
        ..=0 => Level::ERROR,
        1..=9 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// A level by its name.
///
/// # Errors
/// A text for any other name.
pub fn level(name: &str) -> Result<Level, String> {
    match name.to_lowercase().as_str() {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" | "warning" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err(format!("{name}: it must be debug, info, warn or error")),
    }
}

/// `pattern=N,pattern=N`.
///
/// # Errors
/// A text for what has another form.
pub fn modules(text: &str) -> Result<Vec<(String, i32)>, String> {
    let module = |part: &str| {
        let (pattern, verbosity) = part.split_once('=')?;
        Some((Some(pattern).filter(|p| !p.is_empty())?.to_owned(), verbosity.parse().ok()?))
    };
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| module(part).ok_or_else(|| format!("{part}: it must be pattern=N"))).collect()
}

/// Whether a pattern with `*` (anything) and `?` (one character) matches the whole of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut ends: Vec<usize> = vec![0];
    let text: Vec<char> = text.chars().collect();
    for part in pattern.chars() {
        ends = match part {
            '*' => ends.first().map(|first| (*first..=text.len()).collect()).unwrap_or_default(),
            '?' => ends.into_iter().filter(|at| *at < text.len()).map(|at| at + 1).collect(),
            c => ends.into_iter().filter(|at| text.get(*at) == Some(&c)).map(|at| at + 1).collect(),
        };
    }
    ends.contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text) in
            [("app", "app"), ("a*", "app"), ("*p", "app"), ("a?p", "app"), ("*", ""), ("a*p*", "app")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("app", "apps"), ("a", "app"), ("?", ""), ("a*c", "app"), ("", "app")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn levels_have_the_names_that_vitess_24_takes() {
        for (name, wanted) in
            [("debug", Level::DEBUG), ("info", Level::INFO), ("WARN", Level::WARN), ("error", Level::ERROR)]
        {
            assert_eq!(level(name).unwrap(), wanted, "{name}");
        }
        assert_eq!(level("loud").unwrap_err(), "loud: it must be debug, info, warn or error");
    }

    #[test]
    fn modules_are_pairs() {
        assert_eq!(modules("a*=2,create=10").unwrap(), [("a*".to_owned(), 2), ("create".to_owned(), 10)]);
        assert!(modules("").unwrap().is_empty());
        assert!(modules("a").is_err());
        assert!(modules("=1").is_err());
    }
}
