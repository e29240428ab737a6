use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use tonic::service::Routes;

use super::super::open;
use super::*;

#[test]
fn a_silent_member_gets_all_the_time_only_when_it_is_alone() {
    let left = Duration::from_secs(15);
    assert_eq!(member_timeout(1, 0, left), left);
    assert_eq!(member_timeout(1, 5, left), left);
    for tried in 0..12 {
        assert!(member_timeout(3, tried, left) <= left / 2, "{tried}");
    }
    assert_eq!(member_timeout(3, 2, left), MEMBER_TIMEOUT);
    // near the end it is a second, or what there is
    assert_eq!(member_timeout(3, 7, Duration::from_millis(1500)), MIN_TIMEOUT);
    assert_eq!(member_timeout(3, 7, Duration::from_millis(300)), Duration::from_millis(300));
}

/// Code and text of a refusal.
type Refusal = (&'static str, &'static str);

/// How a member answers.
#[derive(Clone, Default)]
struct Fake {
    /// How long a listing takes it; without it, nothing is ever answered.
    lists_in: Option<Duration>,
    listings: Arc<AtomicU32>,
    /// What it says to the next listings instead.
    says: Arc<std::sync::Mutex<VecDeque<Refusal>>>,
    /// Tokens that it has given.
    tokens: Arc<AtomicU32>,
}

/// A message behind its length, and that all is well.
fn answer(message: &'static [u8]) -> Response {
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(message)).with_trailers(async move { Some(Ok(status)) });
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

fn refusal((code, text): Refusal) -> Response {
    let head = Response::builder().header("content-type", "application/grpc");
    head.header("grpc-status", code).header("grpc-message", text).body(Body::empty()).unwrap()
}

/// A range of keys, of which none is there.
async fn range(State(fake): State<Fake>, request: Bytes) -> Response {
    // a message behind its length: the first field is the key
    if !request.get(5..).is_some_and(|message| message.starts_with(&[0x0a, 1, 0])) {
        fake.listings.fetch_add(1, Ordering::SeqCst);
        let said = fake.says.lock().unwrap().pop_front();
        match (said, fake.lists_in) {
            (Some(said), _) => return refusal(said),
            (None, Some(wait)) => tokio::time::sleep(wait).await,
            (None, None) => pending().await,
        }
    } else if fake.lists_in.is_none() {
        pending::<()>().await;
    }
    answer(&[0; 5])
}

/// A message with one field, the token.
async fn authenticate(State(fake): State<Fake>) -> Response {
    fake.tokens.fetch_add(1, Ordering::SeqCst);
    answer(&[0, 0, 0, 0, 3, 0x12, 1, b't'])
}

impl Fake {
    /// Answers its address. It ends with the test's runtime.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().route("/etcdserverpb.KV/Range", post(range));
        let router = router.route("/etcdserverpb.Auth/Authenticate", post(authenticate)).with_state(self.clone());
        let server = tonic::transport::Server::builder().add_routes(Routes::from(router));
        tokio::spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
        address
    }

    fn listings(&self) -> u32 {
        self.listings.load(Ordering::SeqCst)
    }
}

/// Longer than a member may be silent, so that three of them have no time to answer one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_takes_long_is_waited_for_where_small_questions_are_answered() {
    let slow = Fake { lists_in: Some(MEMBER_TIMEOUT + Duration::from_secs(1)), ..Fake::default() };
    let address = slow.start().await;
    let conn = open(&format!("{address},{address},{address}"), "/test/root", Access::default()).await.unwrap();
    assert!(conn.list("cells").await.unwrap().is_empty());
    assert_eq!(slow.listings(), 1, "it was asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_answers_nothing_is_left() {
    let silent = Fake::default();
    let well = Fake { lists_in: Some(Duration::ZERO), ..Fake::default() };
    let addresses = format!("{},{}", silent.start().await, well.start().await);
    let conn = open(&addresses, "/test/root", Access::default()).await.unwrap();
    for _ in 0..2 {
        assert!(conn.list("cells").await.unwrap().is_empty());
    }
    assert_eq!((silent.listings(), well.listings()), (1, 2));
}

/// Each member has given a token, and a change of users makes all of them stale.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_token_is_renewed_at_every_member_that_one_call_comes_to() {
    const STALE: Refusal = ("3", "etcdserver: revision of auth store is old");
    const LEADERLESS: Refusal = ("14", "etcdserver: no leader");
    let well = || Fake { lists_in: Some(Duration::ZERO), ..Fake::default() };
    let members = [well(), well()];
    let addresses = format!("{},{}", members[0].start().await, members[1].start().await);
    let user = Some(("root".to_owned(), Secret::new("planted")));
    let conn = open(&addresses, "/test/root", Access { user, ..Access::default() }).await.unwrap();
    let says = |at: usize, refusals: &[Refusal]| members[at].says.lock().unwrap().extend(refusals);
    // the first call signs in at both, and the second member is asked from then on
    says(0, &[LEADERLESS]);
    assert!(conn.list("cells").await.unwrap().is_empty());
    says(1, &[STALE, LEADERLESS]);
    says(0, &[STALE]);
    assert!(conn.list("cells").await.unwrap().is_empty());
    assert_eq!(members.each_ref().map(|member| member.tokens.load(Ordering::SeqCst)), [2, 2]);
    assert_eq!(members.each_ref().map(Fake::listings), [3, 3]);
}
