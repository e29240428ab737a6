//! What a schema change may consist of: strategies, statements, batches.
//!
//! Statements are looked at by their first words; MySQL itself judges the rest.

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::{Error, Result, SHOWN};
use crate::error::Reason;

/// Options that stock knows; those that matter to direct changes are fields of [`Strategy`].
const OPTIONS: &[&str] = &[
    "declarative",
    "skip-topo",
    "singleton",
    "singleton-context",
    "singleton-table",
    "postpone-launch",
    "postpone-completion",
    "in-order-completion",
    "allow-concurrent",
    "prefer-instant-ddl",
    "fast-range-rotation",
    "cut-over-threshold",
    "retain-artifacts",
    "vreplication-test-suite",
    "analyze-table",
];

/// The direct strategy with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Strategy {
    pub allow_zero_in_date: bool,
    pub allow_foreign_keys: bool,
}

/// A checked statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub sql: String,
    pub is_ddl: bool,
    creates: bool,
    /// It is about online schema changes: tablets carry it out themselves, MySQL does not know it.
    of_migration: bool,
    /// Bytes of the first word, behind which directives go.
    first_word: usize,
}

/// What is sent to the primaries at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub sql: String,
    /// By way of the tablet's query service, not straight to MySQL.
    pub through_query_service: bool,
}

impl Strategy {
    /// Reads `direct [--option …]`.
    ///
    /// # Errors
    /// Online strategies are not served; anything else is no strategy.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (name, options) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let shown: String = name.chars().take(64).collect();
        match name {
            "" | "direct" => {}
            "vitess" | "online" | "mysql" => {
                let text = format!("ddl strategy {name} is not served by vtmigrated: only direct schema changes are");
                let help = "use --ddl-strategy direct, or name a stock vtctld with --fallback-vtctld-server";
                return Err(Error::not_served(Reason::DDL_STRATEGY, text, help));
            }
            _ => {
                return Err(Error::bad_argument(format!(
                    "invalid DdlStrategy: {shown}: Unknown online DDL strategy: '{shown}'"
                )));
            }
        }
        let mut strategy = Self::default();
        for option in options.split_whitespace() {
            match option.trim_start_matches('-').split('=').next().unwrap_or_default() {
                "allow-zero-in-date" => strategy.allow_zero_in_date = true,
                "unsafe-allow-foreign-keys" => strategy.allow_foreign_keys = true,
                known if option.starts_with('-') && OPTIONS.contains(&known) => {}
                _ => {
                    let option: String = option.chars().take(64).collect();
                    let text = format!("invalid DdlStrategy: invalid flags for direct strategy: {option}");
                    return Err(Error::bad_argument(text));
                }
            }
        }
        Ok(strategy)
    }
}

/// Checks statements; blank ones are left out.
///
/// # Errors
/// The first text that is not one statement, or one that is not for MySQL.
pub(super) fn check_all(statements: &[String]) -> Result<Vec<Statement>> {
    let texts = statements.iter().map(|sql| sql.trim()).filter(|sql| !sql.is_empty());
    texts.map(check).collect()
}

/// What to send, one after the other.
///
/// # Errors
/// Only statements that create tables and views can be sent together.
pub(super) fn batches(statements: &[Statement], strategy: &Strategy, batch_size: i64) -> Result<Vec<Batch>> {
    let texts: Vec<String> = statements.iter().map(|statement| text(statement, strategy)).collect();
    let size = match usize::try_from(batch_size) {
        Ok(size @ 2..) => size,
        _ => {
            let alone =
                |(sql, statement): (String, &Statement)| Batch { sql, through_query_service: statement.of_migration };
            return Ok(texts.into_iter().zip(statements).map(alone).collect());
        }
    };
    if !statements.iter().all(|statement| statement.creates) {
        let text = "--batch-size only allowed when all queries are CREATE TABLE|VIEW";
        return Err(Error::bad_argument(text));
    }
    // a statement may end with a comment
    let joined = texts.chunks(size).map(|chunk| chunk.join(";\n"));
    Ok(joined.map(|sql| Batch { sql, through_query_service: false }).collect())
}

fn check(sql: &str) -> Result<Statement> {
    let shown: String = sql.chars().take(SHOWN).collect();
    let bad = |why: String| Error::bad_argument(format!("failed to parse sql: {shown}, got error: {why}"));
    let dialect = MySqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(|error| bad(error.to_string()))?;
    let mut tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    while tokens.last() == Some(&&Token::SemiColon) {
        tokens.pop();
    }
    if tokens.contains(&&Token::SemiColon) {
        return Err(bad("there is more than one statement in it".into()));
    }
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => String::new(),
    };
    let (first, second) = (word(0), word(1));
    if first.is_empty() {
        return Err(bad("it does not begin with a word".into()));
    }
    let of_migration = second == "vitess_migration";
    // throttling changes the keyspace's record, and a revert is a new schema change with an id of its own
    let throttles = (2..tokens.len()).any(|at| matches!(word(at).as_str(), "throttle" | "unthrottle"));
    if of_migration && (first != "alter" || throttles) {
        let text = format!("this statement about online schema changes is not served by vtmigrated: {shown}");
        let help = if throttles {
            "use UpdateThrottlerConfig --throttle-app or --unthrottle-app, or send this command to a stock vtctld of the \
             same cluster"
        } else {
            "send this command to a stock vtctld of the same cluster"
        };
        return Err(Error::not_served(Reason::DDL_STRATEGY, text, help));
    }
    if first == "alter" && second == "vschema" {
        return Err(bad("use ApplyVSchema for alter vschema".into()));
    }
    let sql = sql.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).to_owned();
    // only a statement that begins with its first word can take a directive behind it
    let first_word = if sql.to_ascii_lowercase().starts_with(&first) { first.len() } else { 0 };
    let is_ddl = matches!(first.as_str(), "create" | "alter" | "drop" | "rename" | "truncate");
    let rest: Vec<String> = (1..6).map(word).collect();
    let creates = first == "create" && rest.iter().any(|word| word == "table" || word == "view");
    Ok(Statement { sql, is_ddl, creates, of_migration, first_word })
}

