//! From the filter of a stream to what is asked of the source, table by table.

use std::collections::BTreeMap;

use regex::Regex;
use sqlparser::{
    ast::{Expr, SelectItem, SetExpr, Statement, TableFactor},
    dialect::MySqlDialect,
    parser::Parser,
};
use tonic::Code;
use vtmigrated_proto::binlogdata::{Filter, Rule};

use super::{
    columns::Table,
    error::{Error, Result},
};
use crate::sql;

/// How one target table is fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRule {
    /// Name of the table on the target.
    pub target: String,
    /// Name of the table on the source; events carry it.
    pub source: String,
    /// The query as the source gets it.
    pub query: String,
    /// Target columns in the order of the query; `None` for `*`, where they are called as on the source.
    pub columns: Option<Vec<String>>,
}

/// Applies the rules to the tables of the target: the first rule that matches a table decides. The key of the answer is
/// the target's name.
///
/// # Errors
/// Bad patterns and queries outside the grammar, with stock's texts.
pub fn rules(filter: &Filter, tables: &BTreeMap<String, Table>) -> Result<BTreeMap<String, TableRule>> {
    let mut planned: BTreeMap<String, TableRule> = BTreeMap::new();
    for table in tables.keys() {
        let Some(rule) = matching(filter, table)? else { continue };
        let planning = |error: Error| error.wrap(format!("failed to build table replication plan for {table} table"));
        let Some(rule) = table_rule(table, rule).map_err(planning)? else { continue };
        if let Some(other) = planned.values().find(|other| other.source == rule.source) {
            return Err(Error::unknown(format!(
                "more than one target for source table {}: {} and {table}",
                rule.source, other.target
            )));
        }
        planned.insert(table.clone(), rule);
    }
    Ok(planned)
}

/// The filter for a stream of events of these tables.
#[must_use]
pub fn event_filter<'a>(filter: &Filter, rules: impl Iterator<Item = &'a TableRule>) -> Filter {
    let rules = rules
        .map(|rule| Rule { r#match: rule.source.clone(), filter: rule.query.clone(), ..Rule::default() })
        .collect();
    Filter { rules, field_event_mode: filter.field_event_mode, ..Filter::default() }
}

fn matching<'a>(filter: &'a Filter, table: &str) -> Result<Option<&'a Rule>> {
    for rule in &filter.rules {
        let matches = if rule.r#match.starts_with('/') {
            let pattern = rule.r#match.trim_matches('/');
            Regex::new(pattern)
                .map_err(|error| Error::unknown(format!("error parsing regexp: {error}")))?
                .is_match(table)
        } else {
            rule.r#match == table
        };
        if matches {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

/// `None` when the rule leaves the table out.
fn table_rule(table: &str, rule: &Rule) -> Result<Option<TableRule>> {
    let name = identifier(table);
    let query = match rule.filter.as_str() {
        "exclude" => return Ok(None),
        "" => format!("select * from {name}"),
        range if is_key_range(range) => format!("select * from {name} where in_keyrange({})", sql::string(range)),
        query => query.to_owned(),
    };
    let refuse = |why: String| Error::new(Code::InvalidArgument, format!("{why} in query: {query}"));
    let (source, columns) = analyze(&query).map_err(refuse)?;
    Ok(Some(TableRule { target: table.to_owned(), source, query, columns }))
}

/// An identifier, in backticks only when it needs them.
fn identifier(name: &str) -> String {
    let plain =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { sql::quote(name) }
}

/// `<hex>-<hex>`, either side empty.
fn is_key_range(text: &str) -> bool {
    let hex = |part: &str| part.len().is_multiple_of(2) && part.bytes().all(|b| b.is_ascii_hexdigit());
    text.split_once('-').is_some_and(|(start, end)| hex(start) && hex(end))
}

/// The source table and, unless it is `*`, the target's column names.
fn analyze(query: &str) -> std::result::Result<(String, Option<Vec<String>>), String> {
    let statements = Parser::parse_sql(&MySqlDialect {}, query).map_err(|error| error.to_string())?;
    let [Statement::Query(parsed)] = statements.as_slice() else {
        return Err("unsupported non-select statement".to_owned());
    };
    let SetExpr::Select(select) = parsed.body.as_ref() else {
        return Err("unsupported non-select statement".to_owned());
    };
    if select.distinct.is_some() {
        return Err("unsupported distinct clause".to_owned());
    }
    let [from] = select.from.as_slice() else {
        return Err("unsupported multi-table usage".to_owned());
    };
    let TableFactor::Table { name, .. } = &from.relation else {
        return Err("unsupported from source".to_owned());
    };
    if !from.joins.is_empty() {
        return Err("unsupported from expression".to_owned());
    }
    let source = match name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.clone()),
        _ => None,
    }
    .ok_or("unsupported from source")?;
    if let [SelectItem::Wildcard(_)] = select.projection.as_slice() {
        return Ok((source, None));
    }
    let columns = select.projection.iter().map(column).collect::<std::result::Result<_, _>>()?;
    Ok((source, Some(columns)))
}

fn column(item: &SelectItem) -> std::result::Result<String, String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Ok(name.value.clone()),
        SelectItem::ExprWithAlias { expr: Expr::Identifier(_), alias } => Ok(alias.value.clone()),
        SelectItem::UnnamedExpr(expr) => Err(format!("expression needs an alias: {expr}")),
        SelectItem::Wildcard(_) => Err("unsupported mix of '*' and columns".to_owned()),
        other => Err(format!("unsupported expression: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[(&str, &str)]) -> Filter {
        let rule = |(table, filter): &(&str, &str)| Rule {
            r#match: (*table).to_owned(),
            filter: (*filter).to_owned(),
            ..Rule::default()
        };
        Filter { rules: rules.iter().map(rule).collect(), ..Filter::default() }
    }

    fn tables(names: &[&str]) -> BTreeMap<String, Table> {
        names.iter().map(|name| ((*name).to_owned(), Table::default())).collect()
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let rules = rules(
            &filter(&[
                ("skip", "exclude"),
                ("a", "select * from a where in_keyrange(id, 'c.hash', '-80')"),
                ("/.*/", "80-"),
            ]),
            &tables(&["a", "b-c", "skip"]),
        )
        .unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules["a"].query, "select * from a where in_keyrange(id, 'c.hash', '-80')");
        assert_eq!(rules["b-c"].query, "select * from `b-c` where in_keyrange('80-')");
        assert_eq!(rules["b-c"].source, "b-c");
    }

    #[test]
    fn columns_may_be_renamed_but_not_computed() {
        let found = rules(&filter(&[("t", "select id, v as w from s")]), &tables(&["t"])).unwrap();
        assert_eq!(found["t"].source, "s");
        assert_eq!(found["t"].columns, Some(vec!["id".to_owned(), "w".to_owned()]));
        let error = rules(&filter(&[("t", "select id, count(*) from s")]), &tables(&["t"])).unwrap_err();
        assert!(error.to_string().starts_with("failed to build table replication plan for t table: "), "{error}");
    }

    #[test]
    fn two_targets_of_one_source_table_are_refused() {
        let error = rules(&filter(&[("/./", "select * from s")]), &tables(&["t", "u"])).unwrap_err();
        assert_eq!(error.to_string(), "more than one target for source table s: t and u");
    }
}
