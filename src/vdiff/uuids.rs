//! UUIDs as users type them.

use uuid::Uuid;

use crate::error::Reason;
use crate::failure::{Error, Result};

/// The canonical spelling: lower case with hyphens. Tablets store what they get and compare it letter by letter when they
/// stop a diff (Vitess 22.0.3), so no other spelling leaves this program.
///
/// # Errors
/// `invalid UUID provided: <typed>: <why>`, as stock says.
pub fn canonical(typed: &str) -> Result<String> {
    Uuid::parse_str(typed.trim()).map(|uuid| uuid.hyphenated().to_string()).map_err(|_| {
        let shown: String = typed.trim().chars().take(64).filter(|c| !c.is_control()).collect();
        let why = match typed.trim().len() {
            32 | 36 | 38 => "invalid UUID format".to_owned(),
            45 => "invalid urn prefix".to_owned(),
            length => format!("invalid UUID length: {length}"),
        };
        let help = "give 36 characters such as 5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10, or none for a new one";
        Error::invalid(Reason::BAD_UUID, format!("invalid UUID provided: {shown}: {why}"), help)
    })
}

/// The canonical spelling, a new random one (version 4) for an empty text.
pub fn given_or_new(typed: &str) -> Result<String> {
    if typed.trim().is_empty() { Ok(Uuid::new_v4().hyphenated().to_string()) } else { canonical(typed) }
}

/// An argument of show and delete: one of `words`, or a UUID in its canonical spelling.
///
/// # Errors
/// `action argument <x> not supported`, as tablets say.
pub fn argument(typed: &str, words: &[&str]) -> Result<String> {
    let lower = typed.trim().to_ascii_lowercase();
    if words.contains(&lower.as_str()) {
        return Ok(lower);
    }
    canonical(typed).map_err(|_| {
        let shown: String = typed.chars().take(64).filter(|c| !c.is_control()).collect();
        let help = format!("use {} or a valid UUID", words.join(", "));
        Error::invalid(Reason::BAD_ARGUMENT, format!("action argument {shown} not supported"), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: &str = "5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10";

    #[test]
    fn every_spelling_that_go_takes_is_made_canonical() {
        for typed in [
            CANONICAL,
            " 5D52E12B-1F43-4B7C-9C46-0D2F5F9A7D10 ",
            "5d52e12b1f434b7c9c460d2f5f9a7d10",
            "{5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10}",
            "urn:uuid:5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10",
        ] {
            assert_eq!(canonical(typed).unwrap(), CANONICAL);
        }
        assert_eq!(given_or_new(" ").unwrap().len(), 36);
        assert_ne!(given_or_new("").unwrap(), given_or_new("").unwrap());
    }

    #[test]
    fn what_is_none_is_refused_in_stocks_words() {
        let text = |typed: &str| canonical(typed).unwrap_err().to_string();
        assert_eq!(text("abc"), "invalid UUID provided: abc: invalid UUID length: 3");
        assert!(text("5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d1x").ends_with("invalid UUID format"));
        assert_eq!(argument("LAST", &["all", "last"]).unwrap(), "last");
        assert_eq!(argument("last", &["all"]).unwrap_err().to_string(), "action argument last not supported");
        assert_eq!(argument("", &["all"]).unwrap_err().to_string(), "action argument  not supported");
    }
}
