//! What tablets, their MySQL and their pages tell, and records as people read them.

use vtmigrated::cluster::{path, schema_migration};
use vtmigrated::error::{Code, Explain};
use vtmigrated::tablet::{self, as_sent, source_tablets};
use vtmigrated::vdiff::report;
use vtmigrated::workflow::checks::servers::Server;
use vtmigrated::workflow::checks::vindexes::{self, Against};
use vtmigrated::workflow::checks::{
    definitions, foreign_keys, names as name_checks, streaming, tables as table_checks,
};
use vtmigrated::workflow::leftovers::locks;
use vtmigrated::workflow::progress::copying::Copying;
use vtmigrated::workflow::progress::{Overall, TableState};
use vtmigrated::workflow::reads::{columns as column_reads, servers as server_reads, sizes_now};
use vtmigrated_proto::tabletmanagerdata::{
    ReadVReplicationWorkflowResponse, ReadVReplicationWorkflowsResponse, TableDefinition, VDiffResponse,
};
use vtmigrated_proto::vtctldata::VDiffShowResponse;
use vtmigrated_proto::vtctldata::v_diff_show_response::TabletResponsesEntry;

use super::mutate::Sample;
use super::*;

const NOW: i64 = 1_764_152_430;

/// What reads an answer, and whatever reckons with what was read.
type Decode = fn(&QueryResult);

fn decoders() -> [(Sample, Decode); 6] {
    let servers = Sample::new(
        &["kind", "name", "value"],
        &[
            &["variable", "version", "8.0.36-28"],
            &["variable", "expire_logs_days", "10"],
            &["view", "v", ""],
            &["copy_state", "7", ""],
        ],
    );
    let columns = Sample::new(
        &["table_name", "column_name", "column_type", "is_nullable", "extra", "collation"],
        &[
            &["t", "id", "bigint(20) unsigned", "NO", "auto_increment", ""],
            &["t", "c", "varchar(20)", "YES", "", "utf8_general_ci"],
        ],
    );
    let log = Sample::new(
        &["id", "vrepl_id", "type", "state", "message", "created_at", "updated_at", "count"],
        &[&["1", "2", "State Changed", "Running", "x", TIME, TIME, "1"]],
    );
    let sizes = Sample::new(&["t", "rows", "bytes"], &[&["t", "12345", "65536"], &["u", "1e18", "9e18"]]);
    let migrations = Sample::new(
        &["migration_uuid", "strategy", "added_at", "started_at", "tablet", "progress", "retain_artifacts_seconds"],
        &[&[UUID, "vitess", "1764152430.000005", "1764152430", "zone1-0000000100", "12.5", "86400"]],
    );
    let row = |table, state| ["started", "", table, UUID, state, "5", TIME, "5", "", "1", REPORT];
    let diffs = Sample::new(&vdiff_summary::COLUMNS, &[&row("t", "completed"), &row("u", "started")]);
    [
        (servers, of_server),
        (columns, of_columns),
        (log, |log| drop(show::logs(log))),
        (sizes, of_sizes),
        (migrations, |found| drop(schema_migration::row::read(found))),
        (diffs, of_diffs),
    ]
}

fn of_server(result: &QueryResult) {
    let (shard, alias) = ("commerce/0".to_owned(), "src1-0000000100".to_owned());
    let server = [Server { shard, alias, candidate: true, answers: Ok(server_reads::decode(result)) }];
    streaming::binlogs(&server);
    streaming::retention(&server, 1 << 40);
    table_checks::staying("commerce", &server, &Default::default());
    name_checks::letter_case(&["t".to_owned(), "T".to_owned()], &server, &Default::default(), true);
}

fn of_columns(result: &QueryResult) {
    let columns = column_reads::decode(result);
    complete::columns::drift(&columns, &[("-80".to_owned(), Default::default())], &["t".to_owned()]);
}

fn of_sizes(result: &QueryResult) {
    let sizes = sizes_now::decode(result);
    let state = |size| TableState { here: size, there: Some(size), ..TableState::default() };
    let states: Vec<TableState> = sizes.into_values().map(state).collect();
    Overall::of(states.iter(), Some(5.0)).text();
}

fn of_diffs(output: &QueryResult) {
    let answer = VDiffResponse { output: Some(output.clone()), vdiff_uuid: UUID.into(), ..VDiffResponse::default() };
    let entry = |shard: &str| TabletResponsesEntry { key: shard.into(), value: Some(answer.clone()) };
    let response = VDiffShowResponse { tablet_responses: vec![entry("-80"), entry("80-")] };
    report::listings(&response);
    report::Summary::of(&response, NOW);
    let diff = complete::diffs::decode(output);
    let diffs = vec![("-80".to_owned(), Ok(diff.clone())), ("80-".to_owned(), Ok(diff))];
    complete::diffs::sentence(&diffs, NOW);
    complete::diffs::judge("import", "customer", &diffs, &["t".to_owned()], NOW);
}

#[test]
fn rows_of_servers_schemas_logs_sizes_and_diffs() {
    let (samples, decoders): (Vec<Sample>, Vec<Decode>) = decoders().into_iter().unzip();
    run(&mutate::answers(samples), |results| {
        results.iter().zip(&decoders).for_each(|(result, decode)| decode(result));
    });
    run(&any_rows(), |result| decoders.iter().for_each(|decode| decode(&result)));
}

const FILTER: &str = "select id, `a b` from t where in_keyrange(id, 'customer.hash', '-80')";
const LAST_KEY: &str = "fields:{name:\"id\" type:INT64} rows:{lengths:4 lengths:3 values:\"1234abc\"}";

