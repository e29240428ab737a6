//! Identifiers and literals. No other place writes a quote into SQL.

use std::fmt::Write;

use super::keywords::is_keyword;

/// An identifier in back-quotes.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An identifier as stock's printer writes it: bare when it is plain and no keyword. For texts that people read and
/// compare; SQL gets [`identifier`].
pub fn identifier_as_stock(name: &str) -> String {
    let letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$');
    let starts = name.chars().next().is_some_and(letter);
    let plain = starts && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    if plain && !is_keyword(name) { name.to_owned() } else { identifier(name) }
}

/// Reads `[<keyspace>.]<table>`, each part in back-quotes or plain, as vschemas name sequences and lookup tables; `None` for
/// what stock's parser does not take.
pub fn table_name(text: &str) -> Option<(Option<String>, String)> {
    let (first, rest) = part(text.trim())?;
    match rest.strip_prefix('.') {
        Some(rest) => {
            let (second, rest) = part(rest)?;
            rest.is_empty().then_some((Some(first), second))
        }
        None => rest.is_empty().then_some((None, first)),
    }
}

/// The name at the beginning of a text, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('`') else {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '@');
        let end = text.find(|c| !plain(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('`')?;
        name.push_str(before);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
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
    fn identifiers_are_quoted() {
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(identifier_as_stock("customer_id"), "customer_id");
        for word in ["order", "signal", "Now", "1st", "a b", "a-b", "", "é", "_utf8"] {
            assert_eq!(identifier_as_stock(word), identifier(word));
        }
    }

    #[test]
    fn qualified_names_are_read_as_stock_reads_them() {
        let read = |text: &str| table_name(text).map(|(keyspace, table)| (keyspace.unwrap_or_default(), table));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("seq"), pair("", "seq"));
        assert_eq!(read("main.seq"), pair("main", "seq"));
        assert_eq!(read("`app-global`.`user-lookup`"), pair("app-global", "user-lookup"));
        assert_eq!(read("`a.b`.`c``d`"), pair("a.b", "c`d"));
        assert_eq!(read("`a.b`"), pair("", "a.b"));
        for bad in ["", ".", "a.", "a.b.c", "app-global.seq", "`a", "``", "a b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn literals_are_escaped() {
        assert_eq!(literal("it's \\ a\nline"), "'it\\'s \\\\ a\\nline'");
        assert_eq!(ids(&[1, 2]), "1, 2");
    }

    proptest! {
        #[test]
        fn any_qualified_name_is_read_back(keyspace in "[^\0]{1,20}", table in "[^\0]{1,20}") {
            let text = format!("{}.{}", identifier(&keyspace), identifier(&table));
            prop_assert_eq!(table_name(&text), Some((Some(keyspace), table.clone())));
            prop_assert_eq!(table_name(&identifier_as_stock(&table)), Some((None, table)));
        }

        #[test]
        fn a_literal_is_always_one_token(text in "\\PC{0,40}") {
            use sqlparser::{dialect::MySqlDialect, tokenizer::{Token, Tokenizer}};
            let sql = literal(&text);
            let tokens = Tokenizer::new(&MySqlDialect {}, &sql).tokenize().unwrap();
            prop_assert_eq!(tokens, vec![Token::SingleQuotedString(text)]);
        }
    }
}
