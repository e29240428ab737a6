//! Changes of a source, read from its binlog (`VStream`).

mod packets;
mod rows;
mod statement;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use mysql_async::{
    BinlogStream, BinlogStreamRequest,
    binlog::events::{Event, EventData, GtidEvent, QueryEvent, TableMapEvent},
    prelude::Queryable,
};
use tokio::sync::mpsc;
use tonic::Status;
use uuid::Uuid;
use vtmigrated_proto::binlogdata::{FieldEvent, Filter, VEvent, VEventType, VStreamRequest, VStreamResponse};

use self::{packets::Packets, statement::Kind};
use crate::{
    filter::{self, Plan},
    gtid::GtidSet,
    schema,
    shared::{KillGuard, Shared, mysql_error},
    value,
};

const IDLE: Duration = Duration::from_millis(900);

/// Where responses go; closed when the client has left.
pub type Sender = mpsc::Sender<Result<VStreamResponse, Status>>;

/// Streams the transactions after the request's position until the client leaves. Each ends with the set of all GTIDs up to
/// and with it; tables of other databases and tables without a rule leave only that set.
///
/// # Errors
/// INTERNAL for a position that is none, INVALID_ARGUMENT for one that the server has not reached, UNKNOWN for all that
/// happens on the way: `stream (at source tablet) error @ <position>: <why>`.
pub async fn run(shared: &Arc<Shared>, request: VStreamRequest, out: &Sender) -> Result<(), Status> {
    let executed = executed(shared).await?;
    let mut packets = Packets::new(&shared.options, out.clone());
    let position = match request.position.as_str() {
        "" => return Err(Status::unknown("stream needs a position or a table to copy")),
        "current" => {
            packets.gtid(0, &executed);
            packets.last(0, VEventType::Other).await;
            executed
        }
        text => start(text, &executed)?,
    };
    let filter = request.filter.unwrap_or_default();
    let mut reader = Reader { shared: Arc::clone(shared), filter, position, tables: HashMap::new(), packets };
    reader.run().await.map_err(|error| {
        let text = format!("stream (at source tablet) error @ {}: {error}", reader.position);
        tracing::warn!(tablet = shared.options.alias_text(), "{text}");
        Status::unknown(text)
    })
}

