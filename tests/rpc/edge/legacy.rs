//! The service of legacy commands.

use tonic::Code;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;

use crate::support::manager::{self as fake, Calls};
use crate::support::{Lab, assert_refused, tablet};

#[tokio::test]
async fn help_lists_the_commands_and_tells_their_flags() {
    let mut lab = Lab::empty().await;
    let list = lab.printed("help").await;
    assert!(list.starts_with("Available commands:\n\nTablets:\n  GetTablet <tablet alias>\n"), "{list}");
    for command in ["Mount ", "Migrate ", "VDiff ", "Workflow ", "ApplyVSchema ", "GetVSchema ", "ListAllTablets "] {
        assert!(list.contains(&format!("\n  {command}")), "{command}");
    }
    let usage = lab.printed("help mount").await;
    assert!(usage.starts_with("Usage: Mount ["), "{usage}");
    assert!(usage.contains("\n      --topo_server string   "), "{usage}");
    assert_eq!(lab.printed("Mount --help").await, usage);
    assert_eq!(lab.printed("Mount -- -h").await, usage);

    let (printed, failed) = lab.run("Mount --nope x").await;
    assert!(printed.starts_with("unknown flag: --nope\nUsage: Mount "), "{printed}");
    assert_refused(failed, Code::InvalidArgument, "unknown flag: --nope");
    let (printed, failed) = lab.run_args(Vec::new()).await;
    assert!(printed.starts_with("No command specified. Please see the list below:\n\nTablets:\n"), "{printed}");
    assert_refused(failed, Code::InvalidArgument, "no command was specified");
    for unknown in ["Nope", "help Nope", "EmergencyReparentShard -- x"] {
        let (_, failed) = lab.run(unknown).await;
        let status = failed.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().starts_with("unknown command: "), "{status:?}");
        assert!(status.message().contains("--fallback-vtctld-server"), "{status:?}");
    }
    assert_refused(lab.run("help a b").await.1, Code::InvalidArgument, "when calling the Help command, either");
}

#[tokio::test]
async fn mounts_live_and_end_in_every_spelling() {
    let mut lab = Lab::start().await;
    let flags = "type vitess -topo_type memory -topo_server other -topo_root /vitess/global";
    assert_refused(lab.run(&format!("Mount -{flags} ext1")).await.1, Code::NotFound, "node doesn't exist");
    // another cluster in memory: this one, under another name
    let own = "--topo_server test --topo_root /vitess/global";
    for line in [
        format!("Mount -- --type vitess --topo_type memory {own} ext1"),
        format!("Mount -type vitess -topo_type memory {} ext2", own.replace("--", "-")),
        "Mount --topo-type=memory --topo-server=test --topo-root=/vitess/global ext3".to_owned(),
        "mount -- ext4 -topo_type=memory -topo_server=test -topo_root=/vitess/global".to_owned(),
    ] {
        assert_eq!(lab.printed(&line).await, "", "{line}");
    }
    assert_eq!(lab.printed("Mount -- --list").await, "ext1,ext2,ext3,ext4\n");
    assert_eq!(
        lab.printed("Mount -show ext1").await,
        "{\"ClusterName\":\"ext1\",\"topo_config\":{\"topo_type\":\"memory\",\"server\":\"test\",\"root\":\"/vitess/global\"}}\n"
    );
    for name in ["ext1", "ext2", "ext3", "ext4"] {
        assert_eq!(lab.printed(&format!("Mount -- --unmount {name}")).await, "");
    }
    assert_eq!(lab.printed("Mount -list").await, "\n");
    for (line, code, text) in [
        ("Mount -- --unmount ext2", Code::NotFound, "there is no vitess cluster named ext2"),
        ("Mount -- --show ext2", Code::NotFound, "there is no vitess cluster named ext2"),
        ("Mount -- --type vitess", Code::InvalidArgument, "cluster name needs to be provided"),
        ("Mount --type mysql x", Code::InvalidArgument, "mysql cluster type not yet supported"),
        ("Mount --type oracle x", Code::InvalidArgument, "cluster type can be only one of vitess or mysql"),
        (
            "Mount --topo_type zk3 --topo_server s --topo_root /r x",
            Code::InvalidArgument,
            "no such topology implementation",
        ),
    ] {
        assert_refused(lab.run(line).await.1, code, text);
    }
}

