//! The statements that the tablet knows.

use tonic::Status;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;

use super::Contents;
use crate::vdiff_tablet::result;

/// Names between quotes of one kind.
pub fn quoted(text: &str, quote: char) -> Vec<String> {
    text.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
}

/// Table names of a DROP or TRUNCATE, without their databases.
fn listed(text: &str) -> Vec<String> {
    let name = |item: &str| item.trim().rsplit('.').next().unwrap_or_default().trim_matches('`').to_owned();
    text.split(',').map(name).collect()
}

pub fn answer(rows: Vec<Vec<String>>) -> Option<QueryResult> {
    Some(result(&["a", "b"], &rows))
}

impl Contents {
    pub fn dba(&mut self, query: &str) -> Result<Option<QueryResult>, Status> {
        if let Some(list) = query.strip_prefix("drop table if exists ") {
            listed(list).iter().for_each(|table| self.drop_table(table));
        } else if let Some(table) = query.strip_prefix("truncate table ") {
            // as an engine does it that makes the table anew
            listed(table).into_iter().for_each(|table| {
                self.drop_table(&table);
                self.tables.insert(table, 0);
            });
        } else if query.starts_with("select table_name, unix_timestamp(create_time), unix_timestamp(now(6)) from") {
            let named = quoted(query, '\'').into_iter().filter(|table| self.tables.contains_key(table));
            let named: Vec<String> = named.collect();
            let made: Vec<i64> = named.iter().map(|table| self.made(table)).collect();
            let now = if self.hurries { format!("{}.99", self.clock) } else { format!("{}.5", self.clock + 1) };
            let row = |(table, made): (String, i64)| vec![table, made.to_string(), now.clone()];
            return Ok(Some(result(&["a", "b", "c"], &named.into_iter().zip(made).map(row).collect::<Vec<_>>())));
        } else if query.contains("from information_schema.tables where table_schema = database() and table_name in") {
            let named = quoted(query, '\'').into_iter().filter(|table| self.tables.contains_key(table));
            return Ok(answer(named.map(|table| vec![table]).collect()));
        } else if query.contains("from information_schema.columns") && self.counts_ids {
            let named = quoted(query, '\'').into_iter().filter(|table| self.tables.contains_key(table));
            let row = |table: String| {
                [table.as_str(), "id", "bigint", "NO", "auto_increment", ""].map(str::to_owned).to_vec()
            };
            return Ok(Some(result(&["a", "b", "c", "d", "e", "f"], &named.map(row).collect::<Vec<_>>())));
        } else if query.contains("_vt.post_copy_action as pca") {
            let row = |(table, sql): &(String, String)| vec![table.clone(), format!(r#"{{"type":1,"task":"{sql}"}}"#)];
            return Ok(answer(self.actions.iter().map(row).collect()));
        } else if query.contains("performance_schema.global_variables") {
            let row = |(name, value): &(&str, &str)| vec!["variable".into(), (*name).into(), (*value).into()];
            return Ok(Some(result(&["a", "b", "c"], &self.variables.iter().map(row).collect::<Vec<_>>())));
        } else if query == "select workflow, source from _vt.vreplication" {
            let row = |w: &ReadVReplicationWorkflowResponse| {
                let cluster = w.streams[0].bls.as_ref().unwrap().external_cluster.clone();
                vec![w.workflow.clone(), format!(r#"keyspace:"commerce"  external_cluster:"{cluster}""#)]
            };
            return Ok(answer(self.workflows.iter().map(row).collect()));
        }
        Ok(Some(QueryResult::default()))
    }

    pub fn drop_table(&mut self, table: &str) {
        self.tables.remove(table);
        self.made.remove(table);
    }

    /// When a table was made: a second for each, in the order in which it is asked for them.
    fn made(&mut self, table: &str) -> i64 {
        *self.made.entry(table.to_owned()).or_insert_with(|| {
            self.clock += 1;
            self.clock
        })
    }

    pub fn filled(&self, query: &str) -> Result<Option<QueryResult>, Status> {
        let mut rows = Vec::new();
        for part in query.split(" union all ") {
            let Some(rest) = part.strip_prefix("select ") else { continue };
            let number = rest.split(' ').next().unwrap().to_owned();
            let Some(table) = rest.split("(select 1 from ").nth(1).and_then(|rest| rest.split(' ').next()) else {
                continue;
            };
            match self.tables.get(table.trim_matches('`')) {
                Some(0) => {}
                Some(_) => rows.push(vec![number]),
                None => return Err(Status::unknown("Table doesn't exist (errno 1146) (sqlstate 42S02)")),
            }
        }
        Ok(answer(rows))
    }
}
