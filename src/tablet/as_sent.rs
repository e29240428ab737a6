//! Workflows whose streams have their sources as the tablet sent them: these are nearly all of an answer, a rule for each
//! table, and whoever only passes them on need not read them.

use bytes::Bytes;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream as Row;
use vtmigrated_proto::tabletmanagerdata::{ReadVReplicationWorkflowResponse, ReadVReplicationWorkflowsRequest};
use vtmigrated_proto::topodata::Tablet;

use super::client::{Kind, SERVICE};
use super::raw::Raw;
use super::{Client, Result};
use crate::topo::wire;

const METHOD: &str = "ReadVReplicationWorkflows";
const PATH: &str = "/tabletmanagerservice.TabletManager/ReadVReplicationWorkflows";

/// How errors of decoding begin; those of prost do already.
const BAD: &str = "failed to decode Protobuf message: ";

/// The number of `ReadVReplicationWorkflowsResponse.workflows`.
const WORKFLOWS: u32 = 1;
/// Of `ReadVReplicationWorkflowResponse.streams`.
const STREAMS: u32 = 11;
/// Of `ReadVReplicationWorkflowResponse.Stream.bls`.
const SOURCE: u32 = 2;
/// Of `binlogdata.BinlogSource`.
const KEYSPACE: u32 = 1;
const SHARD: u32 = 2;

/// A workflow on one tablet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    /// Without its streams.
    pub found: ReadVReplicationWorkflowResponse,
    pub streams: Vec<Stream>,
}

/// One of its streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Without its source.
    pub row: Row,
    pub source: Option<Source>,
}

/// Where a stream reads from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub keyspace: String,
    pub shard: String,
    /// The whole `binlogdata.BinlogSource`.
    pub message: Bytes,
}

impl Client {
    /// Reads the streams of several workflows.
    pub async fn workflows_as_sent(
        &self,
        tablet: &Tablet,
        request: &ReadVReplicationWorkflowsRequest,
    ) -> Result<Vec<Workflow>> {
        let (message, limit): (Bytes, usize) = (request.encode_to_vec().into(), self.max_message());
        let kind = Kind { service: SERVICE, method: METHOD, limit: self.short(), changes: false };
        self.over(tablet, kind, |connection| async move {
            let mut grpc = Grpc::new(connection).max_decoding_message_size(limit);
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            let answer = grpc.unary(Request::new(message), PathAndQuery::from_static(PATH), Raw).await?;
            let (metadata, message, extensions) = answer.into_parts();
            let bad = |why: String| Status::internal(format!("{BAD}{}", why.strip_prefix(BAD).unwrap_or(&why)));
            Ok::<_, Status>(tonic::Response::from_parts(metadata, decode(&message).map_err(bad)?, extensions))
        })
        .await
    }
}

/// The workflows of an answer.
///
/// # Errors
/// A text when it is no message.
pub fn decode(answer: &Bytes) -> std::result::Result<Vec<Workflow>, String> {
    parts(answer, WORKFLOWS)?.0.iter().map(workflow).collect()
}

fn workflow(message: &Bytes) -> std::result::Result<Workflow, String> {
    let (streams, rest) = parts(message, STREAMS)?;
    let found = ReadVReplicationWorkflowResponse::decode(rest.as_slice()).map_err(|error| error.to_string())?;
    Ok(Workflow { found, streams: streams.iter().map(stream).collect::<std::result::Result<_, _>>()? })
}

fn stream(message: &Bytes) -> std::result::Result<Stream, String> {
    let (sources, rest) = parts(message, SOURCE)?;
    let row = Row::decode(rest.as_slice()).map_err(|error| error.to_string())?;
    Ok(Stream { row, source: sources.into_iter().next_back().map(source).transpose()? })
}

fn source(message: Bytes) -> std::result::Result<Source, String> {
    let mut found = Source::default();
    for field in wire::fields(&message)? {
        let text = || field.payload.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        match field.number {
            KEYSPACE => found.keyspace = text().unwrap_or_default(),
            SHARD => found.shard = text().unwrap_or_default(),
            _ => {}
        }
    }
    found.message = message;
    Ok(found)
}

/// The messages of one field, and the message without them.
fn parts(message: &Bytes, number: u32) -> std::result::Result<(Vec<Bytes>, Vec<u8>), String> {
    let mut found = Vec::new();
    let rest = wire::without(message, number, |payload| {
        found.push(payload.clone());
        true
    })?;
    Ok((found, rest))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule};
    use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowsResponse;

    use super::*;

    #[test]
    fn sources_stay_as_they_were_sent() {
        let rule = Rule { r#match: "t".into(), filter: "select * from t".into(), ..Rule::default() };
        let filter = Some(Filter { rules: vec![rule], ..Filter::default() });
        let bls = BinlogSource { keyspace: "k".into(), shard: "-80".into(), filter, ..BinlogSource::default() };
        let row = Row { id: 7, bls: Some(bls.clone()), message: b"m".to_vec(), ..Row::default() };
        let without = Row { id: 8, ..Row::default() };
        let workflow = ReadVReplicationWorkflowResponse {
            workflow: "w".into(),
            options: "{}".into(),
            streams: vec![row.clone(), without.clone()],
            ..ReadVReplicationWorkflowResponse::default()
        };
        let answer = ReadVReplicationWorkflowsResponse { workflows: vec![workflow.clone()] };
        let read = decode(&answer.encode_to_vec().into()).unwrap();
        let [found] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(found.found, ReadVReplicationWorkflowResponse { streams: Vec::new(), ..workflow });
        assert_eq!(found.streams[0].row, Row { bls: None, ..row });
        let source = found.streams[0].source.clone().unwrap();
        assert_eq!((source.keyspace.as_str(), source.shard.as_str()), ("k", "-80"));
        assert_eq!(BinlogSource::decode(source.message), Ok(bls));
        assert_eq!(found.streams[1], Stream { row: without, source: None });
    }

    #[test]
    fn what_is_no_message_is_told() {
        assert!(decode(&Bytes::from_static(b"\x0a\x05x")).is_err());
        assert!(decode(&Bytes::new()).unwrap().is_empty());
    }
}
