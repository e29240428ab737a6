//! Codes, and what they are on the wire: one table for gRPC and HTTP.

use std::fmt;

use http::StatusCode;
use tonic::Code as GrpcCode;

/// Meaning of a failure, in the terms of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Code {
    /// The code of a gRPC status.
    pub fn grpc(self) -> GrpcCode {
        self.on_the_wire().0
    }

    /// The status of an answer of `/api`.
    pub fn http(self) -> StatusCode {
        self.on_the_wire().1
    }

    fn on_the_wire(self) -> (GrpcCode, StatusCode) {
        match self {
            Self::Cancelled => (GrpcCode::Cancelled, StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unknown => (GrpcCode::Unknown, StatusCode::INTERNAL_SERVER_ERROR),
            Self::InvalidArgument => (GrpcCode::InvalidArgument, StatusCode::BAD_REQUEST),
            Self::DeadlineExceeded => (GrpcCode::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT),
            Self::NotFound => (GrpcCode::NotFound, StatusCode::NOT_FOUND),
            Self::AlreadyExists => (GrpcCode::AlreadyExists, StatusCode::CONFLICT),
            Self::PermissionDenied => (GrpcCode::PermissionDenied, StatusCode::FORBIDDEN),
            Self::ResourceExhausted => (GrpcCode::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS),
            Self::FailedPrecondition => (GrpcCode::FailedPrecondition, StatusCode::CONFLICT),
            Self::Aborted => (GrpcCode::Aborted, StatusCode::CONFLICT),
            Self::Unimplemented => (GrpcCode::Unimplemented, StatusCode::NOT_IMPLEMENTED),
            Self::Internal => (GrpcCode::Internal, StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => (GrpcCode::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            Self::DataLoss => (GrpcCode::DataLoss, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// What a server means that answers with a code of gRPC.
    pub fn of_grpc(code: GrpcCode) -> Self {
        match code {
            GrpcCode::Cancelled => Self::Cancelled,
            GrpcCode::InvalidArgument | GrpcCode::OutOfRange => Self::InvalidArgument,
            GrpcCode::DeadlineExceeded => Self::DeadlineExceeded,
            GrpcCode::NotFound => Self::NotFound,
            GrpcCode::AlreadyExists => Self::AlreadyExists,
            GrpcCode::PermissionDenied | GrpcCode::Unauthenticated => Self::PermissionDenied,
            GrpcCode::ResourceExhausted => Self::ResourceExhausted,
            GrpcCode::FailedPrecondition => Self::FailedPrecondition,
            GrpcCode::Aborted => Self::Aborted,
            GrpcCode::Unimplemented => Self::Unimplemented,
            GrpcCode::Internal => Self::Internal,
            GrpcCode::Unavailable => Self::Unavailable,
            GrpcCode::DataLoss => Self::DataLoss,
            GrpcCode::Ok | GrpcCode::Unknown => Self::Unknown,
        }
    }
}
