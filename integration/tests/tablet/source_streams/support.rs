//! A source tablet on a MySQL server of its own, and what a target would read from it.

use std::{sync::Arc, time::Duration};

use integration::mysqld::Mysqld;
use integration_tablet::{Options, QueryService, Shared, value};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    transport::{Channel, server::TcpIncoming},
};
use vtmigrated_proto::{
    binlogdata::{Filter, Rule, VEvent, VEventType, VStreamRequest, VStreamResponse, VStreamRowsRequest},
    query::{Field, QueryResult, Row, Target},
    queryservice::query_client::QueryClient,
    topodata::TabletType,
    vschema::{self, SrvVSchema},
};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Cells = Vec<Option<Vec<u8>>>;

pub struct Source {
    pub mysql: Mysqld,
    pub shared: Arc<Shared>,
    pub client: QueryClient<Channel>,
}

/// One row stream, read to its end.
#[derive(Debug)]
pub struct Copied {
    pub fields: Vec<Field>,
    pub pkfields: Vec<Field>,
    pub gtid: String,
    pub rows: Vec<Cells>,
    pub lastpk: Option<Row>,
    pub packets: usize,
}

impl Source {
    /// Keyspace `commerce` with the tables that `sql` makes, and the vindex `commerce.hash`.
    pub async fn start(sql: &str) -> Self {
        let mysql = Mysqld::start().await.expect("a MySQL server");
        let options = Options::new("zone1", 100, "commerce", "0", mysql.port());
        let shared = Arc::new(Shared::new(options, CancellationToken::new()));
        shared.create_database().await.expect("a database");
        shared.set_vschema(hash_vschema());
        mysql.run("vt_commerce", sql).await.expect("tables");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tonic::transport::Server::builder().add_service(QueryService::server(Arc::clone(&shared)));
        let ended = shared.shutdown.clone();
        tokio::spawn(server.serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async move {
                ended.cancelled().await;
            },
        ));
        let client = QueryClient::connect(format!("http://{address}")).await.expect("a connection");
        let client = client.max_decoding_message_size(usize::MAX);
        Self { mysql, shared, client }
    }

    pub async fn run(&self, sql: &str) {
        self.mysql.run("vt_commerce", sql).await.expect(sql);
    }

    pub async fn position(&self) -> String {
        let rows = self.mysql.rows("", "select @@global.gtid_executed").await.expect("a position");
        format!("MySQL56/{}", rows[0].get::<String, _>(0).expect("text").replace('\n', ""))
    }

    pub async fn copy(&self, query: &str, lastpk: Option<Row>) -> Result<Copied, Status> {
        let lastpk = lastpk.map(|row| QueryResult { rows: vec![row], ..QueryResult::default() });
        let request = VStreamRowsRequest {
            target: Some(target()),
            query: query.to_owned(),
            lastpk,
            ..VStreamRowsRequest::default()
        };
        let mut stream = self.client.clone().v_stream_rows(request).await?.into_inner();
        let first = timeout(PATIENCE, stream.message()).await.expect("in time")?.expect("packet 0");
        assert!(first.rows.is_empty() && first.lastpk.is_none(), "packet 0 has no rows");
        let mut copied = Copied {
            fields: first.fields,
            pkfields: first.pkfields,
            gtid: first.gtid,
            rows: Vec::new(),
            lastpk: None,
            packets: 0,
        };
        while let Some(packet) = timeout(PATIENCE, stream.message()).await.expect("in time")? {
            if packet.heartbeat {
                continue;
            }
            assert!(packet.fields.is_empty() && packet.gtid.is_empty(), "only packet 0 has fields");
            copied.rows.extend(packet.rows.iter().map(|row| value::from_row(row).expect("a row")));
            copied.lastpk = packet.lastpk;
            copied.packets += 1;
        }
        Ok(copied)
    }

    pub async fn events(&self, position: &str, rules: &[(&str, &str)]) -> Result<Events, Status> {
        let rule = |(name, filter): &(&str, &str)| Rule {
            r#match: (*name).to_owned(),
            filter: (*filter).to_owned(),
            ..Rule::default()
        };
        let filter = Some(Filter { rules: rules.iter().map(rule).collect(), ..Filter::default() });
        let request = VStreamRequest {
            target: Some(target()),
            position: position.to_owned(),
            filter,
            ..VStreamRequest::default()
        };
        Ok(Events { stream: self.client.clone().v_stream(request).await?.into_inner() })
    }
}

pub struct Events {
    stream: Streaming<VStreamResponse>,
}

impl Events {
    /// The next response that is no heartbeat.
    pub async fn next(&mut self) -> Result<Vec<VEvent>, Status> {
        loop {
            let events = self.any().await?;
            if events[0].r#type() != VEventType::Heartbeat {
                return Ok(events);
            }
        }
    }

    pub async fn any(&mut self) -> Result<Vec<VEvent>, Status> {
        let response = timeout(PATIENCE, self.stream.message()).await.expect("in time")?;
        Ok(response.expect("the stream goes on").events)
    }

    /// The status that breaks the stream.
    pub async fn broken(&mut self) -> Status {
        loop {
            if let Err(status) = self.any().await {
                return status;
            }
        }
    }
}

pub fn kinds(events: &[VEvent]) -> Vec<VEventType> {
    events.iter().map(VEvent::r#type).collect()
}

/// Images before and after of every change in the events.
pub fn changes(events: &[VEvent]) -> Vec<(Option<Cells>, Option<Cells>)> {
    let cells = |row: &Row| value::from_row(row).expect("a row");
    let rows = events.iter().filter_map(|event| event.row_event.as_ref()).flat_map(|event| &event.row_changes);
    rows.map(|change| (change.before.as_ref().map(cells), change.after.as_ref().map(cells))).collect()
}

pub fn texts(cells: &Cells) -> Vec<String> {
    let text = |cell: &Option<Vec<u8>>| match cell {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "NULL".to_owned(),
    };
    cells.iter().map(text).collect()
}

fn target() -> Target {
    Target {
        keyspace: "commerce".to_owned(),
        shard: "0".to_owned(),
        tablet_type: TabletType::Primary.into(),
        ..Target::default()
    }
}

fn hash_vschema() -> SrvVSchema {
    let vindex = vschema::Vindex { r#type: "hash".to_owned(), ..vschema::Vindex::default() };
    let vindexes = vec![vschema::keyspace::VindexesEntry { key: "hash".to_owned(), value: Some(vindex) }];
    let keyspace = vschema::Keyspace { vindexes, ..vschema::Keyspace::default() };
    let entry = vschema::srv_v_schema::KeyspacesEntry { key: "commerce".to_owned(), value: Some(keyspace) };
    SrvVSchema { keyspaces: vec![entry], ..SrvVSchema::default() }
}
