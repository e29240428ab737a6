//! The RPC that shows the topology as a tree.

use vtmigrated_proto::vtctldata::*;

use crate::cluster::path;
use crate::context::Context;
use crate::failure::Error;

pub async fn get_path(context: &Context, request: GetTopologyPathRequest) -> Result<GetTopologyPathResponse, Error> {
    let path::Cell { name, path, data, children, version } =
        path::get(context, &request.path, request.version, request.as_json).await?;
    Ok(GetTopologyPathResponse { cell: Some(TopologyCell { name, path, data, children, version }) })
}
