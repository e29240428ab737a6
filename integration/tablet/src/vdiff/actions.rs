//! What the RPC `VDiff` asks for: create, resume, show, stop, delete.

use mysql_async::Conn;
use tonic::Code;
use uuid::Uuid;
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use super::{
    Engine, Open,
    options::Options,
    record::{PENDING, STOPPED},
};
use crate::{
    engine::{
        db::Db,
        error::{Error, Result},
        fetch,
    },
    sql,
};

/// How many diffs are listed.
const MAX_LISTED: u64 = 100;

/// Performs an action.
pub(super) async fn perform(engine: &Engine, open: &mut Open, request: VDiffRequest) -> Result<VDiffResponse> {
    let shared = &engine.parts.context.shared;
    let conn = shared.connect().await.map_err(|error| Error::connect(&error, shared.options.mysql_port))?;
    let mut action = Action {
        alias: shared.options.alias_text(),
        name: sql::quote(&shared.options.sidecar_db),
        engine,
        open,
        conn,
        request,
    };
    let result = match action.request.action.as_str() {
        "create" => action.create().await,
        "resume" => action.resume().await,
        "show" => action.show().await,
        "stop" => action.stop().await,
        "delete" => action.delete().await,
        other => Err(Error::unknown(format!("action {other} not supported"))),
    };
    // the session ends with the socket in any case
    let _ = action.conn.disconnect().await;
    result
}

struct Action<'a> {
    engine: &'a Engine,
    open: &'a mut Open,
    conn: Conn,
    /// Sidecar database, quoted.
    name: String,
    alias: String,
    request: VDiffRequest,
}

