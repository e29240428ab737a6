//! Identifiers and literals. No other place writes a quote into SQL.

use std::fmt::Write;

/// An identifier in back-quotes.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A column or table name as the filter of a stream spells it: bare when it is plain and no keyword, as stock prints it.
pub fn filter_identifier(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
        && !name.starts_with(|c: char| c.is_ascii_digit());
    let upper = name.to_ascii_uppercase();
    let keyword = sqlparser::keywords::ALL_KEYWORDS.binary_search(&upper.as_str()).is_ok();
    if plain && !keyword { name.to_owned() } else { identifier(name) }
}

/// A string literal in single quotes, with the escapes of Vitess 22.0.3: `\0 \' \b \n \r \t \Z \\`.
pub fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\0' => quoted.push_str("\\0"),
            '\'' => quoted.push_str("\\'"),
            '\u{8}' => quoted.push_str("\\b"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{1a}' => quoted.push_str("\\Z"),
            '\\' => quoted.push_str("\\\\"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// Whole numbers, separated by `, `.
pub fn ids(ids: &[i64]) -> String {
    let mut text = String::new();
    for id in ids {
        let separator = if text.is_empty() { "" } else { ", " };
        write!(text, "{separator}{id}").ok();
    }
    text
}

/// String literals, separated by `, `.
pub fn literals<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(literal).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_are_quoted_where_stock_quotes_them() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(filter_identifier("customer_id"), "customer_id");
        assert_eq!(filter_identifier("order"), "`order`");
        assert_eq!(filter_identifier("1st"), "`1st`");
        assert_eq!(filter_identifier("a b"), "`a b`");
    }

    #[test]
    fn literals_are_escaped() {
        assert_eq!(literal("it's \\ a\nline"), "'it\\'s \\\\ a\\nline'");
        assert_eq!(ids(&[1, 2]), "1, 2");
    }

    proptest! {
        #[test]
        fn a_literal_is_always_one_token(text in "\\PC{0,40}") {
            use sqlparser::{dialect::MySqlDialect, tokenizer::{Token, Tokenizer}};
            let sql = literal(&text);
            let tokens = Tokenizer::new(&MySqlDialect {}, &sql).tokenize().unwrap();
            prop_assert_eq!(tokens, vec![Token::SingleQuotedString(text)]);
        }
    }
}
