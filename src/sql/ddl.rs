//! Edits of `SHOW CREATE TABLE` text, and of the text that adds keys. The text is never printed again from a parser's tree: tokens tell where to cut.

mod kind;
mod shape;

use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub use kind::Kind;
pub use shape::{Column, ForeignKey, Key, Shape, normalized, shape};

/// Removes the foreign key constraints of a CREATE TABLE statement; indexes and checks stay.
///
/// # Errors
/// A text when the statement cannot be split into tokens.
pub fn without_foreign_keys(create: &str) -> Result<String, String> {
    let lines = Lines::new(create);
    let tokens = Tokenizer::new(&MySqlDialect {}, create).tokenize_with_location().map_err(|e| e.to_string())?;
    let elements = elements(&tokens);
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    for (at, element) in elements.iter().enumerate() {
        if !is_foreign_key(element.tokens) {
            continue;
        }
        // with the comma before it, or with the one after it when it is the first
        let start = if at == 0 { lines.offset(element.start) } else { lines.offset(element.comma_before) };
        let end = match elements.get(at + 1) {
            Some(next) if at == 0 => lines.offset(next.start),
            _ => lines.offset(element.end),
        };
        cuts.push((start, end));
    }
    let mut text = create.to_owned();
    for (start, end) in cuts.into_iter().rev() {
        if text.get(start..end).is_none() {
            return Err("a token lies outside the statement".into());
        }
        text.replace_range(start..end, "");
    }
    Ok(text)
}

/// The statements that do one after the other what an `ALTER TABLE … ADD …, ADD …` does at once. None for a text that does anything
/// else.
pub fn one_by_one(alter: &str) -> Vec<String> {
    let lines = Lines::new(alter);
    let tokens = Tokenizer::new(&MySqlDialect {}, alter).tokenize_with_location().unwrap_or_default();
    let mut depth = 0usize;
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for token in &tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => ends.push(lines.offset(token.span.start)),
            // a comma ends each but the last
            Token::Word(word)
                if depth == 0
                    && word.quote_style.is_none()
                    && word.keyword == Keyword::ADD
                    && begins.len() == ends.len() =>
            {
                begins.push(lines.offset(token.span.start));
            }
            _ => {}
        }
    }
    ends.push(alter.len());
    let head = begins.first().and_then(|first| alter.get(..*first)).unwrap_or_default();
    if begins.len() != ends.len() {
        return Vec::new();
    }
    let statement = |(begin, end): (usize, usize)| Some(format!("{head}{}", alter.get(begin..end)?.trim_end()));
    begins.into_iter().zip(ends).map(statement).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// One comma-separated element between the outer parentheses.
struct Element<'a> {
    tokens: &'a [TokenWithSpan],
    comma_before: Location,
    start: Location,
    end: Location,
}

fn elements(tokens: &[TokenWithSpan]) -> Vec<Element<'_>> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut begin = 0usize;
    let mut comma = Location::empty();
    for (at, token) in tokens.iter().enumerate() {
        let ends = match token.token {
            Token::LParen => {
                depth += 1;
                if depth == 1 {
                    begin = at + 1;
                    comma = token.span.end;
                }
                false
            }
            Token::RParen => {
                depth = depth.saturating_sub(1);
                depth == 0
            }
            Token::Comma => depth == 1,
            _ => false,
        };
        if !ends {
            continue;
        }
        let inside = tokens.get(begin..at).unwrap_or_default();
        let mut words = inside.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
        if let Some(first) = words.next() {
            let last = words.next_back().unwrap_or(first);
            found.push(Element { tokens: inside, comma_before: comma, start: first.span.start, end: last.span.end });
        }
        begin = at + 1;
        comma = token.span.start;
        if matches!(token.token, Token::RParen) {
            break;
        }
    }
    found
}

/// The words that are in no parentheses.
fn outside_parentheses(words: &[String]) -> Vec<&str> {
    let mut depth = 0usize;
    let outside = words.iter().map(String::as_str).filter(|word| match *word {
        "(" => {
            depth += 1;
            false
        }
        ")" => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    });
    outside.collect()
}

/// `FOREIGN KEY …` or `CONSTRAINT [name] FOREIGN KEY …`.
fn is_foreign_key(tokens: &[TokenWithSpan]) -> bool {
    let word = |t: &TokenWithSpan| match &t.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    let mut words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    match words.next().and_then(word) {
        Some(Keyword::FOREIGN) => true,
        Some(Keyword::CONSTRAINT) => {
            let second = words.next();
            let third = words.next();
            second.and_then(word) == Some(Keyword::FOREIGN) || third.and_then(word) == Some(Keyword::FOREIGN)
        }
        _ => false,
    }
}

/// Byte offsets of the tokenizer's lines and columns (both from 1; columns count characters).
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn offset(&self, at: Location) -> usize {
        let line = usize::try_from(at.line).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(at.column).unwrap_or(1).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDERS: &str = "CREATE TABLE `orders` (\n  `id` bigint NOT NULL COMMENT 'a, (b) FOREIGN KEY é',\n  `c` int DEFAULT NULL,\n  \
        PRIMARY KEY (`id`),\n  KEY `c` (`c`),\n  CONSTRAINT `fk, 1` FOREIGN KEY (`c`) REFERENCES `customer` (`id`) ON DELETE CASCADE,\n  \
        CONSTRAINT `positive` CHECK ((`c` > 0))\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='it''s, (x'";

    #[test]
    fn only_foreign_keys_are_cut() {
        let cut = without_foreign_keys(ORDERS).unwrap();
        let expected = ORDERS
            .replace(",\n  CONSTRAINT `fk, 1` FOREIGN KEY (`c`) REFERENCES `customer` (`id`) ON DELETE CASCADE", "");
        assert_eq!(cut, expected);
        assert_eq!(without_foreign_keys(&cut).unwrap(), cut);
    }

    #[test]
    fn the_last_element_and_several_are_cut() {
        let two = "CREATE TABLE t (\n  `a` int,\n  CONSTRAINT `x` FOREIGN KEY (a) REFERENCES p (a),\n  FOREIGN KEY (a) REFERENCES q (a)\n)";
        assert_eq!(without_foreign_keys(two).unwrap(), "CREATE TABLE t (\n  `a` int\n)");
    }

    #[test]
    fn additions_are_told_apart() {
        let head = "alter table vt_ks.`add, t` ";
        let added =
            ["add key a (`x`, `add`)", "add unique key `b` ((`x` + 1), y) comment 'one, add (two'", "ADD KEY c (z)"];
        let expected = added.map(|one| format!("{head}{one}"));
        assert_eq!(one_by_one(&format!("{head}{}", added.join(", "))), expected);
        assert_eq!(one_by_one(&format!("{head}{}", added.join("\n,\n"))), expected);
        assert_eq!(one_by_one(&expected[1]), expected[1..2]);
        for other in
            ["", head, "alter table t drop key a, add key b (x)", "alter table t add key a (x), drop key b", "select 1"]
        {
            assert_eq!(one_by_one(other), Vec::<String>::new(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,60}") {
            let _ = one_by_one(&text);
            let _ = without_foreign_keys(&text);
            let _ = without_foreign_keys(&format!("CREATE TABLE t ({text})"));
        }
    }
}
