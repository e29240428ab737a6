//! The RPC `VDiff` for records that exist: show, stop, delete. A diff itself cannot be made here yet.

use mysql_async::Conn;
use tonic::Code;
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use crate::tablet::{
    engine::{
        Context,
        error::{Error, Result},
        fetch, literal,
    },
    sidecar,
};

/// Performs an action on the records of one workflow.
pub async fn perform(context: &Context, request: &VDiffRequest) -> Result<VDiffResponse> {
    let options = &context.shared.options;
    let mut conn = context.shared.connect().await.map_err(|error| Error::connect(&error, options.mysql_port))?;
    let (keyspace, workflow) = (literal::string(&request.keyspace), literal::string(&request.workflow));
    let records = Records {
        name: sidecar::quote(&options.sidecar_db),
        of: format!("keyspace = {keyspace} and workflow = {workflow}"),
    };
    let result = match request.action.as_str() {
        "delete" => records.delete(&mut conn, &request.action_arg).await,
        "stop" => records.stop(&mut conn, &request.action_arg).await,
        "show" => records.show(&mut conn, &request.action_arg).await,
        action => {
            Err(Error::new(Code::Unimplemented, format!("vdiff action {action} is not implemented by this tablet")))
        }
    };
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    result
}

struct Records {
    name: String,
    of: String,
}

impl Records {
    fn which(&self, argument: &str) -> String {
        match argument {
            "all" => self.of.clone(),
            uuid => format!("{} and vdiff_uuid = {}", self.of, literal::string(&uuid.to_lowercase())),
        }
    }

    async fn delete(&self, conn: &mut Conn, argument: &str) -> Result<VDiffResponse> {
        let (name, which) = (&self.name, self.which(argument));
        let sql = format!(
            "delete vd, vdt, vdl from {name}.vdiff as vd left join {name}.vdiff_table as vdt on vd.id = vdt.vdiff_id \
             left join {name}.vdiff_log as vdl on vd.id = vdl.vdiff_id where {which}"
        );
        fetch::fetch(conn, sql.as_bytes(), 1).await?;
        Ok(VDiffResponse::default())
    }

    async fn stop(&self, conn: &mut Conn, argument: &str) -> Result<VDiffResponse> {
        let (name, which) = (&self.name, self.which(argument));
        let sql =
            format!("update {name}.vdiff set state = 'stopped' where {which} and state in ('pending', 'started')");
        fetch::fetch(conn, sql.as_bytes(), 1).await?;
        Ok(VDiffResponse::default())
    }

    async fn show(&self, conn: &mut Conn, argument: &str) -> Result<VDiffResponse> {
        let (name, of) = (&self.name, &self.of);
        if argument == "all" {
            let sql = format!("select * from {name}.vdiff where {of} order by id desc limit 100");
            let output = fetch::fetch(conn, sql.as_bytes(), 100).await?;
            return Ok(VDiffResponse { output: Some(output), ..VDiffResponse::default() });
        }
        let which = if argument == "last" { of.clone() } else { self.which(argument) };
        let sql = format!("select vdiff_uuid from {name}.vdiff where {which} order by id desc limit 1");
        let found = fetch::fetch(conn, sql.as_bytes(), 1).await?;
        let uuid = found.rows.first().map(|row| String::from_utf8_lossy(&row.values).into_owned());
        let Some(uuid) = uuid else {
            let vdiff_uuid = if argument == "last" { String::new() } else { argument.to_lowercase() };
            return Ok(VDiffResponse { vdiff_uuid, ..VDiffResponse::default() });
        };
        let sql = format!(
            "select vd.state as vdiff_state, vd.last_error as last_error, vdt.table_name as table_name, \
             vd.vdiff_uuid as 'uuid', vdt.state as table_state, vdt.table_rows as table_rows, \
             vd.started_at as started_at, vdt.rows_compared as rows_compared, vd.completed_at as completed_at, \
             if(vdt.mismatch = 1, 1, 0) as has_mismatch, vdt.report as report \
             from {name}.vdiff as vd left join {name}.vdiff_table as vdt on vd.id = vdt.vdiff_id \
             where vd.vdiff_uuid = {}",
            literal::string(&uuid)
        );
        let output = fetch::fetch(conn, sql.as_bytes(), 10_000).await?;
        Ok(VDiffResponse { output: Some(output), vdiff_uuid: uuid, ..VDiffResponse::default() })
    }
}
