//! Columns, keys and foreign keys of a `SHOW CREATE TABLE` text, as far as checks need them.

use std::sync::OnceLock;

use regex::Regex;
use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::elements;

/// What a table looks like. Names are as written; MySQL compares those of columns without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub columns: Vec<Column>,
    /// Columns of the primary key; empty when there is none.
    pub primary: Vec<String>,
    /// Columns of each unique key.
    pub unique: Vec<Vec<String>>,
    pub foreign_keys: Vec<ForeignKey>,
    /// True when there is a key besides the primary one.
    pub secondary: bool,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The type's word in lower case: `bigint`, `varchar`.
    pub kind: String,
    /// Everything after the name, in lower case outside of quotes, one space between words.
    pub definition: String,
    pub nullable: bool,
    pub auto_increment: bool,
    pub generated: bool,
}

/// A foreign key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignKey {
    pub columns: Vec<String>,
    /// The table pointed to, without its database.
    pub parent: String,
}

impl Shape {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// True when rows can be told apart: by a primary key or a unique key without NULL.
    pub fn has_usable_key(&self) -> bool {
        let no_null = |name: &String| self.column(name).is_some_and(|column| !column.nullable);
        !self.primary.is_empty() || self.unique.iter().any(|columns| !columns.is_empty() && columns.iter().all(no_null))
    }
}

/// The same text for tables that differ in nothing but the next number of an AUTO_INCREMENT column and in white space.
pub fn normalized(create: &str) -> String {
    static COUNTER: OnceLock<Option<Regex>> = OnceLock::new();
    let counter = COUNTER.get_or_init(|| Regex::new(r"(?i) AUTO_INCREMENT=[0-9]+").ok());
    let text = counter.as_ref().map_or(create.into(), |counter| counter.replace(create, ""));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a `SHOW CREATE TABLE` text.
///
/// # Errors
/// A text when the statement cannot be split into tokens.
pub fn shape(create: &str) -> Result<Shape, String> {
    let tokens = Tokenizer::new(&MySqlDialect {}, create).tokenize_with_location().map_err(|e| e.to_string())?;
    let mut shape = Shape::default();
    for element in elements(&tokens) {
        let words: Vec<&Token> = significant(element.tokens);
        match words.as_slice() {
            [Token::Word(name), rest @ ..] if name.quote_style.is_some() => {
                shape.columns.push(column(&name.value, rest));
            }
            words => key(words, &mut shape),
        }
    }
    Ok(shape)
}

fn significant(tokens: &[TokenWithSpan]) -> Vec<&Token> {
    tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

fn column(name: &str, rest: &[&Token]) -> Column {
    let text = |token: &&Token| match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        other => other.to_string(),
    };
    let words: Vec<String> = rest.iter().map(text).collect();
    let has = |wanted: &[&str]| words.windows(wanted.len()).any(|part| part.iter().eq(wanted.iter()));
    Column {
        name: name.to_owned(),
        kind: words.first().cloned().unwrap_or_default(),
        nullable: !has(&["not", "null"]),
        auto_increment: has(&["auto_increment"]),
        generated: has(&["generated", "always", "as"]),
        definition: words.join(" "),
    }
}

/// A key or constraint, by its first words; checks and full-text keys say nothing here.
fn key(words: &[&Token], shape: &mut Shape) {
    let is = |at: usize, wanted: &str| match words.get(at) {
        Some(Token::Word(word)) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    if is(0, "primary") {
        shape.primary = columns(words);
    } else if is(0, "unique") {
        shape.unique.push(columns(words));
        shape.secondary = true;
    } else if ["key", "index", "fulltext", "spatial"].iter().any(|word| is(0, word)) {
        shape.secondary = true;
    } else if let Some(at) = (0..words.len().min(3)).find(|at| is(*at, "foreign")) {
        let rest = words.get(at..).unwrap_or_default();
        let references =
            rest.iter().position(|t| matches!(t, Token::Word(w) if w.value.eq_ignore_ascii_case("references")));
        let names = |tokens: &[&Token]| {
            let name = |token: &&Token| match token {
                Token::Word(word) => Some(word.value.clone()),
                _ => None,
            };
            tokens.iter().take_while(|t| !matches!(t, Token::LParen)).filter_map(name).collect::<Vec<_>>()
        };
        let parent = references.and_then(|at| names(rest.get(at + 1..).unwrap_or_default()).pop());
        shape.foreign_keys.push(ForeignKey { columns: columns(rest), parent: parent.unwrap_or_default() });
    }
}

/// The quoted names in the first parentheses; key parts that are expressions have none.
fn columns(words: &[&Token]) -> Vec<String> {
    let mut depth = 0usize;
    let mut names = Vec::new();
    for token in words {
        match token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => break,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 1 && word.quote_style.is_some() => names.push(word.value.clone()),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDERS: &str = "CREATE TABLE `orders` (\n  `id` bigint unsigned NOT NULL AUTO_INCREMENT COMMENT 'not null, (x',\n  \
        `c` int DEFAULT NULL,\n  `d` decimal(10,2) GENERATED ALWAYS AS ((`c` * 2)) VIRTUAL,\n  PRIMARY KEY (`id`),\n  \
        UNIQUE KEY `u` (`c`,`d`),\n  KEY `k` (`c`(10)),\n  CONSTRAINT `fk` FOREIGN KEY (`c`) REFERENCES `customer` (`id`) ON DELETE CASCADE,\n  \
        CONSTRAINT `ok` CHECK ((`c` > 0))\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";

    #[test]
    fn columns_and_keys_are_read() {
        let shape = shape(ORDERS).unwrap();
        let names: Vec<&str> = shape.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "c", "d"]);
        let id = shape.column("ID").unwrap();
        assert!(id.auto_increment && !id.nullable && !id.generated && id.kind == "bigint", "{id:?}");
        assert!(shape.columns[1].nullable && shape.columns[2].generated);
        assert_eq!((shape.primary.as_slice(), shape.unique.len()), (&["id".to_owned()][..], 1));
        let fk = ForeignKey { columns: vec!["c".into()], parent: "customer".into() };
        assert_eq!(shape.foreign_keys, [fk]);
        assert!(shape.secondary && shape.has_usable_key());
    }

    #[test]
    fn a_unique_key_with_null_tells_no_rows_apart() {
        let of = |null: &str| {
            shape(&format!("CREATE TABLE `t` (\n  `a` int {null},\n  UNIQUE KEY `u` (`a`)\n)"))
                .unwrap()
                .has_usable_key()
        };
        assert!(of("NOT NULL") && !of("DEFAULT NULL"));
        assert!(!shape("CREATE TABLE `t` (\n  `a` int NOT NULL\n)").unwrap().has_usable_key());
    }

    #[test]
    fn the_counter_is_no_part_of_a_definition() {
        assert_eq!(normalized(ORDERS), normalized(&ORDERS.replace("=17", "=4242")));
        assert_ne!(normalized(ORDERS), normalized(&ORDERS.replace("`k`", "`l`")));
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,60}") {
            let _ = shape(&text);
            let _ = shape(&format!("CREATE TABLE t ({text})"));
            normalized(&text);
        }
    }
}
