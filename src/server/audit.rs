//! One log line for every call that changes something: who, from where, what, on what, with which outcome.

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
/// Fields of requests that say what a call is about; nothing else of a request is ever shown.
const SUBJECTS: &[&str] = &[
    "target_keyspace",
    "keyspace",
    "keyspace_name",
    "ks_name",
    "workflow",
    "source_keyspace",
    "mount_name",
    "shard",
    "shard_name",
    "shards",
    "name",
    "cell",
    "cells",
    "tablet_alias",
    "uuid",
    "arg",
    "dry_run",
    "keep_data",
    "all_tables",
];

/// A call that changes something, from its begin.
#[derive(Debug)]
pub struct Entry {
    caller: String,
    address: String,
    rpc: String,
    on: String,
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
        Self::new(caller, request.extensions().get(), format!("vtctlservice.Vtctld/{rpc}"), on)
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
        Self { caller: name(caller), address: address(peer), rpc, on, begun: Instant::now(), finished: false }
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
        tracing::info!(target: TARGET, caller, client.address = address, rpc.method = rpc, on, outcome, seconds, "audit");
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
    let Some(pool) = json::pool() else { return String::new() };
    let service = pool.get_service_by_name("vtctlservice.Vtctld");
    let Some(method) = service.and_then(|service| service.methods().find(|m| m.name() == rpc)) else {
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
        // a tablet alias
        Value::Message(message) => {
            let part = |name| message.get_field_by_name(name).map(|value| shown(&value)).unwrap_or_default();
            format!("{}-{:0>10}", part("cell"), part("uid"))
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
        let text = subject("MigrateCreate", &create.encode_to_vec());
        assert_eq!(
            text,
            "target_keyspace=customer workflow=import source_keyspace=commerce mount_name=ext1 all_tables=true"
        );
        let request = UpdateVReplicationWorkflowRequest { workflow: "import".into(), ..Default::default() };
        let update = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(request) };
        assert_eq!(subject("WorkflowUpdate", &update.encode_to_vec()), "keyspace=customer workflow=import");
        let fetch = ExecuteFetchAsDbaRequest {
            tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            query: "set password = 'secret'".into(),
            ..Default::default()
        };
        assert_eq!(subject("ExecuteFetchAsDBA", &fetch.encode_to_vec()), "tablet_alias=zone1-0000000100");
    }
}
