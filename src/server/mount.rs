//! Mount RPCs.

use std::sync::Arc;

use vtmigrated_proto::topodata::TopoConfig;
use vtmigrated_proto::vtctldata::*;

use super::span_fields;
use crate::context::Context;
use crate::failure::Error;
use crate::workflow::mount;

pub async fn register(context: Arc<Context>, request: MountRegisterRequest) -> Result<MountRegisterResponse, Error> {
    span_fields::mount(&request.name);
    let config = TopoConfig { topo_type: request.topo_type, server: request.topo_server, root: request.topo_root };
    mount::register(&context, &request.name, config).await?;
    Ok(MountRegisterResponse {})
}

pub async fn unregister(
    context: Arc<Context>,
    request: MountUnregisterRequest,
) -> Result<MountUnregisterResponse, Error> {
    span_fields::mount(&request.name);
    mount::unregister(&context, &request.name).await?;
    Ok(MountUnregisterResponse {})
}

pub async fn show(context: &Context, request: MountShowRequest) -> Result<MountShowResponse, Error> {
    span_fields::mount(&request.name);
    let config = mount::show(context, &request.name).await?;
    Ok(MountShowResponse {
        topo_type: config.topo_type,
        topo_server: config.server,
        topo_root: config.root,
        name: request.name,
    })
}

pub async fn list(context: &Context, _: MountListRequest) -> Result<MountListResponse, Error> {
    Ok(MountListResponse { names: mount::list(context).await? })
}