#[tokio::test]
async fn vschemas_are_applied_from_text_and_file() {
    let mut lab = Lab::with_keyspace("customer", &["0"]).await;
    let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash", "params": {"odd": "1"}}}, "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}, "extra": 1}"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vschema).unwrap();
    let line = format!("ApplyVSchema -- -vschema_file {} customer", file.path().display());
    let printed = lab.printed(&line).await;
    let object =
        "New VSchema object:\n{\n  \"sharded\": true,\n  \"vindexes\": {\n    \"hash\": {\n      \"type\": \"hash\",\n";
    assert!(printed.starts_with(object), "{printed}");
    assert!(printed.contains("If this is not what you expected, check the input data"), "{printed}");
    let shown = lab.printed("GetVSchema customer").await;
    assert!(shown.contains("\"columnVindexes\": [\n        {\n          \"column\": \"id\""), "{shown}");

    let sql = ["ApplyVSchema", "--sql", "alter vschema drop table customer.t", "customer"].map(str::to_owned);
    let (printed, result) = lab.run_args(sql.into()).await;
    result.unwrap();
    assert!(printed.starts_with("New VSchema object:\n"), "{printed}");
    assert!(!lab.printed("GetVSchema customer").await.contains("\"t\""));
    let dry = ["ApplyVSchema", "-dry-run", "-vschema", "{}", "-skip_rebuild", "customer"].map(str::to_owned);
    let (printed, result) = lab.run_args(dry.into()).await;
    result.unwrap();
    assert!(printed.ends_with("Dry run: Skipping update of VSchema\n"), "{printed}");
    assert!(lab.printed("GetVSchema customer").await.contains("sharded"));
    let skip = ["ApplyVSchema", "-vschema", "{}", "-skip_rebuild", "customer"].map(str::to_owned);
    let (printed, _) = lab.run_args(skip.into()).await;
    assert!(printed.contains("WARNING: Skipping rebuild of SrvVSchema"), "{printed}");

    for (line, code, text) in [
        ("ApplyVSchema customer", Code::InvalidArgument, "one of the --sql, --sql_file, --vschema, or"),
        ("ApplyVSchema --sql a --vschema {} customer", Code::InvalidArgument, "only one of the --sql, --sql_file,"),
        ("ApplyVSchema --vschema_file /nope customer", Code::InvalidArgument, "open /nope: no text file"),
        ("ApplyVSchema --vschema { customer", Code::InvalidArgument, "cannot read the VSchema as JSON: line 1"),
        ("ApplyVSchema --vschema {} nope", Code::NotFound, "keyspace(nope) doesn't exist"),
        ("ApplyVSchema --vschema {}", Code::InvalidArgument, "the <keyspace> argument is required"),
        ("GetVSchema", Code::InvalidArgument, "the <keyspace> argument is required for the GetVSchema command"),
        ("GetVSchema nope", Code::NotFound, "node doesn't exist"),
    ] {
        assert_refused(lab.run(line).await.1, code, text);
    }
}

