//! Columns, keys and foreign keys of a `SHOW CREATE TABLE` text, as far as checks need them.

use std::sync::OnceLock;

use regex::Regex;
use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{Kind, elements, outside_parentheses};

/// What a table looks like. Names are as written; MySQL compares those of columns without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub columns: Vec<Column>,
    /// Columns of the primary key; empty when there is none.
    pub primary: Vec<String>,
    /// Every key besides the primary one.
    pub keys: Vec<Key>,
    pub foreign_keys: Vec<ForeignKey>,
    /// The table's character set, as far as it is printed.
    pub charset: String,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// What follows the type, in lower case outside of quotes, one space between words, without the comment.
    pub attributes: String,
    pub nullable: bool,
    pub auto_increment: bool,
    pub generated: bool,
}

/// A secondary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    /// Its parts in their order; an expression has no column and is empty here.
    pub columns: Vec<String>,
    pub unique: bool,
    pub fulltext: bool,
    /// An expression of it makes an array: each of its elements is an entry.
    pub multi_valued: bool,
}

impl Key {
    /// True when a part of it is an expression: MySQL keeps a hidden column for each.
    pub fn is_functional(&self) -> bool {
        self.columns.iter().any(String::is_empty)
    }
}

/// A foreign key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignKey {
    pub columns: Vec<String>,
    /// The database of the table pointed to, where it is another one.
    pub database: Option<String>,
    /// The table pointed to, without its database.
    pub parent: String,
    pub referenced: Vec<String>,
    /// The `ON DELETE` and `ON UPDATE` by which MySQL changes or deletes rows of this table with those that they point to, in lower
    /// case (`on delete set null`); no binlog has that. Empty where it does not.
    pub actions: String,
}

impl ForeignKey {
    /// True when MySQL changes or deletes rows of this table of its own accord.
    pub fn cascades(&self) -> bool {
        !self.actions.is_empty()
    }
}

impl Shape {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// True when rows can be told apart: by a primary key or a unique key without NULL.
    pub fn has_usable_key(&self) -> bool {
        let no_null = |name: &String| self.column(name).is_some_and(|column| !column.nullable);
        let usable = |key: &Key| key.unique && !key.columns.is_empty() && key.columns.iter().all(no_null);
        !self.primary.is_empty() || self.keys.iter().any(usable)
    }
}

/// The same text for tables that differ in nothing but the next number of an AUTO_INCREMENT column, white space, and how
/// versions of MySQL spell integers and `utf8mb3`.
pub fn normalized(create: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        let texts = [
            (r"(?i-u) AUTO_INCREMENT=[0-9]+", ""),
            (r"(?i-u)\b(smallint|mediumint|int|bigint|year)\([0-9]+\)", "$1"),
            (r"(?i-u)\btinyint\((?:[02-9]|[0-9]{2,})\)", "tinyint"),
            (r"(?-u)\butf8(_|\b)", "utf8mb3$1"),
        ];
        texts.into_iter().filter_map(|(text, with)| Some((Regex::new(text).ok()?, with))).collect()
    });
    let text =
        patterns.iter().fold(create.to_owned(), |text, (pattern, with)| pattern.replace_all(&text, *with).into());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a `SHOW CREATE TABLE` text.
///
/// # Errors
/// A text when the statement cannot be split into tokens.
pub fn shape(create: &str) -> Result<Shape, String> {
    let tokens = Tokenizer::new(&MySqlDialect {}, create).tokenize_with_location().map_err(|e| e.to_string())?;
    let mut shape = Shape { charset: table_charset(&tokens), ..Shape::default() };
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
    // an expression has words of its own
    let outside = outside_parentheses(&words);
    let has = |wanted: &[&str]| outside.windows(wanted.len()).any(|part| part == wanted);
    let after = |wanted: &[&str]| {
        let at = outside.windows(wanted.len()).position(|part| part == wanted)?;
        outside.get(at + wanted.len()).copied()
    };
    let (arguments, end) = arguments(&words);
    let charset = after(&["character", "set"]).or_else(|| after(&["charset"]));
    let word = words.first().map(String::as_str).unwrap_or_default();
    Column {
        name: name.to_owned(),
        kind: Kind::new(word, arguments, has(&["unsigned"]), charset),
        nullable: !has(&["not", "null"]),
        auto_increment: has(&["auto_increment"]),
        generated: has(&["generated", "always", "as"]),
        attributes: attributes(words.get(end..).unwrap_or_default()),
    }
}

