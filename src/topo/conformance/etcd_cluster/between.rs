//! The way on which the members of an etcd hear each other: one proxy before each. A member can be cut off, and goes on
//! answering its clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longest head of a request that is read, in bytes.
const HEAD: usize = 64 * 1024;

/// Who is cut off.
#[derive(Clone)]
struct Cut {
    member: usize,
    /// The id by which it calls itself.
    id: String,
}

/// Proxies before the ports that members have for each other.
pub struct Between {
    pub addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    cut: watch::Sender<Option<Cut>>,
    /// Ids of the members, as others call them.
    ids: Mutex<Vec<String>>,
}

impl Between {
    /// Listens for each of `members`, and carries to it.
    pub async fn start(members: &[SocketAddr]) -> Self {
        let ids = Mutex::new(vec![String::new(); members.len()]);
        let shared = Arc::new(Shared { cut: watch::Sender::new(None), ids });
        let mut addresses = Vec::new();
        for (to, member) in members.iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let (shared, member) = (Arc::clone(&shared), *member);
            tokio::spawn(async move {
                while let Ok((caller, _)) = listener.accept().await {
                    tokio::spawn(carry(caller, to, member, Arc::clone(&shared)));
                }
            });
        }
        Self { addresses, shared }
    }

    /// Cuts one member off from the others.
    pub fn cut(&self, member: usize) {
        let id = self.shared.ids.lock().unwrap()[member].clone();
        assert!(!id.is_empty(), "nobody has called member {member} yet");
        self.shared.cut.send_replace(Some(Cut { member, id }));
    }

    /// Lets all hear each other again.
    pub fn heal(&self) {
        self.shared.cut.send_replace(None);
    }
}

/// Carries one connection until a side ends it, or one of both is cut off. While anybody is, those who do not say who they
/// are are not carried.
async fn carry(mut caller: TcpStream, to: usize, member: SocketAddr, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match caller.read_buf(&mut head).await {
            Ok(read) if read > 0 && head.len() < HEAD => {}
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let named = text.lines().filter_map(|line| line.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim().to_owned())
    };
    if let Some(id) = header("X-Raft-To") {
        shared.ids.lock().unwrap()[to] = id;
    }
    let from = header("X-Server-From");
    let is_cut = |cut: &Option<Cut>| {
        cut.as_ref().is_some_and(|cut| cut.member == to || from.as_ref().is_none_or(|from| *from == cut.id))
    };
    let mut cut = shared.cut.subscribe();
    if is_cut(&cut.borrow()) {
        return;
    }
    let Ok(mut there) = TcpStream::connect(member).await else { return };
    if there.write_all(&head).await.is_err() {
        return;
    }
    tokio::select! {
        _ = copy_bidirectional(&mut caller, &mut there) => {}
        _ = cut.wait_for(is_cut) => {}
    }
}
