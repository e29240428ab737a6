//! RPCs of keyspaces.

use std::sync::Arc;

use vtmigrated_proto::topodata;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::{keyspace, vtorc};
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;
use crate::topo::{self, wire};

/// Where a Keyspace has its `snapshot_time`.
const SNAPSHOT_TIME: u32 = 7;

pub async fn create(context: Arc<Context>, request: CreateKeyspaceRequest) -> Result<CreateKeyspaceResponse, Error> {
    let name = request.name.clone();
    let record = topodata::Keyspace {
        keyspace_type: request.r#type,
        base_keyspace: request.base_keyspace,
        snapshot_time: request.snapshot_time,
        durability_policy: request.durability_policy,
        sidecar_db_name: request.sidecar_db_name,
        ..topodata::Keyspace::default()
    };
    let new = keyspace::New {
        name: request.name,
        record,
        sent: sent_message::field(9).map(|time| wire::message(SNAPSHOT_TIME, &time)),
        force: request.force,
        without_vschema: request.allow_empty_v_schema,
    };
    let record = keyspace::create(&context, new).await?;
    Ok(CreateKeyspaceResponse { keyspace: Some(named(name, record)) })
}

pub async fn get(context: &Context, request: GetKeyspaceRequest) -> Result<GetKeyspaceResponse, Error> {
    let record = keyspace::get(context, &request.keyspace).await?;
    Ok(GetKeyspaceResponse { keyspace: Some(named(request.keyspace, record)) })
}

pub async fn all(context: &Context, _: GetKeyspacesRequest) -> Result<GetKeyspacesResponse, Error> {
    let found = topo::keyspace::all(context.topo.global()).await?;
    Ok(GetKeyspacesResponse { keyspaces: found.into_iter().map(|(name, record)| named(name, record)).collect() })
}

pub async fn delete(context: Arc<Context>, request: DeleteKeyspaceRequest) -> Result<DeleteKeyspaceResponse, Error> {
    keyspace::delete(&context, &request.keyspace, request.recursive, request.force).await?;
    Ok(DeleteKeyspaceResponse {})
}

pub async fn set_durability_policy(
    context: Arc<Context>,
    request: SetKeyspaceDurabilityPolicyRequest,
) -> Result<SetKeyspaceDurabilityPolicyResponse, Error> {
    let set = keyspace::set_durability_policy(&context, &request.keyspace, &request.durability_policy);
    Ok(SetKeyspaceDurabilityPolicyResponse { keyspace: Some(set.await?) })
}

pub async fn set_emergency_reparent(
    context: Arc<Context>,
    request: SetVtorcEmergencyReparentRequest,
) -> Result<SetVtorcEmergencyReparentResponse, Error> {
    let SetVtorcEmergencyReparentRequest { keyspace, shard, disable } = request;
    vtorc::set_emergency_reparent(&context, &keyspace, &shard, disable).await?;
    Ok(SetVtorcEmergencyReparentResponse {})
}

pub fn named(name: String, record: topodata::Keyspace) -> Keyspace {
    Keyspace { name, keyspace: Some(record) }
}
