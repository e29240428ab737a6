//! Much that flows, and what does not flow: clients that receive much are served, clients that read nothing are given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::body::Body;
use tower::ServiceExt;
use vtmigrated_proto::vschema::Keyspace;
use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient;

use super::Server;
use super::connections::{PREFACE, connect, frame, head};

/// A keyspace whose VSchema has some megabytes.
async fn large(server: &Server) -> usize {
    sized(server, 3500).await
}

/// One whose VSchema has so many tables, of a kB each.
async fn sized(server: &Server, tables: usize) -> usize {
    let mut client = server.client(None).await;
    client.create_keyspace(CreateKeyspaceRequest { name: "ks".into(), ..Default::default() }).await.unwrap();
    let table = |at: usize| TablesEntry { key: format!("{}{at}", "t".repeat(900)), value: Some(Default::default()) };
    let vschema = Keyspace { tables: (0..tables).map(table).collect(), ..Keyspace::default() };
    let size = prost::Message::encoded_len(&vschema);
    let apply = ApplyVSchemaRequest { keyspace: "ks".into(), v_schema: Some(vschema), ..Default::default() };
    client.apply_v_schema(apply).await.unwrap();
    size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_a_hundred_megabytes_is_served_beside_one_that_floods() {
    let server = Server::start(&[]).await;
    let size = large(&server).await;
    // windows as small as grpc-go begins with, and pings that measure the line
    let endpoint = server.endpoint(None).initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    for endpoint in [endpoint.clone(), endpoint.http2_adaptive_window(true)] {
        let client = VtctldClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(16 << 20);
        let mut read = 0;
        while read < 100 << 20 {
            let calls = (0..4).map(|_| client.clone().get_v_schema_owned("ks"));
            for vschema in futures::future::join_all(calls).await {
                read += prost::Message::encoded_len(&vschema.unwrap());
            }
        }
        assert!(read >= 100 << 20 && size > 3 << 20);
    }
    // pings while answers are read: what is sent to this client does not pay for a flood
    let mut flooding = connect(&server).await;
    flooding.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await.unwrap();
    let (mut reading, mut writing) = flooding.into_split();
    let reads = tokio::spawn(async move {
        let mut rest = Vec::new();
        reading.read_to_end(&mut rest).await.ok();
    });
    let pings = frame(6, 0, 0, &[0; 8]).repeat(100);
    let mut sent = 0;
    while sent < 1000 && writing.write_all(&pings).await.is_ok() {
        sent += 1;
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(30), reads).await.unwrap().unwrap();
}

trait Ask {
    async fn get_v_schema_owned(self, keyspace: &str) -> Result<Keyspace, tonic::Status>;
}

impl Ask for VtctldClient<tonic::transport::Channel> {
    async fn get_v_schema_owned(mut self, keyspace: &str) -> Result<Keyspace, tonic::Status> {
        let answer = self.get_v_schema(GetVSchemaRequest { keyspace: keyspace.into() }).await?;
        Ok(answer.into_inner().v_schema.unwrap())
    }
}

/// Calls on streams with room for so many bytes of their answers.
fn unread(calls: u32, room: u8) -> Vec<u8> {
    let call = |at: u32| [frame(1, 4, at * 2 + 1, &head("GetKeyspaces")), frame(0, 1, at * 2 + 1, &[0; 5])].concat();
    let calls: Vec<u8> = (0..calls).flat_map(call).collect();
    [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, room]), &calls].concat()
}

#[tokio::test]
async fn answers_that_nobody_reads_are_given_up() {
    let server = Server::start(&[]).await;
    let mut unreading = connect(&server).await;
    unreading.write_all(&unread(20, 0)).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), unreading.read_to_end(&mut rest)).await;
    ended.unwrap().ok();
    server.client(None).await.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
}

/// Asks for an answer on a stream with room for its first byte, until it is hung up on; what came.
async fn reads_a_byte(tables: usize, rpc: &str, asked: &[u8]) -> Vec<u8> {
    let server = Server::start(&[]).await;
    sized(&server, tables).await;
    let mut hostile = connect(&server).await;
    let call = [frame(1, 4, 1, &head(rpc)), frame(0, 1, 1, asked)].concat();
    hostile.write_all(&[PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]), &call].concat()).await.unwrap();
    let mut came = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), hostile.read_to_end(&mut came)).await;
    ended.unwrap().ok();
    came
}

