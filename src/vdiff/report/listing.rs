//! The diffs of a workflow, one line for each and shard.

use vtmigrated_proto::vtctldata::VDiffShowResponse;

use crate::sql::rows;

/// A diff on one shard.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listing {
    #[serde(rename = "UUID")]
    pub uuid: String,
    pub workflow: String,
    pub keyspace: String,
    pub shard: String,
    pub state: String,
}

/// What the answers of all shards to `show all` list.
pub fn listings(response: &VDiffShowResponse) -> Vec<Listing> {
    let mut found = Vec::new();
    for output in response.tablet_responses.iter().filter_map(|entry| entry.value.as_ref()?.output.as_ref()) {
        let place = |name: &str| output.fields.iter().position(|field| field.name == name);
        let [uuid, workflow, keyspace, shard, state] =
            ["vdiff_uuid", "workflow", "keyspace", "shard", "state"].map(place);
        for row in rows::texts(output) {
            let text = |at: Option<usize>| at.and_then(|at| row.get(at).cloned().flatten()).unwrap_or_default();
            found.push(Listing {
                uuid: text(uuid),
                workflow: text(workflow),
                keyspace: text(keyspace),
                shard: text(shard),
                state: text(state),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::{Field, QueryResult, Row};
    use vtmigrated_proto::tabletmanagerdata::VDiffResponse;
    use vtmigrated_proto::vtctldata::v_diff_show_response::TabletResponsesEntry;

    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let fields = ["state", "shard", "keyspace", "workflow", "vdiff_uuid"];
        let fields = fields.map(|name| Field { name: name.into(), ..Field::default() }).into();
        let row = Row { lengths: vec![9, 1, 2, 2, 1], values: b"completed0kswfu".to_vec() };
        let output = QueryResult { fields, rows: vec![row], ..QueryResult::default() };
        let value = VDiffResponse { output: Some(output), ..VDiffResponse::default() };
        let entry = TabletResponsesEntry { key: "0".into(), value: Some(value) };
        let found = listings(&VDiffShowResponse { tablet_responses: vec![entry] });
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(json, r#"[{"UUID":"u","Workflow":"wf","Keyspace":"ks","Shard":"0","State":"completed"}]"#);
    }
}
