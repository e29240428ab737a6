//! One log line for every call that changes something: who, from where, what, on what, with which outcome.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::error::Code;
use crate::guard::listen::Peer;
use crate::guard::{Caller, Role, class};
use crate::server::layers::call::Rpc;
use crate::server::status;
use crate::telemetry::grpc_code;
use crate::topo::json;

/// Log target of the lines.
const TARGET: &str = "vtmigrated::audit";
/// Longest remark, in characters.
const REMARK_LENGTH: usize = 2000;
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
];

tokio::task_local! {
    /// What the work of a call adds to its line.
    static REMARK: Arc<Mutex<String>>;
}

/// Adds a text to the line of the call that this task works for.
pub(super) fn remark(text: String) {
    let text = text.chars().filter(|c| !c.is_control()).take(REMARK_LENGTH).collect();
    REMARK.try_with(|remark| *remark.lock().unwrap_or_else(PoisonError::into_inner) = text).ok();
}

/// A call that changes something, from its begin.
#[derive(Debug)]
pub struct Entry {
    caller: String,
    address: String,
    rpc: String,
    on: String,
    remark: Arc<Mutex<String>>,
    begun: Instant,
    finished: bool,
}

/// Who calls, kept while a command is read.
pub struct Who {
    caller: Option<Caller>,
    peer: Option<Peer>,
}

impl Who {
    /// What the layers before have found out.
    pub fn of<Q>(request: &tonic::Request<Q>) -> Self {
        let extensions = request.extensions();
        Self { caller: extensions.get().cloned(), peer: extensions.get().cloned() }
    }
}

impl Drop for Entry {
    /// A call that panicked, or that the end of the program cut short, leaves its line too.
    fn drop(&mut self) {
        if !self.finished {
            self.write("CUT_SHORT");
        }
    }
}

impl Entry {
    /// Remembers who calls, and on what.
    pub fn begin<Q: Message>(request: &tonic::Request<Q>) -> Self {
        let caller = request.extensions().get::<Caller>();
        let rpc = request.extensions().get::<Rpc>().map(|rpc| rpc.0.as_str()).unwrap_or_default();
        let on = subject(rpc, &request.get_ref().encode_to_vec());
        Self::new(caller, request.extensions().get(), rpc.to_owned(), on)
    }

    /// The same for a call that a stock vtctld at `to` answers; what it is about is not looked at. `None` for reads.
    pub fn handed_on(extensions: &http::Extensions, path: &str, to: &str) -> Option<Self> {
        let rpc = path.trim_start_matches('/');
        let changes = class(rpc) > Role::Read;
        changes.then(|| Self::new(extensions.get(), extensions.get(), rpc.to_owned(), format!("handed on to {to}")))
    }

    /// The same for a command of the older service. Of `words` only those are shown that can be names.
    pub fn command(who: &Who, name: &str, words: &[String]) -> Self {
        let is_name = |word: &&String| {
            word.len() <= 128 && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/,".contains(c))
        };
        let names = words.iter().take(3).filter(is_name).fold(name.to_owned(), |on, word| on + " " + word);
        let Who { caller, peer } = who;
        Self::new(caller.as_ref(), peer.as_ref(), "vtctlservice.Vtctl/ExecuteVtctlCommand".into(), names)
    }

    fn new(caller: Option<&Caller>, peer: Option<&Peer>, rpc: String, on: String) -> Self {
        let remark = Arc::default();
        Self { caller: name(caller), address: address(peer), rpc, on, remark, begun: Instant::now(), finished: false }
    }

    /// Does the work of the call, which may [`remark`].
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        REMARK.scope(Arc::clone(&self.remark), work)
    }

    /// Writes the line.
    pub fn end(self, outcome: Option<Code>) {
        self.end_with(outcome.map_or(tonic::Code::Ok, status::grpc));
    }

    /// The same with a code of the wire.
    pub fn end_with(mut self, outcome: tonic::Code) {
        self.finished = true;
        self.write(grpc_code::name(outcome));
    }

    fn write(&self, outcome: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let Self { caller, address, rpc, on, .. } = self;
        let remark = self.remark.lock().unwrap_or_else(PoisonError::into_inner);
        let remark = Some(remark.as_str()).filter(|remark| !remark.is_empty());
        tracing::info!(
            target: TARGET,
            caller,
            client.address = address,
            rpc.method = rpc,
            on,
            outcome,
            seconds,
            remark,
            "audit"
        );
    }
}