/// What stands in the parentheses behind the first word, and where the rest begins.
fn arguments(words: &[String]) -> (Vec<String>, usize) {
    if words.get(1).map(String::as_str) != Some("(") {
        return (Vec::new(), 1);
    }
    let inside = words.iter().skip(2).take_while(|word| word.as_str() != ")");
    let inside: Vec<&String> = inside.collect();
    let end = inside.len() + 3;
    (inside.into_iter().filter(|word| word.as_str() != ",").cloned().collect(), end)
}

fn attributes(words: &[String]) -> String {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "comment" => drop(words.next()),
            "unsigned" => {}
            word => kept.push(word.replace("utf8_", "utf8mb3_").replace("utf8 ", "utf8mb3 ")),
        }
    }
    kept.iter().map(|word| if word == "utf8" { "utf8mb3" } else { word }).collect::<Vec<_>>().join(" ")
}

/// True for a word without quotes.
fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// The value of `DEFAULT CHARSET=`, wherever it stands behind the columns.
fn table_charset(tokens: &[TokenWithSpan]) -> String {
    let words = significant(tokens);
    let found = words.windows(4).rev().find(|part| is_word(part[0], "default") && is_word(part[1], "charset"));
    match found.and_then(|part| part.get(3)) {
        Some(Token::Word(word)) => super::kind::full_charset(&word.value),
        _ => String::new(),
    }
}

/// A key or constraint, by its first words; checks say nothing here.
fn key(words: &[&Token], shape: &mut Shape) {
    let is = |at: usize, wanted: &str| words.get(at).is_some_and(|token| is_word(token, wanted));
    if is(0, "primary") {
        shape.primary = columns(words);
    } else if ["unique", "key", "index", "fulltext", "spatial"].iter().any(|word| is(0, word)) {
        let (unique, fulltext) = (is(0, "unique"), is(0, "fulltext"));
        let name = names(words).into_iter().next().unwrap_or_default();
        shape.keys.push(Key { name, columns: columns(words), unique, fulltext, multi_valued: makes_array(words) });
    } else if let Some(at) = (0..words.len().min(3)).find(|at| is(*at, "foreign")) {
        let rest = words.get(at..).unwrap_or_default();
        let is_references = |t: &&Token| matches!(t, Token::Word(w) if w.value.eq_ignore_ascii_case("references"));
        let target = rest.iter().position(is_references).and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        let mut parent = names(target);
        let (table, database) = (parent.pop().unwrap_or_default(), parent.pop());
        let (columns, referenced) = (columns(rest), columns(target));
        let actions = actions(target);
        shape.foreign_keys.push(ForeignKey { columns, database, parent: table, referenced, actions });
    }
}

/// True when an expression casts to an array.
fn makes_array(words: &[&Token]) -> bool {
    words.windows(2).any(|pair| matches!(pair, [token, Token::RParen] if is_word(token, "array")))
}

/// The `ON DELETE` and `ON UPDATE` with `CASCADE`, `SET NULL` or `SET DEFAULT`.
fn actions(tokens: &[&Token]) -> String {
    let word = |token: &&Token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    };
    let words: Vec<String> = tokens.iter().filter_map(word).collect();
    let mut found: Vec<&str> = Vec::new();
    for (at, part) in words.windows(3).enumerate() {
        let length = match (part[0].as_str(), part[2].as_str()) {
            ("on", "cascade") => 3,
            ("on", "set") => 4,
            _ => continue,
        };
        found.extend(words.iter().skip(at).take(length).map(String::as_str));
    }
    found.join(" ")
}

/// The quoted names before the first parenthesis.
fn names(tokens: &[&Token]) -> Vec<String> {
    let name = |token: &&Token| match token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        _ => None,
    };
    tokens.iter().take_while(|t| !matches!(t, Token::LParen)).filter_map(name).collect()
}