impl Action<'_> {
    async fn create(&mut self) -> Result<VDiffResponse> {
        let uuid = self.request.vdiff_uuid.clone();
        if self.id_of(&uuid).await?.is_some() {
            return Err(Error::unknown(format!("vdiff with UUID {uuid} already exists on tablet {}", self.alias)));
        }
        let options = self.options().await?;
        let state = if options.core_options.auto_start == Some(false) { STOPPED } else { PENDING };
        let options = serde_json::to_string(&options).map_err(|error| Error::unknown(error.to_string()))?;
        let own = &self.engine.parts.context.shared.options;
        let values =
            [self.request.keyspace.as_str(), &self.request.workflow, state, &options, &own.shard, &own.db_name, &uuid];
        let sql = format!(
            "insert into {}.vdiff(keyspace, workflow, state, options, shard, db_name, vdiff_uuid) values ({})",
            self.name,
            values.map(sql::string).join(", ")
        );
        let inserted = fetch::fetch(&mut self.conn, sql.as_bytes(), 1).await?;
        match i64::try_from(inserted.insert_id) {
            Ok(id) if id > 0 => self.start(id).await,
            _ => Err(Error::unknown(format!("unable to create vdiff for UUID {uuid} on tablet {}", self.alias))),
        }
    }

    /// The options of the request; cells that are not given are all of the own topology, also for a mounted source.
    async fn options(&self) -> Result<Options> {
        let mut options = Options::from(self.request.options.clone().unwrap_or_default());
        let picker = &mut options.picker_options;
        if picker.source_cell.is_empty() || picker.target_cell.is_empty() {
            let cells = self.engine.parts.context.topo.cells().await;
            let cells = cells.map_err(|error| Error::unknown(error.to_string()))?;
            let mut names: Vec<&str> = cells.names().collect();
            names.sort_unstable();
            let all = names.join(",");
            for cell in [&mut picker.source_cell, &mut picker.target_cell] {
                if cell.is_empty() {
                    cell.clone_from(&all);
                }
            }
        }
        Ok(options)
    }

    async fn resume(&mut self) -> Result<VDiffResponse> {
        let uuid = self.request.vdiff_uuid.clone();
        let Some(id) = self.id_of(&uuid).await? else {
            return Err(Error::unknown(format!("vdiff with UUID {uuid} not found on tablet {}", self.alias)));
        };
        let (name, quoted) = (&self.name, sql::string(&uuid));
        let ended = format!(
            "update {name}.vdiff as vd, {name}.vdiff_table as vdt \
             set vd.started_at = null, vd.completed_at = null, vd.state = 'pending', vdt.state = 'pending' \
             where vd.vdiff_uuid = {quoted} and vd.id = vdt.vdiff_id \
             and vd.state in ('completed', 'stopped') and vdt.state in ('completed', 'stopped')"
        );
        let never_started = format!(
            "update {name}.vdiff as vd set vd.state = 'pending' where vd.vdiff_uuid = {quoted} \
             and vd.state = 'stopped' and vd.started_at is null and vd.completed_at is null \
             and (select count(*) from {name}.vdiff_table as vdt where vd.id = vdt.vdiff_id) = 0"
        );
        for sql in [ended, never_started] {
            if fetch::fetch(&mut self.conn, sql.as_bytes(), 1).await?.rows_affected > 0 {
                return self.start(id).await;
            }
        }
        let text = format!("no completed or stopped vdiff found for UUID {uuid} on tablet {}", self.alias);
        Err(Error::unknown(text))
    }

    async fn start(&mut self, id: i64) -> Result<VDiffResponse> {
        let mut db = Db::connect(&self.engine.parts.context.shared).await?;
        let record = self.engine.parts.records.get(&mut db, id).await;
        db.close().await;
        let missing = || Error::unknown(format!("no vdiff found for id {id} on tablet {}", self.alias));
        self.engine.start(self.open, record?.ok_or_else(missing)?);
        Ok(VDiffResponse { id, vdiff_uuid: self.request.vdiff_uuid.clone(), ..VDiffResponse::default() })
    }

    async fn show(&mut self) -> Result<VDiffResponse> {
        let mut response = VDiffResponse::default();
        match self.request.action_arg.as_str() {
            "all" => {
                let sql = self.newest("*", MAX_LISTED);
                response.output = Some(fetch::fetch(&mut self.conn, sql.as_bytes(), MAX_LISTED).await?);
                return Ok(response);
            }
            "last" => {
                let sql = self.newest("vdiff_uuid", 1);
                let found = fetch::fetch(&mut self.conn, sql.as_bytes(), 1).await?;
                let Some(row) = found.rows.first() else { return Ok(response) };
                response.vdiff_uuid = String::from_utf8_lossy(&row.values).into_owned();
            }
            argument => response.vdiff_uuid = parse(argument)?,
        }
        let uuid = &response.vdiff_uuid;
        let sql =
            format!("select id from {}.vdiff where {} and vdiff_uuid = {}", self.name, self.mine(), sql::string(uuid));
        let found = fetch::fetch(&mut self.conn, sql.as_bytes(), MAX_LISTED).await?;
        let whose = format!(
            "for UUID {uuid} keyspace {} and workflow {} on tablet {}",
            self.request.keyspace, self.request.workflow, self.alias
        );
        match found.rows.len() {
            0 => Err(Error::unknown(format!("no vdiff found {whose}"))),
            1 => {
                let sql = self.summary(fetch::first_number(&found));
                response.output = Some(fetch::fetch(&mut self.conn, sql.as_bytes(), 10_000).await?);
                Ok(response)
            }
            many => Err(Error::unknown(format!("too many vdiffs found ({many}) {whose}"))),
        }
    }

    /// The diff whose controller bears exactly this UUID; nothing for another one.
    async fn stop(&mut self) -> Result<VDiffResponse> {
        let uuid = &self.request.vdiff_uuid;
        let found = self.open.controllers.iter_mut().find(|(_, controller)| controller.uuid() == uuid);
        let Some((&id, controller)) = found else { return Ok(VDiffResponse::default()) };
        controller.stop().await;
        let mut db = Db::connect(&self.engine.parts.context.shared).await?;
        let stopped = self.engine.parts.records.set_stopped(&mut db, id).await;
        db.close().await;
        stopped.map_err(|error| {
            let text = format!("encountered an error marking vdiff {uuid} as stopped: {error}");
            Error::new(Code::Internal, text)
        })?;
        Ok(VDiffResponse::default())
    }

    async fn delete(&mut self) -> Result<VDiffResponse> {
        let name = self.name.clone();
        let joined = format!("{name}.vdiff as vd left join {name}.vdiff_table as vdt on vd.id = vdt.vdiff_id");
        let (ids, sql) = if self.request.action_arg == "all" {
            let mine = self.mine();
            let ids = fetch::ids(&mut self.conn, &format!("select id from {name}.vdiff where {mine}")).await?;
            let sql = format!(
                "delete from vd, vdt, vdl using {joined} left join {name}.vdiff_log as vdl on vd.id = vdl.vdiff_id \
                 where vd.keyspace = {} and vd.workflow = {}",
                sql::string(&self.request.keyspace),
                sql::string(&self.request.workflow)
            );
            (ids.into_iter().map(i64::from).collect(), sql)
        } else {
            let uuid = parse(&self.request.action_arg)?;
            let Some(id) = self.id_of(&uuid).await? else {
                let text = format!("no vdiff found for UUID {uuid} on tablet {}", self.alias);
                return Err(Error::new(Code::FailedPrecondition, text));
            };
            // the rows of the log stay, as in stock
            (vec![id], format!("delete from vd, vdt using {joined} where vd.vdiff_uuid = {}", sql::string(&uuid)))
        };
        for id in ids {
            if let Some(mut controller) = self.open.controllers.remove(&id) {
                controller.stop().await;
            }
        }
        fetch::fetch(&mut self.conn, sql.as_bytes(), 1).await?;
        Ok(VDiffResponse::default())
    }

    /// The record of a UUID, whatever its workflow.
    async fn id_of(&mut self, uuid: &str) -> Result<Option<i64>> {
        let sql = format!("select id from {}.vdiff where vdiff_uuid = {}", self.name, sql::string(uuid));
        let found = fetch::fetch(&mut self.conn, sql.as_bytes(), 1).await?;
        Ok(Some(fetch::first_number(&found)).filter(|_| !found.rows.is_empty()))
    }

    fn mine(&self) -> String {
        let (keyspace, workflow) = (sql::string(&self.request.keyspace), sql::string(&self.request.workflow));
        format!("keyspace = {keyspace} and workflow = {workflow}")
    }

    fn newest(&self, columns: &str, limit: u64) -> String {
        format!("select {columns} from {}.vdiff where {} order by id desc limit {limit}", self.name, self.mine())
    }

    /// One row per table, or one without a table.
    fn summary(&self, id: i64) -> String {
        let name = &self.name;
        format!(
            "select vd.state as vdiff_state, vd.last_error as last_error, vdt.table_name as table_name, \
             vd.vdiff_uuid as 'uuid', vdt.state as table_state, vdt.table_rows as table_rows, \
             vd.started_at as started_at, vdt.rows_compared as rows_compared, vd.completed_at as completed_at, \
             if(vdt.mismatch = 1, 1, 0) as has_mismatch, vdt.report as report \
             from {name}.vdiff as vd left join {name}.vdiff_table as vdt on vd.id = vdt.vdiff_id where vd.id = {id}"
        )
    }
}

/// A UUID in lower case with its hyphens, from any of its spellings.
fn parse(argument: &str) -> Result<String> {
    let uuid = Uuid::parse_str(argument);
    uuid.map(|uuid| uuid.to_string()).map_err(|_| Error::unknown(format!("action argument {argument} not supported")))
}
