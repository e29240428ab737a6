//! A connection to a mounted cluster's topology, which is only read.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Conn, Error, Lock, LockRequest, Node, Result, Write};

/// Refuses every write and every lock before a connection sees it.
pub(crate) struct ReadOnlyConn {
    conn: Arc<dyn Conn>,
}

impl ReadOnlyConn {
    pub(crate) fn wrap(conn: Arc<dyn Conn>) -> Arc<dyn Conn> {
        Arc::new(Self { conn })
    }

    fn refusal(&self, path: &str) -> Error {
        Error::ReadOnly(self.conn.full(path))
    }
}

#[async_trait]
impl Conn for ReadOnlyConn {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.conn.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        self.conn.get(path).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        self.conn.get_many(paths).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        self.conn.list(dir).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        self.conn.list_dir(dir).await
    }

    async fn write(&self, writes: Vec<Write>, _guard: Option<&Lock>) -> Result<Vec<i64>> {
        match writes.first() {
            Some(first) => Err(self.refusal(first.parts().0)),
            None => Ok(Vec::new()),
        }
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        Err(self.refusal(request.dirs.first().map_or("", |dir| dir.dir.as_str())))
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        self.conn.has_lease(path).await
    }

    fn is_mounted(&self) -> bool {
        self.conn.is_mounted()
    }

    fn names_tablet(&self, address: &str) {
        self.conn.names_tablet(address);
    }

    async fn probe(&self) -> Result<()> {
        self.conn.probe().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::access::Holder;
    use super::super::{Dialer, Error, EtcdOptions, Expect, LockRequest, Topo, Write, paths};

    async fn open(dialer: &Arc<Dialer>, holder: Holder) -> Topo {
        Topo::open_for(holder, Arc::clone(dialer), "memory", "source", "/r").await.unwrap()
    }

    #[tokio::test]
    async fn a_mount_is_read_and_neither_written_nor_locked() {
        let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
        let owner = open(&dialer, Holder::Own).await;
        owner.global().create("keyspaces/ks/Keyspace", vec![1]).await.unwrap();
        let info = vtmigrated_proto::topodata::CellInfo { server_address: "source".into(), root: "/c".into() };
        let info = prost::Message::encode_to_vec(&info);
        owner.global().create(&paths::cell_info("zone1"), info).await.unwrap();
        let mounted = open(&dialer, Holder::Mount("ext1".into())).await;
        let cell = mounted.cell("zone1").await.unwrap();
        for conn in [mounted.global(), &cell] {
            let write = Write::put("keyspaces/ks/Keyspace", vec![2], Expect::Any);
            let refusals = [
                conn.write_one(write, None).await.unwrap_err(),
                conn.lock(LockRequest::new("x", Duration::from_secs(1)).of("keyspaces/ks")).await.err().unwrap(),
            ];
            for refusal in refusals {
                assert!(matches!(refusal, Error::ReadOnly(_)), "{refusal}");
            }
            assert!(conn.is_mounted());
        }
        assert_eq!(mounted.global().get("keyspaces/ks/Keyspace").await.unwrap().value.as_ref(), [1]);
        let written = open(&dialer, Holder::MountToWrite("ext1".into())).await;
        let write = Write::put("keyspaces/ks/Keyspace", vec![3], Expect::Any);
        written.global().write_one(write, None).await.unwrap();
        assert!(written.global().is_mounted());
    }
}
