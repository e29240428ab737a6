//! Values as Go's flag packages read them.

use std::time::Duration;

/// A duration such as `1h0m0s`, `1.5h`, `50ms` or `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("it must not be negative".into());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A truth value in any spelling that Go takes.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("it must be true or false".into()),
    }
}
