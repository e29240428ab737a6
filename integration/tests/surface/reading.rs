//! Clients that read much at full speed are served; those that flood beside them are hung up on. The clients are those that
//! people have: tonic here, grpc-go as a program of its own (`integration/stock/reader`), grpc-java in `integration/java`.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use integration::{client::MESSAGE_LIMIT, process, server::Server};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};
use tonic::transport::Endpoint;
use vtmigrated_proto::{
    vschema::{Keyspace, keyspace::TablesEntry},
    vtctldata::{ApplyVSchemaRequest, CreateKeyspaceRequest, GetVSchemaRequest},
    vtctlservice::vtctld_client::VtctldClient,
};

/// What a client reads.
const MUCH: usize = 100 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A server with a keyspace `ks` whose VSchema has some megabytes.
async fn start() -> Server {
    let server = Server::start::<&str>(&[]).await.unwrap();
    let mut client = server.client().await.unwrap();
    let create = CreateKeyspaceRequest { name: "ks".to_owned(), ..CreateKeyspaceRequest::default() };
    client.create_keyspace(create).await.unwrap();
    let name = |at: usize| format!("{}{at}", "t".repeat(900));
    let table = |at| TablesEntry { key: name(at), value: Some(Default::default()) };
    let v_schema = Some(Keyspace { tables: (0..3500).map(table).collect(), ..Keyspace::default() });
    let apply = ApplyVSchemaRequest { keyspace: "ks".to_owned(), v_schema, ..ApplyVSchemaRequest::default() };
    client.apply_v_schema(apply).await.unwrap();
    server
}

/// Reads over one connection of tonic's.
async fn tonic_reads(server: &Server) {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc_address())).unwrap();
    let client = VtctldClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(MESSAGE_LIMIT);
    let mut read = 0;
    while read < MUCH {
        let calls = (0..4).map(|_| {
            let mut client = client.clone();
            async move { client.get_v_schema(GetVSchemaRequest { keyspace: "ks".to_owned() }).await }
        });
        for answer in join_all(calls).await {
            read += answer.unwrap().into_inner().encoded_len();
        }
    }
}

/// Reads over one connection of grpc-go's, with windows that grow and with small ones, and a little with an empty `:authority`.
async fn go_reads(server: &Server) {
    let reader = process::installed("bin/reader").unwrap();
    let arguments = [server.grpc_address().to_string(), "ks".to_owned(), MUCH.to_string()];
    let done = Command::new(reader).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Floods with one kind of frame until it is hung up on, again and again; counts. What was written last may lie in the
/// buffers of the kernel: that the server has closed its side is what tells.
async fn floods(server: &Server, frame: &[u8], count: Arc<AtomicUsize>) {
    loop {
        let mut stream = TcpStream::connect(server.grpc_address()).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let drained = tokio::spawn(async move { tokio::io::copy(&mut reading, &mut tokio::io::sink()).await.ok() });
        let some = frame.repeat(100);
        let mut sent = 0;
        while sent < 100_000 && writing.write_all(&some).await.is_ok() {
            sent += 100;
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(Duration::from_secs(30), drained).await.unwrap().unwrap();
        drop(writing);
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many clients that flood the server's metrics say it has hung up on.
async fn counted(server: &Server) -> f64 {
    let mut stream = TcpStream::connect(server.http_address()).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let is_wanted =
        |line: &&str| line.starts_with("vtmigrated_connections_hung_up_total") && line.contains(r#"reason="flood""#);
    let line = page.lines().find(is_wanted).unwrap_or_else(|| panic!("{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_clients_read_a_hundred_megabytes_while_floods_are_hung_up_on() {
    let server = start().await;
    // a ping, settings, room for what is not sent
    let pings = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let updates = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let reads = async {
        tonic_reads(&server).await;
        go_reads(&server).await;
    };
    let flood = async {
        let [first, second, third] = counts.each_ref().map(Arc::clone);
        tokio::join!(
            floods(&server, &pings, first),
            floods(&server, &settings, second),
            floods(&server, &updates, third)
        )
    };
    tokio::select! {
        () = reads => {}
        _ = flood => unreachable!("floods have no end"),
    }
    for count in &counts {
        assert!(count.load(Ordering::Relaxed) > 0, "each kind is hung up on");
    }
    assert!(counted(&server).await > 0.0);
    assert!(server.term().await.unwrap().success(), "{}", server.process().log_tail());
}
