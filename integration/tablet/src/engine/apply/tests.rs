use super::*;
use crate::engine::columns::Column;
use vtmigrated_proto::query::QueryResult;

fn column(name: &str, column_type: &str) -> Column {
    let data_type = column_type.split('(').next().unwrap_or_default().to_owned();
    Column { name: name.into(), data_type, column_type: column_type.into(), ..Column::default() }
}

fn field(name: &str, kind: Type) -> Field {
    Field { name: name.into(), r#type: kind.into(), ..Field::default() }
}

fn row(values: &[Option<&str>]) -> Row {
    let lengths = values.iter().map(|value| value.map_or(-1, |value| value.len() as i64)).collect();
    Row { lengths, values: values.iter().flatten().flat_map(|value| value.bytes()).collect() }
}

fn rule() -> TableRule {
    TableRule { target: "t".into(), source: "t".into(), query: "select * from t".into(), columns: None }
}

fn plan(last: Option<&[Option<&str>]>, unique: bool) -> TablePlan {
    let mut name = column("name", "varchar(10)");
    name.charset = "utf8mb4".into();
    name.collation = "utf8mb4_0900_ai_ci".into();
    let mut twice = column("twice", "bigint");
    twice.generated = true;
    let columns = vec![column("id", "bigint"), name, twice, column("code", "binary(4)")];
    let key = if unique { vec!["id".to_owned(), "name".to_owned()] } else { vec!["id".to_owned()] };
    let table = Table { columns, key, unique };
    let fields = [
        field("id", Type::Int64),
        field("name", Type::Varchar),
        field("twice", Type::Int64),
        field("code", Type::Binary),
    ];
    let last = last.map(|last| LastKey {
        result: QueryResult { fields: fields[..2].to_vec(), rows: vec![row(last)], ..QueryResult::default() },
    });
    TablePlan::new(&rule(), &table, &fields, last.as_ref(), &Zones::default()).unwrap()
}

fn change(before: Option<&[Option<&str>]>, after: Option<&[Option<&str>]>) -> RowChange {
    RowChange { before: before.map(row), after: after.map(row), ..RowChange::default() }
}

fn sql(plan: &TablePlan, changes: &[RowChange]) -> Vec<String> {
    plan.changes(changes).unwrap().into_iter().map(|sql| String::from_utf8(sql).unwrap()).collect()
}

const A: &[Option<&str>] = &[Some("1"), Some("a"), Some("2"), Some("xy")];
const A2: &[Option<&str>] = &[Some("1"), Some("a"), Some("2"), None];
const B: &[Option<&str>] = &[Some("2"), Some("b"), Some("4"), Some("z")];

#[test]
fn generated_columns_are_left_out_and_inserts_joined() {
    assert_eq!(
        sql(&plan(None, true), &[change(None, Some(A)), change(None, Some(B))]),
        ["insert into `t`(`id`,`name`,`code`) values (1,'a','xy'), (2,'b','z')"]
    );
}

#[test]
fn a_changed_key_is_a_delete_and_an_insert() {
    assert_eq!(
        sql(&plan(None, true), &[change(Some(A), Some(A2)), change(Some(A), Some(B))]),
        [
            "update `t` set `code`=null where `id`=1 and `name`='a'",
            "delete from `t` where `id`=1 and `name`='a'",
            "insert into `t`(`id`,`name`,`code`) values (2,'b','z')"
        ]
    );
}

#[test]
fn changes_stop_at_the_last_copied_key() {
    let plan = plan(Some(&[Some("5"), Some("m")]), true);
    let bound = "(1,_utf8mb4 'a' collate utf8mb4_0900_ai_ci) <= (5,_utf8mb4 'm' collate utf8mb4_0900_ai_ci)";
    assert_eq!(
        sql(&plan, &[change(None, Some(A)), change(Some(A), None)]),
        [
            format!("insert into `t`(`id`,`name`,`code`) select 1,'a','xy' from dual where {bound}"),
            format!("delete from `t` where `id`=1 and `name`='a' and {bound}"),
        ]
    );
}

#[test]
fn null_sorts_before_everything() {
    let plan = plan(Some(&[Some("5"), None]), true);
    let sql = sql(&plan, &[change(Some(A), None)]);
    assert!(
        sql[0].ends_with(
            "and (1<5 or (1 <=> 5 and (false or (_utf8mb4 'a' collate utf8mb4_0900_ai_ci <=> null and true))))"
        ),
        "{sql:?}"
    );
}

#[test]
fn deletes_by_one_key_are_joined_and_equal_rows_go_one_by_one() {
    let mut plan = plan(None, false);
    assert_eq!(
        sql(&plan, &[change(Some(A), None), change(Some(A), None)]),
        ["delete from `t` where `id`=1 limit 1", "delete from `t` where `id`=1 limit 1"]
    );
    plan.unique = true;
    assert_eq!(sql(&plan, &[change(Some(A), None), change(Some(B), None)]), ["delete from `t` where `id` in (1, 2)"]);
    plan.key = vec![3];
    assert_eq!(sql(&plan, &[change(Some(A), None)]), ["delete from `t` where `code`='xy\\0\\0'"]);
}

#[test]
fn rows_must_fit_the_fields() {
    let error = plan(None, true).changes(&[change(None, Some(&[Some("1")]))]).unwrap_err();
    assert_eq!(error.to_string(), "wrong number of lengths: got 1 lengths for 4 fields");
}
