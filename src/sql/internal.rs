//! Tables that Vitess makes for itself.

use std::sync::OnceLock;

use regex::Regex;

/// True for tables that schema changes and table clean-up leave behind (patterns of Vitess 22.0.3).
pub fn is_internal(table: &str) -> bool {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        Regex::new(concat!(
            "^_vt_([a-zA-Z0-9]{3})_([0-f]{32})_([0-9]{14})_$",
            "|^_vt_(HOLD|PURGE|EVAC|DROP)_([0-f]{32})_([0-9]{14})$",
            "|^_[0-f]{8}_[0-f]{4}_[0-f]{4}_[0-f]{4}_[0-f]{12}_([0-9]{14})_(gho|ghc|del|new|vrepl)$",
            "|^_.*_old$",
        ))
        .ok()
    });
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(table))
}
