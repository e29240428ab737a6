//! Online schema changes, which tablets carry out: what they tell of them, and what they are told to do with them.

mod action;
mod list;
pub mod row;

pub use self::action::{Action, act};
pub use self::list::{Filter, list};

/// True for what the tablets take as the id of a schema change (`a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9a`).
fn is_uuid(text: &str) -> bool {
    // the letters of stock's pattern, [0-f], are more than hexadecimal digits
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'_',
        _ => (b'0'..=b'f').contains(&byte),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_other_words() {
        assert!(is_uuid("a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9a") && is_uuid("A0638F6B_EC7B_11EA_9BF8_000D3A9B8A9A"));
        for no in ["", "all", "a0638f6b-ec7b-11ea-9bf8-000d3a9b8a9a", "a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9g"] {
            assert!(!is_uuid(no), "{no}");
        }
    }
}
