//! Parses `alter vschema` statements from MySQL tokens.

use std::collections::HashMap;

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::sql::quote;

/// What a statement wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    CreateVindex(Spec),
    DropVindex(String),
    AddTable(String),
    DropTable(String),
    AddSequence(String),
    DropSequence(String),
    AddColumnVindex { table: String, spec: Spec, columns: Vec<String> },
    DropColumnVindex { table: String, vindex: String },
    AddAutoIncrement { table: String, column: String, sequence: String },
    DropAutoIncrement { table: String },
}

/// A vindex as a statement describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spec {
    pub name: String,
    pub kind: Option<String>,
    pub owner: String,
    pub params: HashMap<String, String>,
}

/// Why a text is no `alter vschema` statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// It begins as some other statement.
    NotVSchema,
    Syntax(String),
}

/// Parses one statement; a semicolon at its end is allowed.
pub(super) fn statement(sql: &str) -> Result<Change, Error> {
    let dialect = MySqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|error| lexical(sql, &error))?;
    let tokens: Vec<_> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    if tokens.is_empty() {
        return Err(Error::Syntax("query was empty".into()));
    }
    let mut tokens = Tokens { sql, tokens, at: 0 };
    if !(tokens.accept("alter") && tokens.accept("vschema")) {
        return Err(Error::NotVSchema);
    }
    let change = tokens.change()?;
    let ended = tokens.accept_token(&Token::SemiColon);
    if ended && tokens.at < tokens.tokens.len() {
        return Err(Error::Syntax("Expected a single statement".into()));
    }
    if tokens.at < tokens.tokens.len() {
        return Err(tokens.syntax());
    }
    Ok(change)
}

/// A (qualified) name as stock prints it.
fn print(qualifier: Option<&str>, name: &str) -> String {
    qualifier.into_iter().chain([name]).map(quote::identifier_as_stock).collect::<Vec<_>>().join(".")
}

struct Tokens<'a> {
    sql: &'a str,
    tokens: Vec<TokenWithSpan>,
    at: usize,
}

impl Tokens<'_> {
    fn change(&mut self) -> Result<Change, Error> {
        if self.accept("create") {
            self.expect("vindex")?;
            let name = self.table_name()?.1;
            return Ok(Change::CreateVindex(self.spec(name)?));
        }
        if self.accept("add") {
            return if self.accept("table") {
                Ok(Change::AddTable(self.table_name()?.1))
            } else {
                self.expect("sequence")?;
                Ok(Change::AddSequence(self.table_name()?.1))
            };
        }
        if self.accept("drop") {
            return if self.accept("vindex") {
                Ok(Change::DropVindex(self.table_name()?.1))
            } else if self.accept("table") {
                Ok(Change::DropTable(self.table_name()?.1))
            } else {
                self.expect("sequence")?;
                Ok(Change::DropSequence(self.table_name()?.1))
            };
        }
        self.expect("on")?;
        let table = self.table_name()?.1;
        self.table_change(table)
    }

    fn table_change(&mut self, table: String) -> Result<Change, Error> {
        if self.accept("drop") {
            return if self.accept("vindex") {
                Ok(Change::DropColumnVindex { table, vindex: self.name()? })
            } else {
                self.expect("auto_increment")?;
                Ok(Change::DropAutoIncrement { table })
            };
        }
        self.expect("add")?;
        if self.accept("auto_increment") {
            let column = self.name()?;
            self.expect("using")?;
            let (qualifier, name) = self.table_name()?;
            return Ok(Change::AddAutoIncrement { table, column, sequence: print(qualifier.as_deref(), &name) });
        }
        self.expect("vindex")?;
        let name = self.name()?;
        self.expect_token(&Token::LParen)?;
        let mut columns = vec![self.name()?];
        while self.accept_token(&Token::Comma) {
            columns.push(self.name()?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(Change::AddColumnVindex { table, spec: self.spec(name)?, columns })
    }

    /// `[using <type>] [with <param> = <value>, …]`
    fn spec(&mut self, name: String) -> Result<Spec, Error> {
        let mut spec = Spec { name, ..Spec::default() };
        if self.accept("using") {
            spec.kind = Some(self.name()?);
        }
        if self.accept("with") {
            loop {
                let param = self.name()?;
                self.expect_token(&Token::Eq)?;
                let value = self.value()?;
                if param.eq_ignore_ascii_case("owner") {
                    spec.owner = value;
                } else {
                    spec.params.insert(param, value);
                }
                if !self.accept_token(&Token::Comma) {
                    break;
                }
            }
        }
        Ok(spec)
    }

    fn value(&mut self) -> Result<String, Error> {
        let value = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)) => text.clone(),
            Some(Token::Number(text, false)) if text.bytes().all(|b| b.is_ascii_digit()) => text.clone(),
            _ => {
                let (qualifier, name) = self.table_name()?;
                return Ok(qualifier.map_or_else(|| name.clone(), |q| print(Some(&q), &name)));
            }
        };
        self.at += 1;
        Ok(value)
    }

    /// `[<qualifier>.]<name>`
    fn table_name(&mut self) -> Result<(Option<String>, String), Error> {
        let first = self.name()?;
        if self.accept_token(&Token::Period) {
            return Ok((Some(first), self.name()?));
        }
        Ok((None, first))
    }

    fn name(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Word(word)) if !word.value.is_empty() => {
                let name = word.value.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.syntax()),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word))
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, keyword: &str) -> Result<(), Error> {
        if self.accept(keyword) { Ok(()) } else { Err(self.syntax()) }
    }

    fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect_token(&mut self, token: &Token) -> Result<(), Error> {
        if self.accept_token(token) { Ok(()) } else { Err(self.syntax()) }
    }

    /// Stock's text: the position is one past the end of the token, in bytes from 1.
    fn syntax(&self) -> Error {
        let Some(token) = self.tokens.get(self.at) else {
            return Error::Syntax(format!("syntax error at position {}", self.sql.len() + 1));
        };
        let near = match &token.token {
            Token::Word(word) => word.value.clone(),
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text.clone(),
            Token::Number(text, _) => text.clone(),
            _ => String::new(),
        };
        let near: String = near.chars().take(super::SHOWN).collect();
        let position = offset(self.sql, token.span.end) + 1;
        Error::Syntax(match near.as_str() {
            "" => format!("syntax error at position {position}"),
            near => format!("syntax error at position {position} near '{near}'"),
        })
    }
}

fn lexical(sql: &str, error: &TokenizerError) -> Error {
    Error::Syntax(format!("syntax error at position {}: {}", offset(sql, error.location) + 1, error.message))
}

/// Bytes before a location, whose lines and columns count from 1.
fn offset(sql: &str, location: Location) -> usize {
    let (line, column) = (location.line.saturating_sub(1), location.column.saturating_sub(1));
    let lines = sql.split_inclusive('\n');
    let before: usize = lines.clone().take(usize::try_from(line).unwrap_or(usize::MAX)).map(str::len).sum();
    let rest = sql.get(before..).unwrap_or_default();
    before + rest.chars().take(usize::try_from(column).unwrap_or(usize::MAX)).map(char::len_utf8).sum::<usize>()
}
