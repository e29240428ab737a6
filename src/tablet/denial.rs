//! Whether a primary denies a table to clients, as its query service says.

use tonic::{Code, Response};
use vtmigrated_proto::query::{BoundQuery, ExecuteOptions, ExecuteRequest, Target};
use vtmigrated_proto::queryservice::query_client::QueryClient;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::client::Kind;
use super::{Client, Result};

const SERVICE: &str = "queryservice.Query";
const METHOD: &str = "Execute";
/// What a tablet says of a statement on a denied table (Vitess 22.0.4 and 24.0.4, `applyDenyList`).
const DENIED: &str = "enforce denied tables";

impl Client {
    /// True when a primary refuses a client's statement because its table is denied. That is looked at before grants and table ACLs,
    /// and before MySQL is asked. `statement` writes to the table, for reads may pass, and changes nothing where it is not refused.
    ///
    /// # Errors
    /// Whatever else the tablet answers, such as that it does not serve.
    pub async fn denies(&self, tablet: &Tablet, statement: String) -> Result<bool> {
        let target = Target {
            keyspace: tablet.keyspace.clone(),
            shard: tablet.shard.clone(),
            tablet_type: TabletType::Primary.into(),
            ..Target::default()
        };
        // a plan from before says nothing of what is denied now
        let options = ExecuteOptions { skip_query_plan_cache: true, ..ExecuteOptions::default() };
        let request = ExecuteRequest {
            target: Some(target),
            query: Some(BoundQuery { sql: statement, ..BoundQuery::default() }),
            options: Some(options),
            ..ExecuteRequest::default()
        };
        let kind = Kind { service: SERVICE, method: METHOD, limit: self.short(), changes: false };
        self.over(tablet, kind, |connection| async move {
            match QueryClient::new(connection).execute(request).await {
                Ok(_) => Ok(Response::new(false)),
                Err(refused) if refused.code() == Code::FailedPrecondition && refused.message().contains(DENIED) => {
                    Ok(Response::new(true))
                }
                Err(error) => Err(error),
            }
        })
        .await
    }
}
