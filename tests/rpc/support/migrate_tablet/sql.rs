//! The statements that the tablet knows.

use std::collections::BTreeSet;

use tonic::Status;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;

use super::Contents;
use crate::support::vdiff_tablet::result;

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

/// Three columns at most, of no more rows than are asked for.
pub fn bounded(rows: &[Vec<String>], most: u64) -> Result<Option<QueryResult>, Status> {
    if rows.len() as u64 > most {
        return Err(Status::unknown(format!("Row count exceeded {most} (errno 10001) (sqlstate HY000)")));
    }
    Ok(Some(result(&["a", "b", "c"], rows)))
}

impl Contents {
    pub fn dba(&mut self, query: &str) -> Result<Option<QueryResult>, Status> {
        if let Some((_, row)) = self.told.iter().find(|(begins, _)| query.starts_with(begins)) {
            return Ok(answer(vec![row.iter().map(|cell| (*cell).to_owned()).collect()]));
        } else if let Some(list) = query.strip_prefix("drop table if exists ") {
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
        } else if query.contains("*/ table_name from information_schema.tables") {
            return Ok(answer(self.tables.keys().map(|table| vec![table.clone()]).collect()));
        } else if query.contains("from information_schema.columns") && self.counts_ids {
            let named = quoted(query, '\'').into_iter().filter(|table| self.tables.contains_key(table));
            let row = |table: String| {
                [table.as_str(), "id", "bigint", "NO", "auto_increment", ""].map(str::to_owned).to_vec()
            };
            return Ok(Some(result(&["a", "b", "c", "d", "e", "f"], &named.map(row).collect::<Vec<_>>())));
        } else if query.starts_with("delete from _vt.copy_state") {
            self.forget(query);
        } else if query.starts_with("select primary_alias from _vt.reparent_journal where time_created_ns > ") {
            return Ok(answer(self.journal.iter().map(|alias| vec![(*alias).to_owned()]).collect()));
        } else if query.contains("_vt.post_copy_action as pca") {
            let row = |(table, sql): &(String, String)| vec![table.clone(), format!(r#"{{"type":1,"task":"{sql}"}}"#)];
            return Ok(answer(self.actions.iter().map(row).collect()));
        } else if query.contains("performance_schema.global_variables") {
            let variables = self.variables.iter().map(|(name, value)| ["variable", *name, *value]);
            let others = self.inventory.iter().map(|(kind, name)| [*kind, *name, ""]);
            let rows: Vec<Vec<String>> = variables.chain(others).map(|row| row.map(str::to_owned).to_vec()).collect();
            return Ok(Some(result(&["a", "b", "c"], &rows)));
        } else if query == "select workflow, source from _vt.vreplication" {
            let row = |w: &ReadVReplicationWorkflowResponse| {
                let cluster = w.streams[0].bls.as_ref().unwrap().external_cluster.clone();
                vec![w.workflow.clone(), format!(r#"keyspace:"commerce"  external_cluster:"{cluster}""#)]
            };
            return Ok(answer(self.workflows.iter().map(row).collect()));
        }
        Ok(Some(QueryResult::default()))
    }

    /// Deletes copy states of streams that are gone: of those that the statement names, or of all.
    fn forget(&mut self, query: &str) {
        let ids: BTreeSet<i32> = self.workflows.iter().flat_map(|w| &w.streams).map(|stream| stream.id).collect();
        let list = query.split_once("vrepl_id in (").and_then(|(_, list)| list.split(')').next());
        let named = list.map(|list| list.split(", ").filter_map(|id| id.parse().ok()).collect::<Vec<i32>>());
        let is_meant = |id: i32| named.as_ref().is_none_or(|named| named.contains(&id));
        self.copying.retain(|(id, _)| ids.contains(id) || !is_meant(*id));
    }

    /// What streams have left to copy, or when they began: those that the statement names, or all. None for another statement.
    pub fn of_streams(&self, query: &str) -> Option<Vec<Vec<String>>> {
        let names = quoted(query, '\'');
        let is_meant = |id: i32| {
            let named = |w: &&ReadVReplicationWorkflowResponse| {
                !query.contains(" and workflow = ") || names.contains(&w.workflow)
            };
            let mut streams = self.workflows.iter().filter(named).flat_map(|w| &w.streams);
            !query.contains("(select id from _vt.vreplication ") || streams.any(|stream| stream.id == id)
        };
        let is_gone = |id: i32| !self.workflows.iter().flat_map(|w| &w.streams).any(|stream| stream.id == id);
        let orphaned = || self.copying.iter().filter(|(id, _)| is_gone(*id));
        if query.starts_with("select distinct vrepl_id, table_name from _vt.copy_state") {
            return Some(orphaned().map(|(id, table)| vec![id.to_string(), table.clone()]).collect());
        }
        if query.starts_with("select count(*) from _vt.copy_state") {
            let counts = [orphaned().count(), 0, 0, 0];
            return Some(counts.map(|count| vec![count.to_string()]).into());
        }
        if query.contains("from _vt.copy_state") && query.contains("max(id)") {
            let of = self.copying.iter().filter(|(id, _)| is_meant(*id));
            return Some(of.map(|(id, table)| vec![id.to_string(), table.clone(), String::new()]).collect());
        }
        if query.contains("min(created_at)") {
            let of = self.begun.iter().filter(|id| is_meant(**id));
            return Some(of.map(|id| vec![id.to_string(), "1700000000".into()]).collect());
        }
        None
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