#[tokio::test]
async fn an_answer_of_which_a_byte_is_read_is_given_up_too() {
    let vschema = |tables| reads_a_byte(tables, "GetVSchema", b"\0\0\0\0\x04\x0a\x02ks");
    // some bytes, less than a kB, a bit more, and megabytes
    let few = reads_a_byte(1, "GetKeyspaces", &[0; 5]);
    let came = tokio::join!(few, vschema(1), vschema(2), vschema(3500));
    for came in [came.0, came.1, came.2, came.3] {
        assert!(came.len() < 1000, "more came than there was room for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_short_answers_at_once_is_served_however_many_there_are() {
    // as many answers may wait as are asked for at once
    let server = Server::start(&["--grpc-max-concurrent-calls=10".into()]).await;
    let client = server.client(None).await;
    let calling = async {
        for _ in 0..40 {
            for ended in futures::future::join_all((0..20).map(|_| has_its_turn(client.clone()))).await {
                ended.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(300), calling).await.unwrap();
}

/// Asks until the call has its turn: on a busy machine that may take longer than the second that a call waits for it.
async fn has_its_turn(mut client: VtctldClient<tonic::transport::Channel>) -> Result<(), tonic::Status> {
    loop {
        match client.get_keyspaces(GetKeyspacesRequest {}).await {
            Err(status) if status.message().contains("too many concurrent calls") => {}
            ended => return ended.map(drop),
        }
    }
}

/// Sends 12 MB of a greater request, and no more; how that ends.
async fn sends_a_part(server: &Server) -> Result<(), tonic::transport::Error> {
    let channel = server.endpoint(None).connect().await?;
    let begin = Bytes::from_static(&[0, 0, 0xf0, 0, 0]);
    let parts = std::iter::once(begin).chain(std::iter::repeat_n(Bytes::from(vec![0u8; 64 << 10]), 192));
    let parts = futures::stream::iter(parts.map(|part| Ok::<_, tonic::Status>(Frame::data(part))));
    let body = Body::new(StreamBody::new(parts.chain(futures::stream::pending())));
    let request = http::Request::post("/vtctlservice.Vtctld/ApplyVSchema").header("content-type", "application/grpc");
    channel.oneshot(request.body(body).unwrap()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_do_not_end_hold_no_more_than_there_is_room_for() {
    // two messages of the greatest length have room
    let server = Server::start(&["--grpc-max-held-bytes=1".into()]).await;
    let mut small = server.client(None).await;
    small.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    let hostile = (0..4).map(|_| Box::pin(sends_a_part(&server)));
    let ended = tokio::time::timeout(Duration::from_secs(60), futures::future::select_all(hostile)).await;
    assert!(ended.unwrap().0.is_err(), "one is hung up on before any is answered that it takes too long");
    for _ in 0..20 {
        small.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    }
}

/// Works beside what does not end.
async fn beside<T, U>(hostile: impl Future<Output = T>, working: impl Future<Output = U>, limit: Duration) {
    let ended = async {
        tokio::select! {
            _ = hostile => panic!("this does not end by itself"),
            _ = working => {}
        }
    };
    tokio::time::timeout(limit, ended).await.unwrap();
}

/// Leaves answers unread but for so many bytes, comes back when it is hung up on, and counts that.
async fn leaves_unread(server: &Server, room: u8, hung_up: &AtomicUsize) {
    loop {
        let mut stream = connect(server).await;
        // a connection that is closed while it is written to was hung up on, too
        stream.write_all(&unread(100, room)).await.ok();
        stream.read_to_end(&mut Vec::new()).await.ok();
        hung_up.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_fill_their_own_bound_and_fail_no_call_of_others() {
    const CLIENTS: usize = 6;
    // a call waits a second for its turn: with many places a slow machine refuses so many calls that the bound is never reached, and
    // clients have all their time to read
    let server = Server::start(&["--grpc-max-concurrent-calls=20".into()]).await;
    let size = large(&server).await;
    let hung_up = AtomicUsize::new(0);
    // half of them read a byte of each answer
    let rooms = [0, 1].into_iter().cycle().take(CLIENTS);
    let hostile = futures::future::join_all(rooms.map(|room| leaves_unread(&server, room, &hung_up)));
    let was_full = || hung_up.load(Ordering::Relaxed) >= 5 * CLIENTS;
    let mut small = server.client(None).await;
    let calling = async {
        let mut calls = 0;
        while calls < 300 || !was_full() {
            small.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
            calls += 1;
            // the machine is for those who flood, too
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let endpoint = server.endpoint(None).initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let client = VtctldClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(16 << 20);
    let reading = async {
        let mut read = 0;
        while read < 10 * size || !was_full() {
            let calls = (0..2).map(|_| client.clone().get_v_schema_owned("ks"));
            for vschema in futures::future::join_all(calls).await {
                read += prost::Message::encoded_len(&vschema.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    beside(hostile, async { tokio::join!(calling, reading) }, Duration::from_secs(400)).await;
}

/// Keeps more calls with some work under way than there are places.
async fn fills_all_places(client: VtctldClient<tonic::transport::Channel>) {
    loop {
        futures::future::join_all((0..20).map(|_| client.clone().get_v_schema_owned("ks"))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fills_all_places_leaves_others_their_turns() {
    // work in memory holds a thread: with more places than threads they would never be all taken
    let server = Server::start(&["--grpc-max-concurrent-calls=1".into()]).await;
    sized(&server, 350).await;
    let greedy = server.client(None).await;
    let mut modest = server.client(None).await;
    let working = async {
        for _ in 0..100 {
            modest.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
        }
    };
    beside(fills_all_places(greedy), working, Duration::from_secs(400)).await;
}