/// The parts in the first parentheses: quoted names; an expression is empty.
fn columns(words: &[&Token]) -> Vec<String> {
    let mut depth = 0usize;
    let mut parts = Vec::new();
    let mut part: Option<String> = None;
    for token in words {
        match token {
            Token::LParen => {
                depth += 1;
                if depth == 2 && part.is_none() {
                    part = Some(String::new());
                }
            }
            Token::RParen if depth == 1 => break,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 1 => parts.extend(part.take()),
            Token::Word(word) if depth == 1 && word.quote_style.is_some() && part.is_none() => {
                part = Some(word.value.clone());
            }
            _ => {}
        }
    }
    parts.extend(part);
    parts
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
        assert!(
            id.auto_increment && !id.nullable && !id.generated && id.kind.to_string() == "bigint unsigned",
            "{id:?}"
        );
        assert!(shape.columns[1].nullable && shape.columns[2].generated);
        assert_eq!((shape.primary.as_slice(), shape.charset.as_str()), (&["id".to_owned()][..], "utf8mb4"));
        let fk = ForeignKey {
            columns: vec!["c".into()],
            parent: "customer".into(),
            referenced: vec!["id".into()],
            actions: "on delete cascade".into(),
            ..ForeignKey::default()
        };
        assert_eq!(shape.foreign_keys, [fk]);
        let key = |name: &str, columns: &[&str], unique| Key {
            name: name.into(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            unique,
            ..Key::default()
        };
        assert_eq!(shape.keys, [key("u", &["c", "d"], true), key("k", &["c"], false)]);
        assert!(shape.has_usable_key());
    }

    #[test]
    fn parts_of_keys_are_columns_or_expressions() {
        let text = "CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `b, (c` int NOT NULL,\n  UNIQUE KEY `f` ((`a` + 1)),\n  \
            KEY `m` (`a` DESC,((`a` * 2)),`b, (c`(3)),\n  FULLTEXT KEY `x` (`a`) /*!50100 WITH PARSER `ngram` */ ,\n  \
            CONSTRAINT `d` FOREIGN KEY (`a`) REFERENCES `other`.`p``q` (`x`,`y`)\n)";
        let shape = shape(text).unwrap();
        let keys: Vec<(&str, Vec<&str>)> =
            shape.keys.iter().map(|k| (k.name.as_str(), k.columns.iter().map(String::as_str).collect())).collect();
        assert_eq!(keys, [("f", vec![""]), ("m", vec!["a", "", "b, (c"]), ("x", vec!["a"])]);
        assert!(shape.keys[2].fulltext && !shape.has_usable_key());
        let functional: Vec<bool> = shape.keys.iter().map(Key::is_functional).collect();
        assert_eq!(functional, [true, true, false]);
        let foreign = &shape.foreign_keys[0];
        assert_eq!((foreign.database.as_deref(), foreign.parent.as_str()), (Some("other"), "p`q"));
        assert_eq!((foreign.referenced.as_slice(), foreign.cascades()), (&["x".to_owned(), "y".to_owned()][..], false));
    }

    #[test]
    fn what_foreign_keys_do_to_rows_is_read() {
        let actions = |actions: &str| {
            let text = format!(
                "CREATE TABLE `t` (\n  `a` int,\n  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `cascade` (`set`) {actions}\n)"
            );
            shape(&text).unwrap().foreign_keys[0].actions.clone()
        };
        for changes in ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET NULL ON UPDATE CASCADE"] {
            assert_eq!(actions(changes), changes.to_lowercase());
        }
        for nothing in ["", "ON DELETE RESTRICT", "ON DELETE NO ACTION ON UPDATE RESTRICT"] {
            assert_eq!(actions(nothing), "", "{nothing}");
        }
        assert_eq!(actions("ON DELETE RESTRICT ON UPDATE SET NULL"), "on update set null");
    }

    #[test]
    fn keys_of_arrays_are_told_apart() {
        // as MySQL 8.0.17 and later print them
        let text = "CREATE TABLE `t` (\n  `array` json DEFAULT NULL,\n  `n` int DEFAULT NULL,\n  KEY `plain` (`array`),\n  \
            KEY `expression` ((`n` + 1)),\n  \
            KEY `zips` (`n`,(cast(json_extract(`array`,_utf8mb4'$.zip') as unsigned array))),\n  \
            UNIQUE KEY `words` ((cast(json_extract(`array`,_utf8mb4'$.words') as char(20) array)))\n)";
        let shape = shape(text).unwrap();
        let arrays: Vec<bool> = shape.keys.iter().map(|key| key.multi_valued).collect();
        assert_eq!(arrays, [false, false, true, true]);
        assert_eq!(shape.keys[2].columns, ["n", ""]);
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

    #[test]
    fn versions_of_mysql_spell_one_definition_alike() {
        let old = ORDERS.replace("bigint unsigned", "bigint(20) unsigned").replace("int DEFAULT", "int(11) DEFAULT");
        assert_eq!(normalized(ORDERS), normalized(&old));
        let with = |charset: &str| normalized(&ORDERS.replace("utf8mb4", charset));
        assert_eq!(with("utf8 COLLATE=utf8_bin"), with("utf8mb3 COLLATE=utf8mb3_bin"));
        assert_ne!(with("utf8"), with("utf8mb4"));
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
