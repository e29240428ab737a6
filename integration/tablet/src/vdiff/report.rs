//! What was found in one table, in the JSON that callers of `show` read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{options, plan::TablePlan};
use crate::{sql, value::Cell};

/// Counts and samples of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Report {
    pub table_name: String,
    pub processed_rows: i64,
    pub matching_rows: i64,
    pub mismatched_rows: i64,
    pub extra_rows_source: i64,
    pub extra_rows_target: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_rows_source_sample: Vec<RowDiff>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_rows_target_sample: Vec<RowDiff>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mismatched_rows_sample: Vec<Mismatch>,
}

/// Both sides of a row that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Mismatch {
    pub source: RowDiff,
    pub target: RowDiff,
}

/// A row as a sample shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RowDiff {
    /// Values by the text of their column; NULL is empty.
    pub row: BTreeMap<String, String>,
    /// A statement that reads the row; empty unless it was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
}

/// Whose column texts and table name a sample bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

const TRUNCATED: &str = "...[TRUNCATED]";
/// A value is cut only when that makes it so many bytes shorter.
const WORTH_CUTTING: usize = 20;

/// The sample of a row; key columns are never cut.
pub(super) fn sample(plan: &TablePlan, side: Side, row: &[Cell], options: &options::Report) -> RowDiff {
    let text = |at: usize| match side {
        Side::Source => plan.columns[at].source.as_str(),
        Side::Target => plan.columns[at].target.as_str(),
    };
    let mut diff = RowDiff::default();
    if options.debug_query {
        diff.query = query(plan, side, row, &text, options.only_pks);
    }
    let limit = usize::try_from(options.row_diff_column_truncate_at).unwrap_or_default();
    for (at, cell) in row.iter().enumerate().take(plan.columns.len()) {
        let is_key = plan.key.contains(&at);
        if options.only_pks && !is_key {
            continue;
        }
        let value = cell.as_deref().unwrap_or_default();
        let cut = !is_key && limit > 0 && value.len() >= limit + TRUNCATED.len() + WORTH_CUTTING;
        let shown = if cut {
            format!("{}{TRUNCATED}", String::from_utf8_lossy(&value[..limit]))
        } else {
            String::from_utf8_lossy(value).into_owned()
        };
        diff.row.insert(text(at).to_owned(), shown);
    }
    diff
}

fn query<'a>(plan: &TablePlan, side: Side, row: &[Cell], text: &dyn Fn(usize) -> &'a str, only_keys: bool) -> String {
    let all: Vec<usize> = (0..plan.columns.len()).collect();
    let listed = if only_keys { &plan.key } else { &all };
    let columns: Vec<&str> = listed.iter().map(|&at| text(at)).collect();
    let table = match side {
        Side::Source => &plan.source_table,
        Side::Target => &plan.target_table,
    };
    let conditions: Vec<String> = plan
        .key
        .iter()
        .map(|&at| {
            let mut value = Vec::new();
            let cell = row.get(at).and_then(Option::as_deref);
            sql::push_value(&mut value, plan.columns[at].column.field.r#type(), cell);
            format!("{}={}", text(at), String::from_utf8_lossy(&value))
        })
        .collect();
    format!("select {} from {table} where {};", columns.join(", "), conditions.join(" AND "))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::{Field, Type};

    use super::*;
    use crate::{
        schema::{Column, Table},
        vdiff::plan::Selected,
    };

    fn plan() -> TablePlan {
        let column = |name: &str, kind: Type| Column {
            field: Field { name: name.to_owned(), r#type: kind.into(), ..Field::default() },
            charset: None,
            nullable: true,
            generated: false,
            members: Vec::new(),
        };
        let columns = vec![column("id", Type::Int64), column("code", Type::Varchar), column("order", Type::Varchar)];
        let selected = |column: &Column, source: &str, target: &str| Selected {
            column: column.clone(),
            source: source.to_owned(),
            target: target.to_owned(),
        };
        let selects = vec![
            selected(&columns[0], "id", "id"),
            selected(&columns[1], "code", "code"),
            selected(&columns[2], "rank_no as `order`", "`order`"),
        ];
        let table = Table { name: "t".to_owned(), columns, key: vec![0, 1], key_index: Some("PRIMARY".to_owned()) };
        TablePlan::for_tests(table, "s", selects)
    }

    fn row(order: &str) -> Vec<Cell> {
        [Some("7"), Some("it's"), Some(order)].map(|value| value.map(|value| value.as_bytes().to_vec())).to_vec()
    }

    #[test]
    fn a_sample_is_cut_only_where_it_pays() {
        let options = options::Report { row_diff_column_truncate_at: 3, ..options::Report::default() };
        let short = sample(&plan(), Side::Target, &row(&"x".repeat(36)), &options);
        assert_eq!(short.row["`order`"], "x".repeat(36));
        let cut = sample(&plan(), Side::Target, &row(&"x".repeat(37)), &options);
        assert_eq!(cut.row["`order`"], "xxx...[TRUNCATED]");
        assert_eq!(
            serde_json::to_string(&cut).unwrap(),
            r#"{"Row":{"`order`":"xxx...[TRUNCATED]","code":"it's","id":"7"}}"#
        );
    }

    #[test]
    fn a_query_finds_the_row_again() {
        let options = options::Report { debug_query: true, ..options::Report::default() };
        let target = sample(&plan(), Side::Target, &row("a"), &options);
        assert_eq!(target.query, r"select id, code, `order` from t where id=7 AND code='it\'s';");
        let source = sample(&plan(), Side::Source, &row("a"), &options);
        assert_eq!(source.query, r"select id, code, rank_no as `order` from s where id=7 AND code='it\'s';");
        let keys = options::Report { only_pks: true, ..options };
        let keys = sample(&plan(), Side::Target, &row("a"), &keys);
        assert_eq!(keys.query, r"select id, code from t where id=7 AND code='it\'s';");
        assert_eq!(keys.row.len(), 2);
    }

    #[test]
    fn a_report_names_its_fields_as_stock_does() {
        let report = Report { table_name: "t".to_owned(), processed_rows: 3, ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(
            text,
            r#"{"TableName":"t","ProcessedRows":3,"MatchingRows":0,"MismatchedRows":0,"ExtraRowsSource":0,"ExtraRowsTarget":0}"#
        );
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
    }
}
