//! Clients that mean no good, beside one that does.

use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use vtmigrated_proto::vtctldata::{CreateKeyspaceRequest, GetKeyspacesRequest};

use super::Server;
use crate::support::pki::Pki;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The header of a call, each field in no table.
pub fn head(rpc: &str) -> Vec<u8> {
    head_of(rpc, b"\x00\x0a:authority\x04test")
}

/// The same with an authority as it is sent.
fn head_of(rpc: &str, authority: &[u8]) -> Vec<u8> {
    let path = format!("/vtctlservice.Vtctld/{rpc}");
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut head = Vec::new();
    for (name, value) in fields {
        if name == "content-type" {
            head.extend_from_slice(authority);
        }
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).unwrap());
            head.extend_from_slice(text.as_bytes());
        }
    }
    head
}

/// Sends until the other side closes the connection, or all is sent; then waits for that close.
async fn is_closed(mut stream: TcpStream, chunks: impl Iterator<Item = Vec<u8>>) -> bool {
    for chunk in chunks {
        if stream.write_all(&chunk).await.is_err() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await.is_ok()
}

pub async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(("127.0.0.1", server.port)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_are_hung_up_on_and_others_are_served() {
    let server = Server::start(&[]).await;
    let mut client = server.client(None).await;
    let silent = is_closed(connect(&server).await, std::iter::empty());
    let half = is_closed(connect(&server).await, std::iter::once(PREFACE[..10].to_vec()));
    let settings = [PREFACE.to_vec(), frame(4, 0, 0, &[])].concat();
    // HEADERS without END_HEADERS, then CONTINUATION frames without end
    let endless = std::iter::once(settings.clone()).chain(std::iter::once(frame(1, 0, 1, &[0x82]))).chain(
        std::iter::repeat_n(frame(9, 0, 1, &[b"\x40\x01a\x7f\x81\x1f".as_slice(), &[b'x'; 8000]].concat()), 4000),
    );
    let endless = is_closed(connect(&server).await, endless);
    // streams that are opened and reset at once
    let resets = (0..20_000u32).map(|at| {
        let stream = at * 2 + 1;
        [frame(1, 4, stream, &[0x83, 0x86, 0x44, 0x01, b'/']), frame(3, 0, stream, &8u32.to_be_bytes())].concat()
    });
    let resets = is_closed(connect(&server).await, std::iter::once(settings.clone()).chain(resets));
    let garbage = is_closed(connect(&server).await, std::iter::once(vec![0xff; 100_000]));
    let pings = std::iter::repeat_n(frame(6, 0, 0, &[0; 8]).repeat(100), 200);
    let pings = is_closed(connect(&server).await, std::iter::once(settings.clone()).chain(pings));
    let updates = std::iter::repeat_n(frame(4, 0, 0, &[]).repeat(100), 200);
    let updates = is_closed(connect(&server).await, std::iter::once(settings).chain(updates));
    let served = async {
        for _ in 0..200 {
            client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
        }
    };
    let hostile = futures::future::join_all([
        silent.boxed(),
        half.boxed(),
        endless.boxed(),
        resets.boxed(),
        garbage.boxed(),
        pings.boxed(),
        updates.boxed(),
    ]);
    let (closed, ()) = tokio::join!(hostile, served);
    assert_eq!(closed, [true; 7]);
    client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let server = Server::start(&["--grpc-max-connections=2".into()]).await;
    let (mut first, second) = (server.client(None).await, server.client(None).await);
    first.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    let waiting = server.endpoint(None).connect_lazy();
    let mut third = vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient::new(waiting);
    let mut request = tonic::Request::new(GetKeyspacesRequest {});
    request.set_timeout(Duration::from_millis(300));
    let refused = third.get_keyspaces(request).await.unwrap_err();
    assert!(matches!(refused.code(), Code::Cancelled | Code::DeadlineExceeded), "{refused}");
    drop(second);
    third.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
}

#[tokio::test]
async fn absurd_bounds_are_no_panic() {
    let most = [
        "grpc-max-connections",
        "grpc-max-concurrent-calls",
        "grpc-max-held-bytes",
        "topo_read_concurrency",
        "topo_zk_max_concurrency",
    ];
    let server = Server::start(&most.map(|flag| format!("--{flag}={}", i64::MAX))).await;
    let mut client = server.client(None).await;
    client.create_keyspace(CreateKeyspaceRequest { name: "ks".into(), ..Default::default() }).await.unwrap();
    client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_holds_nobody_up() {
    let pki = Pki::new();
    pki.issue("server", 1);
    let server = Server::start(&pki.flags()).await;
    let silent: Vec<TcpStream> = {
        let mut streams = Vec::new();
        for _ in 0..100 {
            let mut stream = connect(&server).await;
            stream.write_all(&[0x16, 3, 1]).await.unwrap();
            streams.push(stream);
        }
        streams
    };
    server.client(Some(pki.trusting())).await.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_and_unread_calls_take_no_place_from_others() {
    let server = Server::start(&["--grpc-max-concurrent-calls=200".into()]).await;
    let mut client = server.client(None).await;
    let call = |at: u32| frame(1, 4, at * 2 + 1, &head("GetKeyspaces"));
    let mut unfinished = connect(&server).await;
    let calls: Vec<u8> = (0..240).flat_map(call).collect();
    unfinished.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &calls].concat()).await.unwrap();
    // an initial window of nothing: no answer has room
    let mut unread = connect(&server).await;
    let calls: Vec<u8> = (0..100).flat_map(|at| [call(at), frame(0, 1, at * 2 + 1, &[0; 5])].concat()).collect();
    unread.write_all(&[PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), &calls].concat()).await.unwrap();
    for _ in 0..100 {
        client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    }
    drop((unfinished, unread));
}

/// Kinds and stream numbers of the frames that come until one ends stream 1 or resets it.
async fn answer(stream: &mut TcpStream) -> Vec<(u8, u32)> {
    let mut frames = Vec::new();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.unwrap();
        let [a, b, c, kind, flags, number @ ..] = header;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let number = u32::from_be_bytes(number);
        frames.push((kind, number));
        if number == 1 && (kind == 3 || flags & 1 != 0) {
            return frames;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_an_empty_authority_is_answered() {
    let server = Server::start(&[]).await;
    // as encoders of Go, C and Java write it, and two more ways
    for authority in [b"\x81".as_slice(), b"\x01\x00", b"\x00\x0a:authority\x00"] {
        for size in [1, 1000] {
            let mut stream = connect(&server).await;
            let head = frame(1, 4, 1, &head_of("GetKeyspaces", authority));
            let sent = [PREFACE.to_vec(), frame(4, 0, 0, &[]), head, frame(0, 1, 1, &[0; 5])].concat();
            for piece in sent.chunks(size) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            let frames = tokio::time::timeout(Duration::from_secs(30), answer(&mut stream)).await.unwrap();
            // header, an empty message in a frame or two, trailers; a reset would be a frame of kind 3
            let of_call = frames.iter().filter(|(_, number)| *number == 1).map(|(kind, _)| *kind);
            let mut of_call: Vec<u8> = of_call.collect();
            of_call.dedup();
            assert_eq!(of_call, [1, 0, 1], "{authority:?}");
        }
    }
}
