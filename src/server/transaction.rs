//! RPCs of distributed transactions.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use crate::cluster::transaction;
use crate::context::Context;
use crate::failure::Error;

pub async fn unresolved(
    context: &Context,
    request: GetUnresolvedTransactionsRequest,
) -> Result<GetUnresolvedTransactionsResponse, Error> {
    let transactions = transaction::unresolved(context, &request.keyspace, request.abandon_age).await?;
    Ok(GetUnresolvedTransactionsResponse { transactions })
}

pub async fn info(context: &Context, request: GetTransactionInfoRequest) -> Result<GetTransactionInfoResponse, Error> {
    let Some(found) = transaction::info(context, &request.dtid).await? else {
        return Ok(GetTransactionInfoResponse::default());
    };
    let state = |(shard, told): (String, _)| {
        let vtmigrated_proto::tabletmanagerdata::GetTransactionInfoResponse {
            state,
            message,
            time_created,
            statements,
        } = told;
        ShardTransactionState { shard, state, message, time_created, statements }
    };
    Ok(GetTransactionInfoResponse {
        metadata: Some(found.metadata),
        shard_states: found.states.into_iter().map(state).collect(),
    })
}

pub async fn conclude(
    context: Arc<Context>,
    request: ConcludeTransactionRequest,
) -> Result<ConcludeTransactionResponse, Error> {
    transaction::conclude(&context, &request.dtid, request.participants).await?;
    Ok(ConcludeTransactionResponse {})
}
