//! The calls that a load consists of. Requests are encoded once, answers are not decoded: the load costs little.

use bytes::Bytes;
use clap::ValueEnum;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use vtmigrated::tablet::raw::Raw;
use vtmigrated_proto::{
    tabletmanagerdata::TabletSelectionPreference,
    topodata::TabletType,
    vtctldata::{
        GetKeyspaceRequest, GetKeyspacesRequest, GetVSchemaRequest, GetWorkflowsRequest, MigrateCreateRequest,
        MountListRequest, MountShowRequest, WorkflowDeleteRequest, WorkflowStatusRequest,
    },
};

/// No answer is larger than this.
const LIMIT: usize = 1 << 30;
/// A field that no request has.
const UNKNOWN: u32 = 1000;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Kind {
    MountShow,
    MountList,
    #[value(name = "GetVSchema")]
    GetVSchema,
    GetKeyspace,
    GetKeyspaces,
    GetWorkflows,
    WorkflowStatus,
    /// Each is taken back by a cancel, which its time leaves out; calls a second and processor time have it.
    MigrateCreate,
}

/// What the calls are about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub mount: String,
    pub source: String,
    pub target: String,
    /// Of WorkflowStatus.
    pub workflow: String,
    /// Of MigrateCreate.
    pub tables: Vec<String>,
    pub cells: Vec<String>,
}

/// A call that can be made again and again.
#[derive(Clone, Debug)]
pub struct Call {
    path: PathAndQuery,
    message: Bytes,
}

/// The workflow that MigrateCreate makes.
pub(super) const MADE: &str = "load";

impl Kind {
    /// The call about a subject.
    #[must_use]
    pub fn of(self, about: &Subject) -> Call {
        let keyspace = about.target.clone();
        match self {
            Self::MountShow => Call::new("MountShow", &MountShowRequest { name: about.mount.clone() }),
            Self::MountList => Call::new("MountList", &MountListRequest {}),
            Self::GetVSchema => Call::new("GetVSchema", &GetVSchemaRequest { keyspace }),
            Self::GetKeyspace => Call::new("GetKeyspace", &GetKeyspaceRequest { keyspace }),
            Self::GetKeyspaces => Call::new("GetKeyspaces", &GetKeyspacesRequest {}),
            Self::GetWorkflows => {
                Call::new("GetWorkflows", &GetWorkflowsRequest { keyspace, ..GetWorkflowsRequest::default() })
            }
            Self::WorkflowStatus => {
                let workflow = about.workflow.clone();
                Call::new("WorkflowStatus", &WorkflowStatusRequest { keyspace, workflow, ..Default::default() })
            }
            Self::MigrateCreate => Call::new("MigrateCreate", &create(about)),
        }
    }

    /// Whether the call makes something.
    #[must_use]
    pub fn makes(self) -> bool {
        self == Self::MigrateCreate
    }

    /// What takes back what the call made, if it makes anything.
    #[must_use]
    pub fn undo(self, about: &Subject) -> Option<Call> {
        let (keyspace, workflow) = (about.target.clone(), MADE.to_owned());
        let request = WorkflowDeleteRequest { keyspace, workflow, ..WorkflowDeleteRequest::default() };
        self.makes().then(|| Call::new("WorkflowDelete", &request))
    }
}

/// As the stock client sends it.
fn create(about: &Subject) -> MigrateCreateRequest {
    MigrateCreateRequest {
        workflow: MADE.to_owned(),
        source_keyspace: about.source.clone(),
        target_keyspace: about.target.clone(),
        mount_name: about.mount.clone(),
        cells: about.cells.clone(),
        tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()],
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        all_tables: about.tables.is_empty(),
        include_tables: about.tables.clone(),
        on_ddl: "IGNORE".to_owned(),
        auto_start: true,
        ..MigrateCreateRequest::default()
    }
}

impl Call {
    pub(super) fn new(method: &'static str, message: &impl Message) -> Self {
        let path = format!("/vtctlservice.Vtctld/{method}");
        // the names above are paths
        let path = PathAndQuery::from_maybe_shared(path).unwrap_or_else(|_| PathAndQuery::from_static("/"));
        Self { path, message: message.encode_to_vec().into() }
    }

    /// The same call in words that only this number has: with a field that servers do not know. None can answer it with what it
    /// reads for another.
    #[must_use]
    pub fn apart(&self, number: usize) -> Self {
        let mut message = self.message.to_vec();
        encode_key(UNKNOWN, WireType::Varint, &mut message);
        encode_varint(number as u64, &mut message);
        Self { path: self.path.clone(), message: message.into() }
    }

    /// Makes the call; answers the size of its answer.
    ///
    /// # Errors
    /// What the server says.
    pub async fn make(&self, channel: &Channel) -> Result<usize, Status> {
        let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(LIMIT);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = grpc.unary(Request::new(self.message.clone()), self.path.clone(), Raw).await?;
        Ok(answer.into_inner().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_those_of_the_service() {
        let about = Subject { target: "customer".into(), ..Subject::default() };
        for kind in Kind::value_variants() {
            let name = kind.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(kind.of(&about).path, format!("/vtctlservice.Vtctld/{name}"));
            assert_eq!(kind.undo(&about).is_some(), *kind == Kind::MigrateCreate);
        }
    }

    #[test]
    fn calls_apart_have_other_words_and_ask_for_the_same() {
        let call = Kind::GetKeyspace.of(&Subject { target: "customer".into(), ..Subject::default() });
        let (one, other) = (call.apart(0), call.apart(300));
        assert_ne!(one.message, call.message);
        assert_ne!(one.message, other.message);
        assert_eq!(GetKeyspaceRequest::decode(other.message).unwrap().keyspace, "customer");
    }
}
