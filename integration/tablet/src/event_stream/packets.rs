//! Events on their way to the client: buffered until the transaction ends or grows beyond a packet.

use std::time::{SystemTime, UNIX_EPOCH};

use vtmigrated_proto::{
    binlogdata::{FieldEvent, RowChange, RowEvent, VEvent, VEventType, VStreamResponse},
    query::Row,
};

use super::Sender;
use crate::{gtid::GtidSet, options::Options, row_stream::PACKET};

pub(super) struct Packets {
    keyspace: String,
    shard: String,
    out: Sender,
    events: Vec<VEvent>,
    /// Bytes of the row values in `events`.
    bytes: usize,
}

impl Packets {
    pub(super) fn new(options: &Options, out: Sender) -> Self {
        let (keyspace, shard) = (options.keyspace.clone(), options.shard.clone());
        Self { keyspace, shard, out, events: Vec::new(), bytes: 0 }
    }

    pub(super) fn event(kind: VEventType) -> VEvent {
        VEvent { r#type: kind.into(), ..VEvent::default() }
    }

    /// Whether the client has left.
    pub(super) fn is_closed(&self) -> bool {
        self.out.is_closed()
    }

    /// Buffers an event. `seconds` is the binlog's time; 0 stands for now.
    pub(super) fn add(&mut self, seconds: i64, event: VEvent) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        self.events.push(VEvent {
            timestamp: if seconds == 0 { now_seconds } else { seconds },
            current_time: i64::try_from(now.as_nanos()).unwrap_or_default(),
            keyspace: self.keyspace.clone(),
            shard: self.shard.clone(),
            ..event
        });
    }

    pub(super) fn push(&mut self, seconds: i64, kind: VEventType) {
        self.add(seconds, Self::event(kind));
    }

    pub(super) fn gtid(&mut self, seconds: i64, position: &GtidSet) {
        self.add(seconds, VEvent { gtid: position.position(), ..Self::event(VEventType::Gtid) });
    }

    pub(super) fn fields(&mut self, seconds: i64, event: FieldEvent) {
        let event = FieldEvent { keyspace: self.keyspace.clone(), shard: self.shard.clone(), ..event };
        self.add(seconds, VEvent { field_event: Some(event), ..Self::event(VEventType::Field) });
    }

    /// Buffers rows; what is there already is sent first if both together would exceed a packet.
    pub(super) async fn rows(&mut self, seconds: i64, event: RowEvent) {
        let image = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.values.len());
        let bytes = |change: &RowChange| image(&change.before) + image(&change.after);
        let bytes: usize = event.row_changes.iter().map(bytes).sum();
        if self.bytes + bytes > PACKET {
            self.flush().await;
        }
        self.bytes += bytes;
        let event = RowEvent { keyspace: self.keyspace.clone(), shard: self.shard.clone(), ..event };
        self.add(seconds, VEvent { row_event: Some(event), ..Self::event(VEventType::Row) });
    }

    /// Buffers an event that ends a response, and sends it.
    pub(super) async fn add_last(&mut self, seconds: i64, event: VEvent) {
        self.add(seconds, event);
        self.flush().await;
    }

    pub(super) async fn last(&mut self, seconds: i64, kind: VEventType) {
        self.add_last(seconds, Self::event(kind)).await;
    }

    pub(super) async fn heartbeat(&mut self) {
        self.last(0, VEventType::Heartbeat).await;
    }

    async fn flush(&mut self) {
        self.bytes = 0;
        let events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return;
        }
        // A client that has left is noticed by `is_closed`.
        let _gone = self.out.send(Ok(VStreamResponse { events })).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_large_transaction_spans_several_responses() {
        let (out, mut responses) = mpsc::channel(8);
        let mut packets = Packets::new(&Options::new("zone1", 1, "commerce", "0", 1), out);
        let row = |bytes: usize| {
            let after = Some(Row { lengths: vec![bytes as i64], values: vec![b'x'; bytes] });
            RowEvent { row_changes: vec![RowChange { after, ..RowChange::default() }], ..RowEvent::default() }
        };
        packets.push(7, VEventType::Begin);
        packets.rows(7, row(PACKET - 1)).await;
        packets.rows(7, row(2)).await;
        packets.gtid(7, &GtidSet::default());
        packets.last(7, VEventType::Commit).await;
        let mut kinds = || {
            let response = responses.try_recv().expect("a response").expect("no error");
            assert!(response.events.iter().all(|event| event.timestamp == 7 && event.keyspace == "commerce"));
            response.events.iter().map(|event| event.r#type()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(), [VEventType::Begin, VEventType::Row]);
        assert_eq!(kinds(), [VEventType::Row, VEventType::Gtid, VEventType::Commit]);
    }
}
