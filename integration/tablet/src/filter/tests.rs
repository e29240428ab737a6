use vtmigrated_proto::query::Type;

use super::*;
use crate::schema::{BINARY, Column};

fn table() -> Table {
    let column = |name: &str, kind: Type, charset: u32| Column {
        field: Field { name: name.to_owned(), r#type: kind.into(), charset, ..Field::default() },
        charset: None,
        nullable: true,
        generated: false,
        members: Vec::new(),
    };
    let columns = vec![
        column("id", Type::Int64, BINARY),
        column("price", Type::Decimal, BINARY),
        column("name", Type::Varchar, 255),
    ];
    Table { name: "t".to_owned(), columns, key: vec![0], key_index: None }
}

fn planned(sql: &str) -> Result<Plan, Error> {
    plan(&parse(sql)?, table(), &SrvVSchema::default(), "commerce")
}

fn row(id: Option<&str>, price: &str) -> Vec<Cell> {
    vec![id.map(|id| id.as_bytes().to_vec()), Some(price.as_bytes().to_vec()), Some(b"n".to_vec())]
}

#[test]
fn the_first_rule_that_matches_wins() {
    let rule =
        |name: &str, filter: &str| Rule { r#match: name.to_owned(), filter: filter.to_owned(), ..Rule::default() };
    let rules = vec![rule("a", "select id from a"), rule("b", "exclude"), rule("/^c/", "-80"), rule("/.*/", "")];
    let filter = Filter { rules, ..Filter::default() };
    let query = |table| query_of(&filter, table).expect("rules").unwrap_or_default();
    assert_eq!(query("a"), "select id from a");
    assert_eq!(query("b"), "");
    assert_eq!(query("c1"), "select * from `c1` where in_keyrange('-80')");
    assert_eq!(query("d"), "select * from `d`");
}

#[test]
fn rows_of_a_key_range_match() {
    let plan = planned("select * from t where in_keyrange(id, 'hash', '-80')").expect("a plan");
    assert!(plan.matches(&row(Some("1"), "1")).expect("an id"));
    assert!(!plan.matches(&row(Some("4"), "1")).expect("an id"));
    let unmapped = plan.matches(&row(None, "1")).expect_err("no id").to_string();
    assert_eq!(unmapped, "could not map [NULL] to a keyspace id, got destination DestinationNone()");
}

#[test]
fn conditions_are_judged_by_the_columns_type() {
    let matches = |condition: &str, id: Option<&str>| {
        let plan = planned(&format!("select id from t where {condition}")).expect(condition);
        plan.matches(&row(id, "10.50")).expect(condition)
    };
    assert!(matches("id > 9 and price <= 10.5", Some("10")));
    assert!(!matches("(id > 9 and price < 10.5)", Some("10")));
    assert!(matches("id in (-1, 2)", Some("-1")) && !matches("id not in (-1, 2)", Some("-1")));
    assert!(matches("id is null", None) && !matches("id != 3", None) && matches("id is not null", Some("3")));
}

#[test]
fn columns_are_sent_in_the_order_of_the_query() {
    let plan =
        planned("select name, `id` from t where in_keyrange(id, 'hash', '-80') order by id asc").expect("a plan");
    assert_eq!(plan.fields().iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["name", "id"]);
    assert_eq!(plan.project(&row(Some("7"), "1")).values, b"n7");
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let error = |sql: &str| planned(sql).expect_err(sql).to_string();
    assert_eq!(error("select * from t, u"), "unsupported: select * from t, u");
    assert_eq!(error("select count(*) from t"), "unsupported function: count(*)");
    assert_eq!(error("select * from t where name = 'a'"), "unsupported constraint: name = 'a'");
    assert_eq!(error("select * from t where id = 1 or id = 2"), "unsupported constraint: id = 1 OR id = 2");
    assert_eq!(error("select nope from t"), "column nope not found in table t");
    assert_eq!(error("select * from t where in_keyrange(id, 'c.hash', '-80')"), "vindex c.hash not found");
    assert!(error("select * from t where in_keyrange(id, '-80')").starts_with("[BUG] unexpected in_keyrange"));
    assert_eq!(error("select * from t where in_keyrange('-80')"), "keyspace commerce not found in vschema");
}