/// The line of a call that its caller's role does not allow.
pub fn refused(caller: &Caller, peer: Option<&Peer>, rpc: &str) {
    let (caller, address) = (name(Some(caller)), address(peer));
    let outcome = grpc_code::name(tonic::Code::PermissionDenied);
    tracing::info!(target: TARGET, caller, client.address = address, rpc.method = rpc, outcome, "audit");
}

fn name(caller: Option<&Caller>) -> String {
    match caller {
        Some(caller) if !caller.name.is_empty() => caller.name.clone(),
        Some(caller) if !caller.subject.is_empty() => caller.subject.clone(),
        _ => "anonymous".into(),
    }
}

fn address(peer: Option<&Peer>) -> String {
    peer.and_then(|peer| peer.address).map(|address| address.to_string()).unwrap_or_default()
}

/// `target_keyspace=customer workflow=import`: the subjects that a request names.
fn subject(rpc: &str, request: &[u8]) -> String {
    let (service, name) = rpc.rsplit_once('/').unwrap_or_default();
    let Some(pool) = json::pool() else { return String::new() };
    let service = pool.get_service_by_name(service);
    let Some(method) = service.and_then(|service| service.methods().find(|m| m.name() == name)) else {
        return String::new();
    };
    let Ok(message) = DynamicMessage::decode(method.input(), request) else { return String::new() };
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

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
    use vtmigrated_proto::topodata::TabletAlias;
    use vtmigrated_proto::vtctldata::*;

    use super::*;

    /// Fields whose names end like names of something, and are none.
    const NO_SUBJECTS: &[&str] =
        &["app_name", "cells_alias", "metric_name", "sidecar_db_name", "table_keyspace", "external_cluster_name"];

    #[test]
    fn whatever_a_change_names_is_a_subject() {
        let pool = json::pool().unwrap();
        let mut missing = std::collections::BTreeSet::new();
        for service in ["vtctlservice.Vtctld", "vtmigrated.Advisor"] {
            for method in pool.get_service_by_name(service).unwrap().methods() {
                if class(&format!("{service}/{}", method.name())) <= Role::Read {
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
        let text = subject("vtctlservice.Vtctld/DeleteShards", &shards.encode_to_vec());
        assert_eq!(text, "shards=ks/-80,ks/80-");
        let alias = |uid| TabletAlias { cell: "zone1".into(), uid };
        let tablets = DeleteTabletsRequest { tablet_aliases: vec![alias(1), alias(2)], ..Default::default() };
        let text = subject("vtctlservice.Vtctld/DeleteTablets", &tablets.encode_to_vec());
        assert_eq!(text, "tablet_aliases=zone1-0000000001,zone1-0000000002");
        let clean =
            vtmigrated_proto::vtmigrated::CleanLeftoversRequest { keyspace: "ks".into(), keys: vec!["a".into()] };
        assert_eq!(subject("vtmigrated.Advisor/CleanLeftovers", &clean.encode_to_vec()), "keyspace=ks keys=a");
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
        let text = subject("vtctlservice.Vtctld/MigrateCreate", &create.encode_to_vec());
        assert_eq!(
            text,
            "target_keyspace=customer workflow=import source_keyspace=commerce mount_name=ext1 all_tables=true"
        );
        let request = UpdateVReplicationWorkflowRequest { workflow: "import".into(), ..Default::default() };
        let update = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(request) };
        assert_eq!(
            subject("vtctlservice.Vtctld/WorkflowUpdate", &update.encode_to_vec()),
            "keyspace=customer workflow=import"
        );
        let fetch = ExecuteFetchAsDbaRequest {
            tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            query: "set password = 'secret'".into(),
            ..Default::default()
        };
        assert_eq!(
            subject("vtctlservice.Vtctld/ExecuteFetchAsDBA", &fetch.encode_to_vec()),
            "tablet_alias=zone1-0000000100"
        );
    }
}
