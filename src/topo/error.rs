//! Topology errors, with the texts of Vitess 22.0.3.

use crate::error::{Code, Explain, Reason};

/// Beginning of a detail: the server does not let this program in.
pub(crate) const NOT_ALLOWED: &str = "not allowed";

/// Part of a detail: a request of one record alone is larger than the server takes, as etcd says it.
pub(super) const TOO_LARGE: &str = "request is too large";

/// Why a topology operation failed. Paths are full keys, root included.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("node already exists: {0}")]
    NodeExists(String),
    #[error("node doesn't exist: {0}")]
    NoNode(String),
    #[error("bad node version: {0}")]
    BadVersion(String),
    #[error("deadline exceeded: {0}")]
    Timeout(String),
    #[error("interrupted: {0}")]
    Interrupted(String),
    #[error("server resource exhausted: {0}")]
    ResourceExhausted(String),
    #[error("partial result: {0}")]
    PartialResult(String),
    #[error("no such topology implementation {0}")]
    NoImplementation(String),
    #[error("topology implementation {0} is not supported yet")]
    Unsupported(String),
    #[error("context deadline exceeded: the {kind} topology at {server} cannot be reached: {detail}")]
    Unreachable { kind: String, server: String, detail: String },
    #[error("the lock {0} was lost before the write that it protects; nothing was written")]
    LockLost(String),
    #[error("node not empty: {0}")]
    NotEmpty(String),
    #[error("the settings of mount {mount} on this server are not for the topology server {server}")]
    WrongServer { mount: String, server: String },
    #[error("the topology of a mount is read-only; nothing was written at {0}")]
    ReadOnly(String),
    #[error("bad topology data at {path}: {detail}")]
    BadData { path: String, detail: String },
    #[error("topology error at {path}: {detail}")]
    Backend { path: String, detail: String },
    #[error("{0}")]
    BadName(String),
    #[error("{outer}: {inner}")]
    Wrapped { outer: String, inner: Box<Error> },
}

impl Error {
    /// The same error under a text that says what was being done, `outer: inner` as stock prints it.
    pub fn wrap(self, outer: impl Into<String>) -> Self {
        Self::Wrapped { outer: outer.into(), inner: Box::new(self) }
    }

    /// The innermost error.
    pub fn root(&self) -> &Self {
        match self {
            Self::Wrapped { inner, .. } => inner.root(),
            other => other,
        }
    }

    /// True when a node is missing, however wrapped.
    pub fn is_no_node(&self) -> bool {
        matches!(self.root(), Self::NoNode(_))
    }

    /// True when a compare-and-swap lost.
    pub fn is_conflict(&self) -> bool {
        matches!(self.root(), Self::BadVersion(_) | Self::NodeExists(_))
    }

    /// True when a record is there and cannot be decoded.
    pub fn is_bad_data(&self) -> bool {
        matches!(self.root(), Self::BadData { .. })
    }

