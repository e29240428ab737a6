//! What create refuses: a clear error with the right code, and nothing written anywhere.

use integration::{
    client,
    cluster::{Cluster, Snapshot},
    life::{Life, WORKFLOW, migrate},
};
use tonic::{Code, Status};
use vtmigrated_proto::{
    topodata::TabletType,
    vtctldata::{GetWorkflowsRequest, MigrateCreateRequest, WorkflowStatusRequest},
    vtctlservice::vtctld_client::VtctldClient,
};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40));
    CREATE TABLE corder (id BIGINT NOT NULL PRIMARY KEY, price INT);
    INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL);
    INSERT INTO corder VALUES (1, 10), (2, 20), (3, 30), (4, 40);";

/// A VSchema that shards both tables by a vindex `by_id`.
fn sharded(vindex: &str) -> String {
    format!(
        r#"{{"sharded": true, "vindexes": {{"by_id": {vindex}}}, "tables": {{
             "customer": {{"columnVindexes": [{{"column": "id", "name": "by_id"}}]}},
             "corder": {{"columnVindexes": [{{"column": "id", "name": "by_id"}}]}}}}}}"#
    )
}

/// A life in which things are refused, with everything that both clusters kept before.
struct Refusals {
    life: Life,
    source: Snapshot,
    target: Snapshot,
}

impl Refusals {
    async fn of(life: Life) -> Self {
        let (source, target) = (life.source.snapshot().await.unwrap(), life.target.snapshot().await.unwrap());
        Self { life, source, target }
    }

    /// Creates and expects to be refused.
    async fn expect(&self, request: MigrateCreateRequest, code: Code, text: &str) -> Status {
        let what = format!("{:?}", request).chars().take(300).collect::<String>();
        let Err(error) = self.life.create(request).await else { panic!("not refused: {what}") };
        self.check(&what, &error, code, text);
        self.expect_unchanged(&what).await;
        error
    }

    fn check(&self, what: &str, error: &Status, code: Code, text: &str) {
        assert_eq!(error.code(), code, "{what}: {error:?}");
        assert!(error.message().contains(text), "{what}: {error:?}");
        assert!(error.message().len() < 6000, "{what}: {} bytes of text", error.message().len());
    }

