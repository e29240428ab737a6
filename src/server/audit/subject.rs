//! What a call is about, by its request: the names in it, and nothing else.

use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use vtmigrated_proto::vtctldata::ExecuteVtctlCommandRequest;

use crate::topo::json;

/// The RPC of the legacy commands.
pub(super) const COMMANDS: &str = "vtctlservice.Vtctl/ExecuteVtctlCommand";
/// Words of a command that are shown.
const MOST_WORDS: usize = 4;
/// Flags of legacy commands whose values say what a command is about.
const FLAGS: &[&str] = &[
    "avoid_primary",
    "avoid_tablet",
    "cell",
    "cells",
    "keyspace",
    "keyspace_shard",
    "new_primary",
    "shard",
    "source",
    "tablet_alias",
    "workflow",
];
/// Fields of requests that say what a call is about; nothing else of a request is ever shown.
const SUBJECTS: &[&str] = &[
    "target_keyspace",
    "keyspace",
    "keyspace_name",
    "ks_name",
    "workflow",
    "source_keyspace",
    "base_keyspace",
    "mount_name",
    "shard",
    "shard_name",
    "shards",
    "source_shards",
    "target_shards",
    "source_shard",
    "destination_keyspace",
    "destination_shard",
    "name",
    "topo_type",
    "topo_server",
    "topo_root",
    "cell",
    "cells",
    "source_cells",
    "target_cells",
    "rebuild_cells",
    "tablet_alias",
    "tablet_aliases",
    "tablet",
    "source_tablet_alias",
    "primary_elect_tablet_alias",
    "new_primary",
    "avoid_primary",
    "expected_primary",
    "uuid",
    "dtid",
    "arg",
    "keys",
    "dry_run",
    "keep_data",
    "all_tables",
    "ignore_source_keyspace",
    "forget_source",
    "forget_record",
];