    /// True when the topology could not be asked at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.root(), Self::Unreachable { .. } | Self::Timeout(_))
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self.root() {
            Self::NodeExists(_) => Code::AlreadyExists,
            Self::NoNode(_) => Code::NotFound,
            Self::BadVersion(_) | Self::LockLost(_) => Code::Aborted,
            Self::Timeout(_) => Code::DeadlineExceeded,
            Self::Interrupted(_) => Code::Cancelled,
            Self::ResourceExhausted(_) => Code::ResourceExhausted,
            Self::PartialResult(_) | Self::Unreachable { .. } => Code::Unavailable,
            Self::NotEmpty(_) | Self::WrongServer { .. } | Self::ReadOnly(_) => Code::FailedPrecondition,
            // fixed by whoever runs this program, not by the caller
            Self::Backend { detail, .. } if detail.starts_with(NOT_ALLOWED) => Code::FailedPrecondition,
            Self::NoImplementation(_) | Self::BadName(_) => Code::InvalidArgument,
            Self::Backend { detail, .. } if detail.contains(TOO_LARGE) => Code::ResourceExhausted,
            Self::Unsupported(_) => Code::Unimplemented,
            Self::BadData { .. } => Code::DataLoss,
            Self::Backend { .. } | Self::Wrapped { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> Reason {
        match self.root() {
            Self::NodeExists(_) => Reason::TOPO_NODE_EXISTS,
            Self::NoNode(_) => Reason::TOPO_NODE_MISSING,
            Self::BadVersion(_) => Reason::TOPO_CONFLICT,
            Self::Timeout(_) => Reason::TOPO_TIMEOUT,
            Self::Interrupted(_) => Reason::TOPO_INTERRUPTED,
            Self::ResourceExhausted(_) => Reason::TOPO_EXHAUSTED,
            Self::PartialResult(_) => Reason::TOPO_PARTIAL,
            Self::NoImplementation(_) | Self::Unsupported(_) => Reason::TOPO_TYPE,
            Self::Unreachable { .. } => Reason::TOPO_UNREACHABLE,
            Self::LockLost(_) => Reason::TOPO_LOCK_LOST,
            Self::NotEmpty(_) => Reason::TOPO_NOT_EMPTY,
            Self::WrongServer { .. } => Reason::MOUNT_SETTINGS,
            Self::ReadOnly(_) => Reason::MOUNT_READ_ONLY,
            Self::BadData { .. } => Reason::TOPO_BAD_DATA,
            Self::BadName(_) => Reason::BAD_NAME,
            Self::Backend { .. } | Self::Wrapped { .. } => Reason::TOPO_BACKEND,
        }
    }

    fn help(&self) -> String {
        match self.root() {
            Self::BadVersion(_) => "another client changed the record at the same time: run the command again".into(),
            Self::LockLost(_) => "run the command again; it goes on from where it stopped".into(),
            Self::Timeout(path) if path.contains("/locks") || path.ends_with("/Lock") => {
                "another operation holds this lock: wait until it ends, then run the command again".into()
            }
            Self::Timeout(_) => "check that the topology server answers, then run the command again".into(),
            Self::Unreachable { server, .. } => {
                format!("check that a topology server answers at {server} from this host")
            }
            Self::BadData { path, .. } => {
                let looks = "the record is not what Vitess writes there: inspect it with GetTopologyPath";
                let fix = super::srv_vschema::fix(path).map(|fix| format!("; to replace it: {fix}"));
                format!("{looks}{}", fix.unwrap_or_default())
            }
            Self::NoImplementation(_) | Self::Unsupported(_) => format!("supported: {}", super::KINDS.join(", ")),
            Self::WrongServer { .. } => {
                "use a server that the mount's entry in the file of --mount-settings lists, or change that file".into()
            }
            Self::Backend { detail, .. } if detail.starts_with(NOT_ALLOWED) => {
                "give the credentials for this server in the file of --mount-settings".into()
            }
            Self::Backend { detail, .. } if detail.contains(TOO_LARGE) => LARGER.into(),
            Self::ResourceExhausted(_) => format!(
                "the topology server has no room for more (etcd: see etcdctl alarm list; compact, defragment, or raise \
                 --quota-backend-bytes), or {LARGER}"
            ),
            _ => String::new(),
        }
    }
}

/// What to do about a record that is too large.
const LARGER: &str = "the record is larger than the topology server takes: raise its bound (etcd: --max-request-bytes, 1.5 MiB unless \
                      set; ZooKeeper: jute.maxbuffer; Consul: kv_max_value_size), or bring fewer tables into one keyspace";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_a_server_does_not_take_is_told_with_the_bound_to_raise() {
        let path = || "/vitess/global/keyspaces/customer/shards/-80/Shard".to_owned();
        let detail = "etcdserver: request is too large".to_owned();
        let large = Error::Backend { path: path(), detail }.wrap("UpdateShardFields");
        assert_eq!((large.code(), large.reason().as_str()), (Code::ResourceExhausted, "TOPO_BACKEND"));
        assert!(large.to_string().ends_with("/Shard: etcdserver: request is too large"), "{large}");
        for error in [large, Error::ResourceExhausted(path())] {
            assert!(error.help().contains("--max-request-bytes"), "{}", error.help());
        }
        let late = Error::Timeout(path()).help();
        assert!(late.starts_with("check that the topology server answers"), "{late}");
        let other = Error::Backend { path: path(), detail: "no such service".into() };
        assert_eq!((other.code(), other.help().as_str()), (Code::Internal, ""));
    }
}