    async fn expect_unchanged(&self, what: &str) {
        let none: Vec<String> = Vec::new();
        assert_eq!(self.target.changes(&self.life.target.snapshot().await.unwrap()), none, "target after {what}");
        assert_eq!(self.source.changes(&self.life.source.snapshot().await.unwrap()), none, "source after {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_what_is_not_there_and_options_that_cannot_be() {
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1).keyspace("bare", &["0"]);
    let target = Cluster::new("zone2")
        .keyspace("customer", &["-80", "80-"])
        .vschema(&sharded(r#"{"type": "hash"}"#))
        .keyspace("halves", &["-80", "80-"])
        .vschema("{}")
        .keyspace("some", &["-80", "80-"])
        .vschema(r#"{"sharded": true, "vindexes": {"h": {"type": "hash"}}, "tables": {"customer": {"columnVindexes": [{"column": "id", "name": "h"}]}}}"#)
        .keyspace("bare", &["0"])
        .first_uid(200);
    let life = Life::start(source, target).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    life.target.run("some", "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40))").await.unwrap();
    life.target.shard("some", "80-").unwrap().run("INSERT INTO customer VALUES (4, NULL)").await.unwrap();
    let r = Refusals::of(life).await;
    let base = || migrate("commerce", "customer");
    let with = |change: &dyn Fn(&mut MigrateCreateRequest)| {
        let mut request = base();
        change(&mut request);
        request
    };
    use Code::{FailedPrecondition, InvalidArgument, NotFound};

    r.expect(with(&|q| q.mount_name = "nosuch".into()), NotFound, "no vitess cluster found with name nosuch").await;
    r.expect(with(&|q| q.mount_name.clear()), InvalidArgument, "no mount name").await;
    r.expect(migrate("nosuch", "customer"), NotFound, "node doesn't exist: /vitess/global/keyspaces/nosuch/shards")
        .await;
    r.expect(migrate("commerce", "nosuch"), NotFound, "node doesn't exist: /vitess/global/keyspaces/nosuch").await;
    r.expect(migrate("commerce", "bare"), NotFound, "node doesn't exist: /vitess/global/keyspaces/bare/VSchema").await;
    r.expect(migrate("bare", "customer"), FailedPrecondition, "no tables to move").await;

    let missing = "table(s) not found in source keyspace commerce: nosuch,CUSTOMER";
    let names = || vec!["customer".to_owned(), "nosuch".into(), "CUSTOMER".into()];
    r.expect(with(&|q| q.include_tables = names()), FailedPrecondition, missing).await;
    r.expect(with(&|q| q.exclude_tables = names()), FailedPrecondition, missing).await;
    r.expect(with(&|q| q.all_tables = false), FailedPrecondition, "no tables to move").await;
    let both = || vec!["customer".to_owned(), "corder".into()];
    r.expect(with(&|q| q.exclude_tables = both()), FailedPrecondition, "no tables to move").await;

    let error = r.expect(with(&|q| q.cells = vec!["mars".into()]), NotFound, "cell mars is unknown").await;
    assert!(error.message().ends_with("use --cells zone1"), "{error:?}");
    let rdonly = TabletType::Rdonly.into();
    let error =
        r.expect(with(&|q| q.tablet_types = vec![rdonly]), FailedPrecondition, "no tablet found to stream").await;
    assert!(error.message().contains("zone1-0000000100 (primary), zone1-0000000101 (replica)"), "{error:?}");
    for number in [TabletType::Backup.into(), 999, -1] {
        r.expect(with(&|q| q.tablet_types = vec![number]), InvalidArgument, "invalid tablet type passed").await;
    }
    r.expect(with(&|q| q.on_ddl = "PERHAPS".into()), InvalidArgument, "invalid on-ddl value: PERHAPS").await;
    r.expect(with(&|q| q.source_time_zone = "' or 1".into()), InvalidArgument, "bad source time zone").await;

    // S2: every row would be on both shards
    let error = r.expect(migrate("commerce", "halves"), FailedPrecondition, "its vschema is not sharded").await;
    assert!(error.message().contains("ApplyVSchema"), "{error:?}");
    r.expect(migrate("commerce", "some"), FailedPrecondition, "table corder not found in vschema for keyspace some")
        .await;
    let mut full = migrate("commerce", "some");
    full.include_tables = vec!["customer".into()];
    r.expect(full, FailedPrecondition, "non-empty tables found in target keyspace(some): customer").await;

    r.life.create(base()).await.unwrap();
    let exists = r.life.create(base()).await.unwrap_err();
    let text = "workflow import already exists in keyspace customer on tablet zone2-0000000200";
    r.check("create again", &exists, Code::AlreadyExists, text);
    r.life.cancel("customer", false).await.unwrap();
    r.expect_unchanged("cancel").await;
    r.life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn vindexes_that_the_source_cannot_be_told() {
    let with_params = r#"{"type": "xxhash", "params": {"note": "it's"}}"#;
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(r#"{"tables": {"customer": {}}}"#);
    let source = source
        .keyspace("one", &["0"])
        .vschema(r#"{"sharded": false, "vindexes": {"hash": {"type": "hash"}, "numeric": {"type": "hash"}}}"#)
        .keyspace("two", &["0"])
        .vschema(r#"{"sharded": false, "vindexes": {"hash": {"type": "hash"}}}"#);
    let target = Cluster::new("zone1").first_uid(200);
    let target = target.keyspace("params", &["-80", "80-"]).vschema(&sharded(with_params));
    let target = target.keyspace("numeric", &["-80", "80-"]).vschema(&sharded(r#"{"type": "numeric"}"#));
    let lookup = r#"{"type": "lookup_unique", "params": {"table": "t", "from": "a", "to": "b"}}"#;
    let target = target.keyspace("lookup", &["-80", "80-"]).vschema(&sharded(lookup));
    let life = Life::start(source, target).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let r = Refusals::of(life).await;
    let unknown = "vindex commerce.by_id not found";
    // one keyspace has a vindex of the type's name with another type
    r.expect(migrate("commerce", "numeric"), Code::FailedPrecondition, unknown).await;
    r.expect(migrate("commerce", "lookup"), Code::FailedPrecondition, "could not find a vindex to compute keyspace id")
        .await;

    // the command that is printed fixes it
    let error = r.expect(migrate("commerce", "params"), Code::FailedPrecondition, unknown).await;
    let command = error.message().split_once("vtctldclient ApplyVSchema --vschema '").unwrap().1;
    let json = command.strip_suffix("' commerce").unwrap().replace(r"'\''", "'");
    r.life.source.put_vschema("commerce", &json).await.unwrap();
    r.life.create(migrate("commerce", "params")).await.unwrap();
    r.life.until_running("params").await.unwrap();
    r.life.complete("params").await.unwrap();
    r.life.expect_same("commerce", "params", &["customer", "corder"]).await.unwrap();
    r.life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_should_have_and_requests_that_are_too_large() {
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}");
    let target = Cluster::new("zone1").keyspace("customer", &["0"]).vschema("{}").first_uid(200);
    let life = Life::start(source, target).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let r = Refusals::of(life).await;
    let huge = "x".repeat(64 << 10);
    let hostile =
        ["", " ", "a b", "a/b", "..", "../../global", "a'b", "a\"b", "a`b", "a\\b", "a\nb", "a\0b", "ü", "%s", &huge];
    for name in hostile {
        let name = || name.to_owned();
        let request = |change: &dyn Fn(&mut MigrateCreateRequest)| {
            let mut request = migrate("commerce", "customer");
            change(&mut request);
            request
        };
        let bad = Code::InvalidArgument;
        r.expect(request(&|q| q.workflow = name()), bad, "bad workflow name").await;
        r.expect(request(&|q| q.source_keyspace = name()), bad, "bad source keyspace").await;
        r.expect(request(&|q| q.target_keyspace = name()), bad, "bad target keyspace").await;
        for request in [
            request(&|q| q.cells = vec![name()]),
            request(&|q| q.include_tables = vec![name()]),
            request(&|q| q.exclude_tables = vec![name()]),
        ] {
            let error = r.life.create(request).await.unwrap_err();
            let fitting = [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition].contains(&error.code());
            assert!(fitting && error.message().len() < 6000, "{error:?}");
        }
        let error = r.life.client().mount_register(r.life.mount(&name())).await.unwrap_err();
        r.check("register", &error, bad, "bad mount name");
    }
    r.expect_unchanged("hostile names").await;

    // a workflow of that name may have been made by stock: it is looked for, and not found
    for name in ["a b", "x' or '1'='1", "a`b", "%s", "ü"] {
        let request =
            WorkflowStatusRequest { keyspace: "customer".into(), workflow: name.into(), ..Default::default() };
        let error = r.life.client().workflow_status(request).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{name}: {error:?}");
    }
    for name in ["", "a/b", "..", "a\nb", &huge] {
        let request =
            WorkflowStatusRequest { keyspace: "customer".into(), workflow: name.into(), ..Default::default() };
        let error = r.life.client().workflow_status(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        let request = GetWorkflowsRequest { keyspace: name.into(), ..Default::default() };
        let error = r.life.client().get_workflows(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    }

    // large, but allowed: the text of the error is not large
    let mut large = migrate("commerce", "customer");
    large.include_tables = (0..100_000).map(|number| format!("{WORKFLOW}{number}")).collect();
    r.expect(large.clone(), Code::FailedPrecondition, ",and 99988 more").await;
    large.include_tables.iter_mut().for_each(|name| *name = name.repeat(30));
    let channel = client::channel(&r.life.server.grpc_address().to_string()).await.unwrap();
    let mut unbound = VtctldClient::new(channel).max_encoding_message_size(usize::MAX);
    let error = unbound.migrate_create(large).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    r.expect_unchanged("a large request").await;
    r.life.finish().await.unwrap();
}
