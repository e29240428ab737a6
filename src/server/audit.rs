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

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Who {
    caller: String,
    address: String,
}

impl Who {
    /// From the extensions of a call.
    pub fn of(extensions: &http::Extensions) -> Self {
        Self { caller: name(extensions.get::<Caller>()), address: address(extensions.get::<Peer>()) }
    }
}

/// A call that changes something, from its begin.
pub struct Entry {
    caller: String,
    address: String,
    rpc: String,
    on: String,
    begun: Instant,
    finished: bool,
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
        let rpc = request.extensions().get::<Rpc>().map(|rpc| rpc.0.as_str()).unwrap_or_default();
        let on = subject(rpc, &request.get_ref().encode_to_vec());
        Self::of(Who::of(request.extensions()), format!("vtctlservice.Vtctld/{rpc}"), on)
    }

    /// The same for a command of the older service. Of its arguments only those that can be names are remembered.
    pub fn command(who: Who, command: &str, args: &[String]) -> Self {
        let name =
            |arg: &&String| arg.len() <= 256 && arg.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:,".contains(c));
        let on = args.iter().filter(name).map(String::as_str).collect::<Vec<_>>().join(" ");
        Self::of(who, format!("vtctlservice.Vtctl/ExecuteVtctlCommand {command}"), on)
    }

    fn of(Who { caller, address }: Who, rpc: String, on: String) -> Self {
        Self { finished: false, caller, address, rpc, on, begun: Instant::now() }
    }

    /// Writes the line.
    pub fn end(mut self, outcome: Option<Code>) {
        self.finished = true;
        self.write(outcome.map_or("OK", |code| grpc_code::name(status::grpc(code))));
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

/// The line of a call that may change something, and that the fallback serves: its own log tells how it ends.
pub fn handed_on(extensions: &http::Extensions, rpc: &str) {
    if class(rpc) <= Role::Read {
        return;
    }
    let Who { caller, address } = Who::of(extensions);
    tracing::info!(target: TARGET, caller, client.address = address, rpc.method = rpc, outcome = "HANDED_ON", "audit");
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
        let fetch = ExecuteFetchAsDbaRequest {
            tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            query: "set password = 'secret'".into(),
            ..Default::default()
        };
        assert_eq!(subject("ExecuteFetchAsDBA", &fetch.encode_to_vec()), "tablet_alias=zone1-0000000100");
    }
}