fn text(statement: &Statement, strategy: &Strategy) -> String {
    let takes_directive = statement.is_ddl && !statement.of_migration && statement.first_word != 0;
    if !strategy.allow_zero_in_date || !takes_directive {
        return statement.sql.clone();
    }
    let (head, tail) = statement.sql.split_at(statement.first_word);
    format!("{head} /*vt+ allowZeroInDate=true */{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;
    use crate::error::{Code, Explain};

    fn checked(sql: &[&str]) -> Result<Vec<Statement>> {
        check_all(&sql.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_direct_strategies_are_served() {
        assert_eq!(Strategy::parse("").unwrap(), Strategy::default());
        let options = Strategy::parse("direct --allow-zero-in-date --unsafe-allow-foreign-keys --singleton").unwrap();
        assert_eq!(options, Strategy { allow_zero_in_date: true, allow_foreign_keys: true });
        assert_eq!(Strategy::parse("vitess --x").unwrap_err().code(), Code::Unimplemented);
        let unknown = Strategy::parse("gh-ost").unwrap_err().to_string();
        assert_eq!(unknown, "invalid DdlStrategy: gh-ost: Unknown online DDL strategy: 'gh-ost'");
        let flag = Strategy::parse("direct --nosuch").unwrap_err().to_string();
        assert_eq!(flag, "invalid DdlStrategy: invalid flags for direct strategy: --nosuch");
    }

    #[test]
    fn statements_are_told_apart() {
        let found = checked(&[" create table t(id int); ", "", "insert into t values (';')", "/* c */ drop view v"]);
        let found = found.unwrap();
        assert_eq!(found.iter().map(|s| s.is_ddl).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(found[0].sql, "create table t(id int)");
        let refusal = |sql: &str| checked(&[sql]).unwrap_err();
        assert!(refusal("create table t(id int); drop table t").to_string().contains("more than one statement"));
        assert!(
            refusal("create table `t").to_string().starts_with("failed to parse sql: create table `t, got error: ")
        );
        for online in [
            "revert vitess_migration 'x'",
            "alter vitess_migration 'x' throttle expire '1h' ratio 0.5",
            "alter /* c */ vitess_migration unthrottle all",
        ] {
            assert_eq!(refusal(online).code(), Code::Unimplemented, "{online}");
        }
        assert!(refusal("alter vschema add table t").to_string().contains("ApplyVSchema"));
        assert_eq!(refusal("(select 1)").code(), Code::InvalidArgument);
    }

    #[test]
    fn batches_hold_creations_only() {
        let creations =
            checked(&["create table a(id int)", "create or replace view b as select 1", "create table c(id int)"]);
        let creations = creations.unwrap();
        let direct = Strategy::default();
        assert_eq!(batches(&creations, &direct, 2).unwrap().len(), 2);
        assert_eq!(batches(&creations, &direct, 0).unwrap().len(), 3);
        let mixed = checked(&["create table a(id int)", "drop table b"]).unwrap();
        assert!(batches(&mixed, &direct, 2).unwrap_err().to_string().starts_with("--batch-size only allowed"));
        let zero = Strategy { allow_zero_in_date: true, ..direct };
        let sent = batches(&mixed, &zero, 1).unwrap();
        assert_eq!(sent[0].sql, "create /*vt+ allowZeroInDate=true */ table a(id int)");
    }

    #[test]
    fn statements_about_online_changes_go_to_the_tablets_as_they_are() {
        let text = "ALTER VITESS_MIGRATION 'throttle' LAUNCH VITESS_SHARDS '-80'";
        let found = checked(&[text, "alter table t add x int"]).unwrap();
        assert!(found.iter().all(|statement| statement.is_ddl));
        let zero = Strategy { allow_zero_in_date: true, ..Strategy::default() };
        let sent = batches(&found, &zero, 1).unwrap();
        assert_eq!(sent[0], Batch { sql: text.into(), through_query_service: true });
        assert!(!sent[1].through_query_service);
        assert!(batches(&found[..1], &zero, 2).is_err());
    }

    proptest! {
        #[test]
        fn hostile_texts_never_panic(sql in ".*", strategy in ".*") {
            let _ = Strategy::parse(&strategy);
            if let Ok(found) = checked(&[&sql, &format!("create {sql}")]) {
                let _ = batches(&found, &Strategy { allow_zero_in_date: true, allow_foreign_keys: true }, 2);
            }
        }
    }
}
