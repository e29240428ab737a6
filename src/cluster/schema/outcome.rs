//! How a change of a keyspace's schema went, shard by shard.

use serde::Serialize;

use crate::cluster::Error;
use crate::error::{Code, Explain, Reason};

/// What came out, as stock prints it.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::cluster) struct Outcome<'a> {
    failed_shards: Vec<Failure>,
    pub success_shards: Vec<Success>,
    #[serde(rename = "CurSQLIndex")]
    pub cur_sql_index: usize,
    sqls: &'a [String],
    #[serde(rename = "UUIDs")]
    uuids: Option<Vec<String>>,
    executor_err: &'static str,
    #[serde(skip)]
    code: Option<Code>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    shard: String,
    err: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::cluster) struct Success {
    pub shard: String,
    pub position: String,
}

impl<'a> Outcome<'a> {
    /// Nothing has run yet.
    pub fn of(sqls: &'a [String]) -> Self {
        Self { sqls, ..Self::default() }
    }

    /// A shard did it.
    pub fn succeed(&mut self, shard: &str, position: String) {
        self.success_shards.push(Success { shard: shard.to_owned(), position });
    }

    /// A shard did not.
    pub fn fail(&mut self, shard: &str, error: &crate::tablet::Error) {
        self.code = self.code.max(Some(error.code()));
        self.failed_shards.push(Failure { shard: shard.to_owned(), err: error.to_string() });
    }

    /// True when some shard failed.
    pub fn has_failed(&self) -> bool {
        !self.failed_shards.is_empty()
    }

    /// The error of those that failed, if any did: on one line, for clients that show the first one.
    pub fn error(&self) -> Option<Error> {
        if !self.has_failed() {
            return None;
        }
        let json = serde_json::to_string(self).unwrap_or_default();
        let text = format!("schema change failed, ExecuteResult: {json}");
        Some(Error::refused(self.code.unwrap_or(Code::Internal), Reason::SCHEMA_CHANGE_FAILED, text, ""))
    }
}