#[tokio::test]
async fn runbooks_of_old_find_their_commands() {
    let calls = Calls::default();
    let port = fake::start("p", &calls).await;
    let mut lab = Lab::empty().await;
    for line in [
        "AddCellInfo -server_address zone1 -root /vitess/zone1 zone1",
        "AddCellInfo --server_address=zone2 --root=/vitess/zone2 zone2",
        "CreateKeyspace -- --durability-policy=semi_sync commerce",
        "CreateShard -parent other/0",
        "CreateShard commerce/-80",
        "CreateShard -force commerce/-80",
        "CreateShard commerce/80-",
        "RebuildKeyspaceGraph commerce other",
        "RebuildVSchemaGraph --cells=zone1",
    ] {
        lab.run(line).await.1.unwrap_or_else(|status| panic!("{line}: {status:?}"));
    }
    lab.add_tablet(&tablet("zone1", 100, "commerce", "-80", TabletType::Primary, port)).await;
    assert_eq!(lab.printed("GetCellInfoNames").await, "zone1\nzone2\n");
    assert!(lab.printed("GetCellInfo zone1").await.contains("\"server_address\": \"zone1\""));
    assert_eq!(lab.printed("GetKeyspaces").await, "commerce\nother\n");
    let keyspace = lab.printed("GetKeyspace commerce").await;
    assert!(keyspace.starts_with("{\n  \"keyspace_type\": 0,\n") && keyspace.contains("\"semi_sync\""), "{keyspace}");
    let line = "zone1-0000000100 commerce -80 primary 127.0.0.1:0 :0 [] 1970-01-01T00:00:10Z\n";
    for list in [
        "ListAllTablets",
        "ListAllTablets --keyspace commerce zone1,zone2",
        "ListAllTablets -tablet_type=primary",
        "ListTablets zone1-100",
        "ListShardTablets commerce/-80",
    ] {
        assert_eq!(lab.printed(list).await, line, "{list}");
    }
    assert_eq!(lab.printed("ListAllTablets zone2").await, "");
    assert!(lab.printed("GetTablet zone1-0000000100").await.contains("\"hostname\": \"127.0.0.1\""));
    assert!(lab.printed("GetShard commerce/-80").await.contains("\"is_primary_serving\": true"));
    let shards = lab.printed("FindAllShardsInKeyspace commerce").await;
    assert!(shards.starts_with("{\n  \"-80\": {\n    \"primary_alias\": {\n"), "{shards}");
    assert_eq!(lab.printed("GetSchema -table_names_only zone1-100").await, "a\nb\n");
    assert!(lab.printed("GetSchema zone1-100").await.contains("\"table_definitions\": ["));
    for line in
        ["Ping zone1-100", "RefreshState zone1-100", "RefreshStateByShard commerce/-80", "RunHealthCheck zone1-100"]
    {
        assert_eq!(lab.printed(line).await, "", "{line}");
    }
    assert_eq!(lab.printed("SetShardTabletControl --denied_tables=a,b commerce/-80 primary").await, "");
    assert!(lab.printed("GetShard commerce/-80").await.contains("\"denied_tables\": [\n"));
    assert_eq!(lab.printed("SetShardIsPrimaryServing commerce/-80 false").await, "");
    assert_eq!(lab.printed("GetSrvKeyspaceNames zone1").await, "commerce\nother\n");
    assert!(lab.printed("GetSrvKeyspace zone1 commerce").await.starts_with("{\n  \"partitions\": ["));
    assert!(lab.printed("GetSrvVSchema zone1").await.contains("\"routing_rules\": {"));
    let rules = ["ApplyRoutingRules", "-rules", r#"{"rules": [{"from_table": "a", "to_tables": ["commerce.a"]}]}"#];
    let (printed, result) = lab.run_args(rules.map(str::to_owned).into()).await;
    result.unwrap();
    assert!(
        printed.starts_with("New RoutingRules object:\n{\n  \"rules\": [\n    {\n      \"fromTable\": \"a\""),
        "{printed}"
    );
    assert!(lab.printed("GetRoutingRules").await.contains("\"commerce.a\""));
    assert_eq!(lab.printed("DeleteShard -recursive -even_if_serving commerce/80-").await, "");
    assert_eq!(lab.printed("DeleteKeyspace -recursive other").await, "");
    assert_eq!(lab.printed("GetKeyspaces").await, "commerce\n");
}

#[tokio::test]
async fn bad_arguments_of_old_commands_are_refused() {
    let mut lab = Lab::with_keyspace("commerce", &["-80"]).await;
    for (line, code, text) in [
        ("GetTablet x", Code::InvalidArgument, "invalid tablet alias: 'x', expecting format: '<cell>-<uid>'"),
        ("GetShard commerce", Code::InvalidArgument, "invalid shard path: commerce"),
        ("GetKeyspace", Code::InvalidArgument, "the <keyspace> argument is required for the GetKeyspace command"),
        ("GetKeyspace nope", Code::NotFound, ""),
        ("CreateKeyspace commerce", Code::AlreadyExists, ""),
        ("CreateKeyspace --keyspace_type SNAPSHOT s", Code::Unimplemented, "CreateKeyspace of a snapshot"),
        (
            "ListAllTablets --tablet_type leader",
            Code::InvalidArgument,
            "invalid tablet type leader: unknown TabletType leader",
        ),
        ("GetSrvKeyspace zone2 nope", Code::NotFound, "missing keyspace \"nope\" in cell \"zone2\""),
    ] {
        let (printed, failed) = lab.run(line).await;
        assert!(failed.is_err(), "{line}: {printed}");
        assert_refused(failed, code, text);
    }
}

#[tokio::test]
async fn what_a_migrate_cannot_do_is_refused_before_anything_is_read() {
    let mut lab = Lab::with_keyspace("customer", &["0"]).await;
    let create = "Migrate --source ext1.commerce Create customer.wf";
    for (line, text) in [
        ("Migrate Create", "two arguments are needed: action, keyspace.workflow"),
        ("Migrate SwitchTraffic customer.wf", "invalid action for Migrate: switchtraffic"),
        ("Migrate -- ReverseTraffic customer.wf", "invalid action for Migrate: reversetraffic"),
        ("Migrate explode customer.wf", "invalid action for Migrate: explode"),
        ("Migrate Create customer", "invalid format for <keyspace.workflow>: customer"),
        ("Migrate --all Create customer.wf", "source keyspace is not specified"),
        ("Migrate --all --source ext1 Create customer.wf", "invalid format for external source cluster: ext1"),
        ("Migrate --all --source a.b.c Create customer.wf", "invalid format for external source cluster: a.b.c"),
        (create, "no tables specified to move"),
        ("Migrate --all --on-ddl x --source a.b Create customer.wf", "invalid value for on-ddl: X"),
        ("Migrate --all --tablet_types x --source a.b Create customer.wf", "unknown TabletType x"),
        (
            "Migrate --dry_run Cancel customer.wf",
            "--dry_run is only supported for SwitchTraffic, ReverseTraffic and Complete, not for Cancel",
        ),
        ("Migrate --atomic-copy --all --source a.b Create customer.wf", "--atomic-copy is not for Migrate"),
        ("Migrate --shards 0 Complete customer.wf", "--shards is not for Migrate"),
        ("Migrate --timeout x Complete customer.wf", "invalid argument \"x\" for \"--timeout\" flag"),
        ("Workflow customer", "usage: Workflow ["),
        ("Workflow customer.wf explode", "invalid action found: explode"),
        ("Workflow Show customer", "invalid format for <keyspace.workflow>: customer"),
        ("Workflow customer.wf update", "no updates were provided; use --cells, --tablet-types, or --on-ddl"),
        ("Workflow --on-ddl x customer.wf update", "invalid on-ddl action: x"),
    ] {
        assert_refused(lab.run(line).await.1, Code::InvalidArgument, text);
    }
    let unknown = lab.run("Migrate --all --source ext1.commerce Create customer.wf").await.1;
    assert_refused(unknown, Code::NotFound, "no vitess cluster found with name ext1");
    for line in ["Workflow customer listall", "Workflow List customer", "Workflow customer.wf list"] {
        let no_primary = lab.run(line).await.1;
        assert_refused(no_primary, Code::FailedPrecondition, "no primary found for shard customer/0");
    }
    assert_refused(lab.run("Workflow nope listall").await.1, Code::NotFound, "node doesn't exist");
}

#[tokio::test]
async fn commands_go_through_the_service_of_their_own() {
    let mut lab = Lab::empty().await;
    // an event has a time and a level, as clients show them
    let args = vec!["GetCellInfoNames".to_owned()];
    let request = ExecuteVtctlCommandRequest { args, action_timeout: 1_000_000_000 };
    let mut events = lab.legacy.execute_vtctl_command(request).await.unwrap().into_inner();
    let event = events.message().await.unwrap().unwrap().event.unwrap();
    assert!(event.time.unwrap().seconds > 0);
    assert_eq!((event.value.as_str(), event.level), ("\n", 3));
    assert!(events.message().await.unwrap().is_none());
}
