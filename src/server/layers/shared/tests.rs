use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

/// What a caller got: a message and trailers.
type Got = (String, Option<HeaderMap>);

/// A service whose answers have the number of the read; each read waits for a permit.
#[derive(Clone)]
struct Rig {
    begun: Arc<AtomicUsize>,
    /// The deadline of each read.
    untils: Arc<Mutex<Vec<Option<Instant>>>>,
    permits: Arc<Semaphore>,
    layer: SharedLayer,
}

impl Rig {
    fn new() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self { begun: Arc::default(), untils: Arc::default(), permits, layer: SharedLayer::new(1 << 20) }
    }

    fn call(&self, path: &'static str, message: &'static str) -> JoinHandle<Got> {
        self.send(request(path, message), None)
    }

    fn send(&self, request: Request, until: Option<Instant>) -> JoinHandle<Got> {
        let Self { begun, untils, permits, layer } = self.clone();
        let service = layer.layer(tower::service_fn(move |_: Request| {
            let (begun, untils, permits) = (Arc::clone(&begun), Arc::clone(&untils), Arc::clone(&permits));
            async move {
                let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
                untils.lock().unwrap().push(deadline::current());
                permits.acquire().await.unwrap().forget();
                let trailers =
                    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(0_i32))]);
                let body = Full::new(Bytes::from(number.to_string()));
                let body = body.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
                Ok::<_, Infallible>(Response::new(Body::new(body)))
            }
        }));
        tokio::spawn(deadline::scope(until, async move {
            let answer = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            let trailers = answer.trailers().cloned();
            (String::from_utf8(answer.to_bytes().to_vec()).unwrap(), trailers)
        }))
    }

    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Asserts that nobody is served, and nobody waits.
    async fn expect_nobody(&self) {
        self.settle().await;
        assert!(self.layer.reads.lines.is_empty());
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

fn request(path: &'static str, message: &'static str) -> Request {
    let body = request_body::body(Bytes::from_static(message.as_bytes()));
    http::Request::builder().method(Method::POST).uri(path).body(body).unwrap()
}

const READ: &str = "/vtctlservice.Vtctld/GetKeyspaces";
/// One that asks for little.
const SMALL: &str = "/vtctlservice.Vtctld/MountShow";

#[tokio::test(start_paused = true)]
async fn who_comes_while_one_reads_shares_the_next() {
    let rig = Rig::new();
    let first = rig.call(READ, "a");
    rig.settle().await;
    let others: Vec<_> = (0..5).map(|_| rig.call(READ, "a")).collect();
    rig.settle().await;
    assert_eq!(rig.begun(), 1);
    rig.permits.add_permits(1);
    assert_eq!(first.await.unwrap().0, "1");
    rig.settle().await;
    assert_eq!(rig.begun(), 2);
    // whoever comes now may not have the one that has begun
    let late = rig.call(READ, "a");
    rig.settle().await;
    rig.permits.add_permits(2);
    for other in others {
        let (message, trailers) = other.await.unwrap();
        assert_eq!((message.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("2", "0"));
    }
    assert_eq!(late.await.unwrap().0, "3");
    rig.expect_nobody().await;
}

#[tokio::test(start_paused = true)]
async fn other_callers_messages_and_methods_and_changes_are_not_shared() {
    let rig = Rig::new();
    let named = |name: &str| {
        let mut request = request(READ, "a");
        request.extensions_mut().insert(Caller { name: name.to_owned(), subject: String::new() });
        request
    };
    let mut head = request(READ, "a");
    *head.method_mut() = Method::HEAD;
    let mut compressed = request(READ, "a");
    compressed.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
    let change = || request("/vtctlservice.Vtctld/MountRegister", "");
    let requests = [
        request(READ, "a"),
        request(READ, "b"),
        named("ann"),
        named("bob"),
        head,
        compressed,
        change(),
        change(),
        request("/vtctlservice.Vtctl/GetKeyspaces", "a"),
    ];
    let count = requests.len();
    let calls = requests.map(|request| rig.send(request, None));
    rig.settle().await;
    assert_eq!(rig.begun(), count);
    rig.permits.add_permits(count);
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_read_has_the_latest_deadline_and_the_hurried_read_alone() {
    let rig = Rig::new();
    let within = |seconds: u64| Some(deadline::now() + Duration::from_secs(seconds));
    let hanging = rig.call(READ, "a");
    rig.settle().await;
    let (sooner, later) = (within(60), within(90));
    let sharing = [rig.send(request(READ, "a"), sooner), rig.send(request(READ, "a"), later)];
    rig.settle().await;
    let hurried = rig.send(request(READ, "a"), within(1));
    rig.settle().await;
    // the one that hangs, and the hurried one
    assert_eq!(rig.begun(), 2);
    tokio::time::sleep(MAX_WAIT * 2).await;
    assert_eq!(rig.untils.lock().unwrap()[2], later);
    let endless = [rig.send(request(READ, "a"), sooner), rig.call(READ, "a")];
    rig.settle().await;
    tokio::time::sleep(MAX_WAIT * 2).await;
    assert_eq!((rig.begun(), rig.untils.lock().unwrap()[3]), (4, None));
    rig.permits.add_permits(4);
    for call in [hanging, hurried].into_iter().chain(sharing).chain(endless) {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_does_not_keep_the_next_from_beginning() {
    let rig = Rig::new();
    let hanging = rig.call(READ, "a");
    rig.settle().await;
    let next = rig.call(READ, "a");
    rig.settle().await;
    assert_eq!(rig.begun(), 1);
    tokio::time::sleep(MAX_WAIT * 2).await;
    assert_eq!(rig.begun(), 2);
    hanging.abort();
    rig.settle().await;
    rig.permits.add_permits(1);
    assert_eq!(next.await.unwrap().0, "2");
    rig.expect_nobody().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_left_behind_when_callers_go() {
    let rig = Rig::new();
    let first = rig.call(READ, "a");
    rig.settle().await;
    let (leader, follower) = (rig.call(READ, "a"), rig.call(READ, "a"));
    rig.settle().await;
    first.abort();
    leader.abort();
    rig.settle().await;
    rig.permits.add_permits(1);
    assert_eq!(follower.await.unwrap().0, "2");
    // a read that nobody waits for any more ends
    let (one, two) = (rig.call(READ, "a"), rig.call(READ, "a"));
    rig.settle().await;
    one.abort();
    rig.settle().await;
    two.abort();
    rig.expect_nobody().await;
}

#[tokio::test(start_paused = true)]
async fn two_of_little_are_under_way_and_keep_the_next_from_beginning_for_a_moment_only() {
    let rig = Rig::new();
    // another read of the same bytes has nothing to do with them
    let other = rig.call("/vtctlservice.Vtctld/GetVSchema", "a");
    rig.settle().await;
    let hanging = [rig.call(SMALL, "a"), rig.call(SMALL, "a")];
    rig.settle().await;
    let next = [rig.call(SMALL, "a"), rig.call(SMALL, "a")];
    rig.settle().await;
    assert_eq!(rig.begun(), 3);
    tokio::time::sleep(SOON * 2).await;
    assert_eq!(rig.begun(), 4);
    // it has the place of the first; the second has had its moment, too
    let last = rig.call(SMALL, "a");
    rig.settle().await;
    assert_eq!(rig.begun(), 5);
    rig.permits.add_permits(5);
    assert_eq!(other.await.unwrap().0, "1");
    for (at, hanging) in hanging.into_iter().enumerate() {
        assert_eq!(hanging.await.unwrap().0, (at + 2).to_string());
    }
    for next in next {
        assert_eq!(next.await.unwrap().0, "4");
    }
    assert_eq!(last.await.unwrap().0, "5");
    rig.expect_nobody().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_either_of_two_lets_the_next_begin() {
    for ends in [0, 1] {
        let rig = Rig::new();
        let mut running = vec![rig.call(SMALL, "a"), rig.call(SMALL, "a")];
        rig.settle().await;
        let next = rig.call(SMALL, "a");
        rig.settle().await;
        assert_eq!(rig.begun(), 2);
        running.remove(ends).abort();
        rig.settle().await;
        assert_eq!(rig.begun(), 3);
        rig.permits.add_permits(2);
        running.remove(0).await.unwrap();
        assert_eq!(next.await.unwrap().0, "3");
        rig.expect_nobody().await;
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_ask_again_and_again_share_most_reads() {
    let begun = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&begun);
    let service = SharedLayer::new(1 << 20).layer(tower::service_fn(move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    let callers = (0..16).map(|_| {
        let service = service.clone();
        async move {
            for _ in 0..10 {
                service.clone().oneshot(request(SMALL, "a")).await.unwrap();
            }
        }
    });
    futures::future::join_all(callers).await;
    let begun = begun.load(Ordering::Relaxed);
    assert!(begun <= 16 * 10 / 4, "{begun}");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_panics_is_told_to_all_of_its_callers_and_keeps_nobody_from_the_next() {
    let (layer, begun, permits) =
        (SharedLayer::new(1 << 20), Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
    let (reads, gate) = (Arc::clone(&layer.reads), Arc::clone(&permits));
    let service = layer.layer(tower::service_fn(move |_: Request| {
        let (number, gate) = (begun.fetch_add(1, Ordering::Relaxed), Arc::clone(&gate));
        async move {
            gate.acquire().await.unwrap().forget();
            assert_ne!(number, 1, "the second one is to panic");
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    let call = || tokio::spawn(service.clone().oneshot(request(READ, "a")));
    let code = |answer: &Response| answer.headers().get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
    let first = call();
    tokio::task::yield_now().await;
    let others = [call(), call()];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(2);
    assert_eq!(code(&first.await.unwrap().unwrap()), None);
    for other in others {
        assert_eq!(code(&other.await.unwrap().unwrap()).as_deref(), Some("13"));
    }
    assert!(reads.lines.is_empty());
    permits.add_permits(1);
    assert_eq!(code(&call().await.unwrap().unwrap()), None);
}
