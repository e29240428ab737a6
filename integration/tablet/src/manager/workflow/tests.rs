use super::*;

fn row(types: &str, message: &str) -> TextRow {
    let source = r#"keyspace:"commerce" shard:"0""#;
    ["7", source, "zone1", types, "Stopped", message].iter().map(|value| Some(value.as_bytes().to_vec())).collect()
}

fn start() -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: "w".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        on_ddl: Some(-1),
        state: Some(State::Running.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

#[test]
fn a_plain_start_keeps_all_but_the_order() {
    assert_eq!(
        update_statement("`_vt`", &start(), &row("in_order:replica,primary", "old"), false, Generation::V22).unwrap(),
        "update `_vt`.vreplication set state = 'Running', source = 'keyspace:\"commerce\" shard:\"0\"', cell = 'zone1', \
         tablet_types = 'replica,primary', message = 'old' where id in (7)"
    );
    let mut request = start();
    request.tablet_selection_preference = Some(TabletSelectionPreference::Unknown.into());
    let sql = update_statement("`_vt`", &request, &row("in_order:primary", ""), true, Generation::V22).unwrap();
    assert!(sql.contains("state = 'Copying'") && sql.contains("tablet_types = 'in_order:primary'"), "{sql}");
}

#[test]
fn frozen_streams_do_not_start() {
    let error = update_statement("`_vt`", &start(), &row("", "frozen"), false, Generation::V22).unwrap_err();
    assert_eq!(error.to_string(), "cannot start a workflow when it is frozen");
    let mut stop = start();
    stop.state = Some(State::Stopped.into());
    stop.message = Some("FROZEN".into());
    assert!(update_statement("`_vt`", &stop, &row("", "FROZEN"), false, Generation::V22).is_ok());
}

#[test]
fn empty_lists_clear_and_overrides_replace() {
    let mut request = start();
    request.cells = vec![];
    request.tablet_types = vec![TabletType::Replica.into(), TabletType::Primary.into()];
    request.config_overrides =
        [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned()), ("c".to_owned(), String::new())].into();
    let sql = update_statement("`_vt`", &request, &row("primary", ""), false, Generation::V22).unwrap();
    assert!(sql.contains("cell = '', tablet_types = 'replica,primary'"), "{sql}");
    assert!(
        sql.contains(
            r#", options = json_set(json_remove(options, '$.config."c"'), '$.config', json_object(), '$.config."a"', '1', '$.config."b"', '2')"#
        ),
        "{sql}"
    );
}