/// Why a stream breaks.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Sql(String),
    #[error("can't parse binlog event: {0}")]
    Event(#[from] std::io::Error),
    #[error(transparent)]
    Filter(#[from] filter::Error),
    #[error("{source}\nfailed to extract row's {image} values from binlog event and apply filters")]
    Row { image: &'static str, source: RowError },
    #[error("cannot determine table columns for {table}: event has {event} columns, schema has {schema}")]
    Columns { table: String, event: u64, schema: usize },
    #[error("partial row image encountered: ensure binlog_row_image is set to 'full'")]
    PartialImage,
    #[error("row event for unknown table id {0}")]
    TableId(u64),
    #[error("transaction without GTID: ensure gtid_mode is ON")]
    Anonymous,
    #[error("unexpected server EOF while parsing events")]
    Ended,
}

/// Why one image of a row cannot be sent.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error(transparent)]
    Value(#[from] value::Error),
    #[error(transparent)]
    Filter(#[from] filter::Error),
}

struct Reader {
    shared: Arc<Shared>,
    filter: Filter,
    /// Everything before the event that is being read, that event's transaction included.
    position: GtidSet,
    /// By binlog table id, which changes with the table; `None` when no rule matches.
    tables: HashMap<u64, Option<Plan>>,
    packets: Packets,
}

impl Reader {
    async fn run(&mut self) -> Result<(), Error> {
        let (mut events, _guard) = self.open().await?;
        while !self.packets.is_closed() {
            tokio::select! {
                event = events.next() => {
                    let event = event.ok_or(Error::Ended)?;
                    let event = event.map_err(|error| Error::Sql(mysql_error(&error, "binlog dump")))?;
                    self.read(&event, &events).await?;
                }
                () = tokio::time::sleep(IDLE) => self.packets.heartbeat().await,
            }
        }
        Ok(())
    }

    /// The server ends the older of two readers with one identity, hence a fresh one for each stream.
    async fn open(&self) -> Result<(BinlogStream, KillGuard), Error> {
        let identity = Uuid::new_v4();
        let failed = |error: mysql_async::Error| Error::Sql(mysql_error(&error, "binlog dump"));
        let mut conn = self.shared.connect().await.map_err(failed)?;
        let guard = KillGuard::new(&self.shared, &conn);
        conn.query_drop(format!("set @slave_uuid = '{identity}', @replica_uuid = '{identity}'"))
            .await
            .map_err(failed)?;
        conn.query_drop("set @@session.net_write_timeout = 600").await.map_err(failed)?;
        let server_id = identity.as_fields().0 | 1;
        let request = BinlogStreamRequest::new(server_id).with_gtid().with_gtid_set(self.position.sids());
        Ok((conn.get_binlog_stream(request).await.map_err(failed)?, guard))
    }

    async fn read(&mut self, event: &Event, events: &BinlogStream) -> Result<(), Error> {
        let seconds = event.header().timestamp().into();
        match event.read_data()? {
            Some(EventData::GtidEvent(gtid)) => self.begin(&gtid),
            Some(EventData::AnonymousGtidEvent(_)) => return Err(Error::Anonymous),
            Some(EventData::QueryEvent(query)) => self.statement(seconds, &query).await,
            Some(EventData::XidEvent(_)) => self.commit(seconds).await,
            Some(EventData::TableMapEvent(map)) => self.table(seconds, &map).await?,
            Some(EventData::RowsEvent(rows)) => {
                let id = rows.table_id();
                let plan = self.tables.get(&id).ok_or(Error::TableId(id))?;
                let (Some(plan), Some(map)) = (plan, events.get_tme(id)) else { return Ok(()) };
                if let Some(event) = rows::event(plan, &rows, map)? {
                    self.packets.rows(seconds, event).await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, gtid: &GtidEvent) {
        self.position.add(Uuid::from_bytes(gtid.sid()), gtid.gno());
    }

    async fn commit(&mut self, seconds: i64) {
        self.packets.gtid(seconds, &self.position);
        self.packets.last(seconds, VEventType::Commit).await;
    }

    async fn statement(&mut self, seconds: i64, query: &QueryEvent<'_>) {
        let sql = query.query();
        match statement::kind(&sql, &query.schema(), &self.shared.options.db_name, &self.filter) {
            Kind::Begin => self.packets.push(seconds, VEventType::Begin),
            Kind::Commit => self.commit(seconds).await,
            Kind::Nothing => {}
            Kind::Dml(kind) => self.packets.add(seconds, VEvent { dml: sql.into_owned(), ..Packets::event(kind) }),
            Kind::Ddl => {
                self.packets.gtid(seconds, &self.position);
                let statement = sql.into_owned();
                self.packets.add_last(seconds, VEvent { statement, ..Packets::event(VEventType::Ddl) }).await;
            }
            Kind::Other => {
                self.packets.gtid(seconds, &self.position);
                self.packets.last(seconds, VEventType::Other).await;
            }
        }
    }

    /// Plans a table at the first event of its id and tells the client its fields.
    async fn table(&mut self, seconds: i64, map: &TableMapEvent<'_>) -> Result<(), Error> {
        if self.tables.contains_key(&map.table_id()) {
            return Ok(());
        }
        let plan = match map.database_name() == self.shared.options.db_name {
            true => self.plan(map).await?,
            false => None,
        };
        if let Some(plan) = &plan {
            let fields = plan.fields();
            let has_members = plan.table.columns.iter().any(|column| !column.members.is_empty());
            self.packets.fields(
                seconds,
                FieldEvent {
                    table_name: plan.table.name.clone(),
                    fields,
                    enum_set_string_values: has_members,
                    ..FieldEvent::default()
                },
            );
        }
        self.tables.insert(map.table_id(), plan);
        Ok(())
    }

    /// The schema is that of now, which may be newer than the event.
    async fn plan(&self, map: &TableMapEvent<'_>) -> Result<Option<Plan>, Error> {
        let name = map.table_name();
        let Some(query) = filter::query_of(&self.filter, &name)? else { return Ok(None) };
        let query = filter::parse(&query)?;
        if let Some(column) = query.zones.keys().next() {
            return Err(filter::Error::Function(format!("convert_tz({column})")).into());
        }
        let options = &self.shared.options;
        let failed = |error: mysql_async::Error| Error::Sql(mysql_error(&error, "read schema"));
        let mut conn = self.shared.pool.get_conn().await.map_err(failed)?;
        let table = schema::read_table(&mut conn, &options.db_name, &name).await.map_err(failed)?;
        let columns = table.as_ref().map_or(0, |table| table.columns.len());
        let wrong = || Error::Columns { table: name.to_string(), event: map.columns_count(), schema: columns };
        let table = table.filter(|_| columns as u64 == map.columns_count()).ok_or_else(wrong)?;
        Ok(Some(filter::plan(&query, table, &self.shared.vschema(), &options.keyspace)?))
    }
}

async fn executed(shared: &Shared) -> Result<GtidSet, Status> {
    let sql = "select @@global.gtid_executed";
    let read = async { shared.pool.get_conn().await?.query_first::<String, _>(sql).await };
    let failed = |why: String| Status::unknown(format!("{why}\ncould not obtain current position"));
    let text = read.await.map_err(|error| failed(mysql_error(&error, sql)))?;
    GtidSet::parse(&text.unwrap_or_default()).map_err(|error| failed(error.to_string()))
}

fn start(text: &str, executed: &GtidSet) -> Result<GtidSet, Status> {
    let position = GtidSet::parse_position(text);
    let position = position.map_err(|error| Status::internal(format!("could not decode position: {error}")))?;
    if executed.contains(&position) {
        return Ok(position);
    }
    let (asked, have) = (position.position(), executed.position());
    Err(Status::invalid_argument(format!(
        "GTIDSet Mismatch: requested source position:{asked}, current target vrep position: {have}"
    )))
}