#[test]
fn texts_of_tablets_and_vschemas() {
    let samples: [(&str, &'static [&'static str]); 6] = [
        (FILTER, &["in_keyrange", "(", ")", ",", "'", "''", "`", "/*", "where"]),
        (LAST_KEY, &["rows", "lengths", "values", ":", "\"", "[", "18446744073709551615"]),
        ("cell:\"zone1\"  uid:101", &["cell:", "uid:", "\"", "99999999999"]),
        ("Table 'a.b' doesn't exist (errno 1146) (sqlstate 42S02) during query: x", &["(errno ", "(sqlstate ", ")"]),
        ("v24.0.4-rc1", &[".", "-", "v", "99999999999"]),
        ("`app-global`.`a``b`", &["`", ".", "``"]),
    ];
    run(&mutate::texts(&samples), |texts| {
        let [filter, last, alias, message, version, name] = texts.as_slice() else { panic!("{texts:?}") };
        vindexes::predicate(filter);
        let (stream, table) = (Stream::default(), "t".to_owned());
        let size = workflow_record::TableSize { table, rows: 1000, bytes: 1, key: Some((i64::MIN, i64::MAX)) };
        let part = Copying { stream: &stream, left: None }.part(&size, last, 0.0, 100.0);
        assert!((0.0..1.0).contains(&part), "{last}: {part}");
        source_tablets::alias_of(alias);
        let (alias, message) = ("a".to_owned(), message.clone());
        let error = tablet::Error::Answered { alias, method: "ExecuteFetchAsDba", code: Code::Unknown, message };
        error.mysql();
        error.code();
        overrides::batches_rightly(version);
        overrides::denies_only_writes(version);
        sql::quote::table_name(name);
    });
}

#[test]
fn locks_that_others_hold() {
    let lock = r#"{"Action": "VDiff", "HostName": "h", "UserName": "u", "Time": "2026-11-23T10:00:00+01:00"}"#;
    run(&mutate::json(lock), |text| drop(locks::told(text.as_bytes())));
}

const JSON: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash", "params": {"b": "1", "a": "2"}}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

#[test]
fn filters_against_vschemas() {
    let target: VSchema = json::read("vschema.Keyspace", JSON).unwrap();
    let keyspaces = vec![KeyspacesEntry { key: "commerce".into(), value: Some(target.clone()) }];
    let serving = [SrvVSchema { keyspaces, ..SrvVSchema::default() }];
    let source = stream(FILTER).bls.unwrap();
    run(&mutate::message("binlogdata.BinlogSource", source.encode_to_vec()), |bytes| {
        let Ok(source) = BinlogSource::decode(bytes.as_slice()) else { return };
        let against = Against { target: &target, source_keyspace: "commerce", serving: &serving };
        vindexes::vindexes(std::iter::once(&source), &against);
        let rules = streams::included(&source).chain(streams::excluded(&source));
        assert_eq!(rules.count(), streams::tables(&source).len());
    });
}

#[test]
fn workflows_whose_sources_stay_as_they_were_sent() {
    let workflow = ReadVReplicationWorkflowResponse {
        workflow: "import".into(),
        options: "{}".into(),
        streams: vec![stream(FILTER), Stream { bls: None, ..stream("") }],
        ..ReadVReplicationWorkflowResponse::default()
    };
    let answer = ReadVReplicationWorkflowsResponse { workflows: vec![workflow] };
    let name = "tabletmanagerdata.ReadVReplicationWorkflowsResponse";
    run(&mutate::message(name, answer.encode_to_vec()), |bytes| {
        let bytes = Bytes::from(bytes);
        let (sent, Ok(read)) = (as_sent::decode(&bytes), ReadVReplicationWorkflowsResponse::decode(bytes)) else {
            return;
        };
        let Ok(sent) = sent else { return };
        let count = |of: &ReadVReplicationWorkflowResponse| of.streams.len();
        let (sent, read): (Vec<usize>, Vec<usize>) =
            (sent.iter().map(|of| of.streams.len()).collect(), read.workflows.iter().map(count).collect());
        assert_eq!(sent, read);
    });
}

#[test]
fn records_as_people_read_them() {
    let control = TabletControl { tablet_type: 1, denied_tables: vec!["a".into()], ..TabletControl::default() };
    let shard = Shard { key_range: range(), tablet_controls: vec![control], ..Shard::default() };
    let vschema: VSchema = json::read("vschema.Keyspace", JSON).unwrap();
    for (path, name, sample) in [
        ("keyspaces/ks/shards/-80/Shard", "topodata.Shard", shard.encode_to_vec()),
        ("keyspaces/ks/VSchema", "vschema.Keyspace", vschema.encode_to_vec()),
    ] {
        run(&mutate::message(name, sample), |bytes| {
            let bytes = Bytes::from(bytes);
            for as_json in [false, true] {
                path::decode(path, &bytes, as_json).ok();
            }
        });
    }
}

/// Compares the definitions of a table on two shards.
pub fn compared(here: &str, there: &str) {
    let of = |schema: &str| {
        let definition = TableDefinition { name: "t".into(), schema: schema.into(), ..TableDefinition::default() };
        table_checks::Definitions::from([("t".to_owned(), definition)])
    };
    let (names, here, there) = (["t".to_owned()], of(here), of(there));
    definitions::between_shards(&names, &[("-80".to_owned(), &here), ("80-".to_owned(), &there)], &|_| true);
    let shapes = table_checks::shapes(&names, &there);
    foreign_keys::parents(&names, &shapes, &Default::default());
    table_checks::without_key(&names, &shapes);
}
