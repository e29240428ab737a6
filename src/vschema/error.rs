//! What can be wrong with a VSchema or a statement that changes one, in the words of Vitess 22.0.3.

use crate::error::{Code, Explain, Reason};

/// Why a VSchema or an `alter vschema` statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("BuildKeyspace({keyspace}): {inner}")]
    Build { keyspace: String, inner: Box<Error> },
    #[error("ApplyVSchemaDDL({keyspace},<nil>,{sql}): {inner}")]
    Ddl { keyspace: String, sql: String, inner: Box<Error> },
    #[error("Parse({sql}): {detail}")]
    Parse { sql: String, detail: String },
    #[error("error parsing VSchema DDL statement `{0}`")]
    NotVSchemaDdl(String),
    /// `<vindex> (<param>, …); …`
    #[error("unknown vindex params: {0}")]
    UnknownParams(String),

    #[error("vindexType {0:?} not found")]
    UnknownVindexType(String),
    /// A vindex's params do not fit its type; the text is that of the type's constructor.
    #[error("{0}")]
    BadParams(String),

    #[error("unidentified table type {0}")]
    TableType(String),
    #[error("invalid source {source_table:?} for reference table: {table}; {detail}")]
    ReferenceSource { source_table: String, table: String, detail: String },
    #[error("sequence table has to be in an unsharded keyspace or must be pinned: {0}")]
    ShardedSequence(String),
    #[error("auto_increment of table {0} needs both a column and a sequence")]
    AutoIncrement(String),
    #[error("could not decode the keyspace id for pin: {0}")]
    Pin(String),
    #[error("missing primary col vindex for table: {0}")]
    MissingPrimaryVindex(String),
    #[error("duplicate column name '{column}' for table: {table}")]
    DuplicateColumn { column: String, table: String },
    #[error("could not parse the '{column}' column's default expression '{default}' for table '{table}'")]
    ColumnDefault { column: String, default: String, table: String },
    #[error("vindex {vindex} not found for table {table}")]
    VindexNotFound { vindex: String, table: String },
    #[error("can't use column and columns at the same time in vindex ({vindex}) and table ({table})")]
    ColumnAndColumns { vindex: String, table: String },
    #[error("must specify at least one column for vindex ({vindex}) and table ({table})")]
    NoColumn { vindex: String, table: String },
    #[error("primary vindex {vindex} is not Unique for table {table}")]
    PrimaryNotUnique { vindex: String, table: String },
    #[error("primary vindex {vindex} cannot be owned for table {table}")]
    PrimaryOwned { vindex: String, table: String },
    #[error("multi-column vindex {vindex} should be a primary vindex for table {table}")]
    MultiColumnNotPrimary { vindex: String, table: String },
    #[error("VT03029: column count does not match value count with the row for vindex '{0}'")]
    OwnerColumns(String),

    /// A statement adds what is there already.
    #[error("{0}")]
    Exists(String),
    /// A statement names what is not there.
    #[error("{0}")]
    Missing(String),
    /// A statement does not fit the keyspace as it is.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The error without the texts that say what was being done.
    pub fn root(&self) -> &Self {
        match self {
            Self::Build { inner, .. } | Self::Ddl { inner, .. } => inner.root(),
            other => other,
        }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self.root() {
            Self::TableType(_) | Self::VindexNotFound { .. } | Self::Missing(_) => Code::NotFound,
            Self::ShardedSequence(_) | Self::Refused(_) => Code::FailedPrecondition,
            Self::MultiColumnNotPrimary { .. } => Code::Unimplemented,
            Self::Exists(_) => Code::AlreadyExists,
            _ => Code::InvalidArgument,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Parse { .. } | Self::NotVSchemaDdl(_) => Reason::VSCHEMA_SYNTAX,
            Self::Ddl { .. } | Self::Exists(_) | Self::Missing(_) | Self::Refused(_) => Reason::VSCHEMA_STATEMENT,
            Self::UnknownParams(_) => Reason::VINDEX_UNKNOWN_PARAMS,
            _ => Reason::VSCHEMA_INVALID,
        }
    }

    fn help(&self) -> String {
        match self.root() {
            Self::UnknownVindexType(_) => format!("vindex types: {}", super::vindex::names().join(", ")),
            Self::NotVSchemaDdl(_) => "the statement must begin with `alter vschema`".into(),
            Self::MissingPrimaryVindex(_) => {
                "give the table column_vindexes, pin it, or make it a reference table".into()
            }
            Self::AutoIncrement(_) => {
                "name both, or leave auto_increment out: \"auto_increment\":{\"column\":\"…\",\"sequence\":\"…\"}"
                    .into()
            }
            Self::UnknownParams(_) => "run the command without --strict to accept them".into(),
            _ => String::new(),
        }
    }
}