/// `target_keyspace=customer workflow=import`: the subjects that a request names.
pub(super) fn of(rpc: &str, request: &[u8]) -> String {
    if rpc == COMMANDS {
        let read = ExecuteVtctlCommandRequest::decode(request).unwrap_or_default();
        return read.args.split_first().map(|(name, words)| forwarded(name, words)).unwrap_or_default();
    }
    let (service, name) = rpc.rsplit_once('/').unwrap_or_default();
    let Some(pool) = json::pool() else { return String::new() };
    let service = pool.get_service_by_name(service);
    let Some(method) = service.and_then(|service| service.methods().find(|m| m.name() == name)) else {
        return String::new();
    };
    let mut message = DynamicMessage::new(method.input());
    // of a request that is cut off, what comes first is read
    message.merge(request).ok();
    let mut found = Vec::new();
    for field in SUBJECTS {
        let Some(descriptor) = message.descriptor().get_field_by_name(field) else { continue };
        if message.has_field(&descriptor) {
            found.push(format!("{field}={}", shown(&message.get_field(&descriptor))));
        }
    }
    // of WorkflowUpdate
    let inner = message.get_field_by_name("tablet_request");
    let inner = inner.as_ref().and_then(|inner| inner.as_message()?.get_field_by_name("workflow"));
    found.extend(inner.map(|workflow| format!("workflow={}", shown(&workflow))));
    found.join(" ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control()).take(256).collect(),
        Value::Bool(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::List(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        Value::Message(message) => {
            let part = |name| message.get_field_by_name(name).map(|value| shown(&value)).unwrap_or_default();
            match message.descriptor().full_name() {
                "topodata.TabletAlias" => format!("{}-{:0>10}", part("cell"), part("uid")),
                "vtctldata.Shard" => format!("{}/{}", part("keyspace"), part("name")),
                _ => String::new(),
            }
        }
        _ => String::new(),
    }
}

/// A command of the older service, with those of its words that can be names.
pub(super) fn command(name: &str, words: &[String]) -> String {
    let shown = words.iter().filter(|word| is_name(word)).take(MOST_WORDS);
    shown.fold(name.to_owned(), |on, word| on + " " + word)
}

/// The same of a command whose flags are not known here: a word after a flag may be its value, which may be anything.
fn forwarded(name: &str, words: &[String]) -> String {
    let mut shown = Vec::new();
    let mut flag: Option<&str> = None;
    for word in words {
        if let Some(given) = word.strip_prefix('-') {
            let (name, value) =
                given.trim_start_matches('-').split_once('=').map_or((given, None), |(n, v)| (n, Some(v)));
            let name = name.trim_start_matches('-');
            flag = (value.is_none() && !name.is_empty()).then_some(name);
            shown.extend(value.filter(|_| is_subject(name)).map(str::to_owned));
        } else {
            let is_value = flag.take().is_some_and(|name| !is_subject(name) && !is_switch(name));
            shown.extend(Some(word.clone()).filter(|_| !is_value));
        }
    }
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    command(&name, &shown)
}

fn is_subject(flag: &str) -> bool {
    FLAGS.contains(&flag.replace('-', "_").as_str())
}

fn is_switch(flag: &str) -> bool {
    SWITCHES.contains(&flag.replace('-', "_").as_str())
}

fn is_name(word: &str) -> bool {
    word.len() <= 128 && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/,".contains(c))
}

/// Flags of the legacy commands that take no value (Vitess 22.0.4), with `_` for `-`.
const SWITCHES: &[&str] = &[
    "all",
    "allow_cross_cell_promotion",
    "allow_different_shard",
    "allow_master",
    "allow_partial",
    "allow_primary",
    "allow_update",
    "cancel",
    "decode_proto",
    "disable",
    "disable_binlogs",
    "dry_run",
    "enable",
    "even_if_serving",
    "force",
    "include_views",
    "include_vschema",
    "json",
    "keep_data",
    "parent",
    "ping_tablets",
    "prevent_cross_cell_promotion",
    "recursive",
    "reload_schema",
    "skip_no_primary",
    "skip_rebuild",
    "skip_verify",
    "to_topo",
    "upgrade_safe",
    "use_pool",
    "wait_for_all_tablets",
];

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
    use vtmigrated_proto::topodata::TabletAlias;
    use vtmigrated_proto::vtctldata::*;
    use vtmigrated_proto::vtmigrated::{CleanLeftoversRequest, WayBackRequest};

    use super::*;
    use crate::guard::Role;
    use crate::server::rpcs::role;

    /// Fields whose names end like names of something, and are none.
    const NO_SUBJECTS: &[&str] =
        &["app_name", "cells_alias", "metric_name", "sidecar_db_name", "table_keyspace", "external_cluster_name"];

    #[test]
    fn whatever_a_change_names_is_a_subject() {
        let pool = json::pool().unwrap();
        let mut missing = std::collections::BTreeSet::new();
        let ours = |service: &prost_reflect::ServiceDescriptor| {
            let is_vtctld = service.full_name() == "vtctlservice.Vtctld";
            is_vtctld || service.package_name() == "vtmigrated"
        };
        for service in pool.services().filter(ours) {
            for method in service.methods() {
                if role(&format!("{}/{}", service.full_name(), method.name())) <= Role::Read {
                    continue;
                }
                for field in method.input().fields() {
                    let name = field.name();
                    let named = [
                        "keyspace", "shard", "shards", "workflow", "cell", "cells", "name", "uuid", "tablet", "primary",
                    ]
                    .iter()
                    .any(|end| name == *end || name.ends_with(&format!("_{end}")));
                    let named = named || name.ends_with("alias") || name.ends_with("aliases");
                    let is_switch = matches!(field.kind(), prost_reflect::Kind::Bool);
                    if named && !is_switch && !SUBJECTS.contains(&name) && !NO_SUBJECTS.contains(&name) {
                        missing.insert(format!("{} {name}", method.name()));
                    }
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn shards_tablets_and_advice_are_named() {
        let shard = |name: &str| Shard { keyspace: "ks".into(), name: name.into(), shard: None };
        let shards = DeleteShardsRequest { shards: vec![shard("-80"), shard("80-")], ..Default::default() };
        let text = of("vtctlservice.Vtctld/DeleteShards", &shards.encode_to_vec());
        assert_eq!(text, "shards=ks/-80,ks/80-");
        let alias = |uid| TabletAlias { cell: "zone1".into(), uid };
        let tablets = DeleteTabletsRequest { tablet_aliases: vec![alias(1), alias(2)], ..Default::default() };
        let text = of("vtctlservice.Vtctld/DeleteTablets", &tablets.encode_to_vec());
        assert_eq!(text, "tablet_aliases=zone1-0000000001,zone1-0000000002");
        let clean = CleanLeftoversRequest { keyspace: "ks".into(), keys: vec!["a".into()] };
        assert_eq!(of("vtmigrated.Advisor/CleanLeftovers", &clean.encode_to_vec()), "keyspace=ks keys=a");
        let (keyspace, workflow) = ("ks".into(), "import".into());
        let forget = WayBackRequest { keyspace, workflow, forget_source: true, forget_record: false };
        let text = of("vtmigrated.WayBack/Cancel", &forget.encode_to_vec());
        assert_eq!(text, "keyspace=ks workflow=import forget_source=true");
    }

    #[test]
    fn the_subject_is_what_a_request_names_and_no_more() {
        let create = MigrateCreateRequest {
            workflow: "import".into(),
            source_keyspace: "commerce".into(),
            target_keyspace: "customer".into(),
            mount_name: "ext1".into(),
            all_tables: true,
            ..Default::default()
        };
        let text = of("vtctlservice.Vtctld/MigrateCreate", &create.encode_to_vec());
        assert_eq!(
            text,
            "target_keyspace=customer workflow=import source_keyspace=commerce mount_name=ext1 all_tables=true"
        );
        let request = UpdateVReplicationWorkflowRequest { workflow: "import".into(), ..Default::default() };
        let update = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(request) };
        assert_eq!(
            of("vtctlservice.Vtctld/WorkflowUpdate", &update.encode_to_vec()),
            "keyspace=customer workflow=import"
        );
        let fetch = ExecuteFetchAsDbaRequest {
            tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            query: "set password = 'secret'".into(),
            ..Default::default()
        };
        assert_eq!(
            of("vtctlservice.Vtctld/ExecuteFetchAsDBA", &fetch.encode_to_vec()),
            "tablet_alias=zone1-0000000100"
        );
    }

    #[test]
    fn commands_show_names_and_no_value_of_an_unknown_flag() {
        let shown = |line: &str| {
            let args = line.split(' ').map(str::to_owned).collect();
            of(COMMANDS, &ExecuteVtctlCommandRequest { args, action_timeout: 1 }.encode_to_vec())
        };
        for (line, expected) in [
            ("Backup -- --concurrency=4 --allow_primary zone1-100", "Backup zone1-100"),
            ("Backup -- --upgrade-safe zone1-100", "Backup zone1-100"),
            (
                "PlannedReparentShard -- --keyspace_shard ks/0 --new-primary=zone1-101",
                "PlannedReparentShard ks/0 zone1-101",
            ),
            ("MoveTables -- --source ks --tables secret Create to.wf", "MoveTables ks Create to.wf"),
            ("Some --password secret --token=secret x'y", "Some"),
            ("Some --password hunter-2024 --token ab/cd --secret zone1-100 ks/0", "Some ks/0"),
            ("Validate", "Validate"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn a_request_that_is_cut_off_still_tells_its_first_names() {
        let request = ApplySchemaRequest { keyspace: "ks".into(), sql: vec!["x".repeat(1000)], ..Default::default() };
        let bytes = request.encode_to_vec();
        assert_eq!(of("vtctlservice.Vtctld/ApplySchema", &bytes[..500]), "keyspace=ks");
    }
}
