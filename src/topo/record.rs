//! A stored message together with the bytes it was read from.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::{Conn, Error, Expect, Node, Result, Write, wire};

/// A record: the decoded message, the bytes as stored (fields that this program does not know included), the version.
#[derive(Clone, Debug)]
pub struct Record<T> {
    pub path: String,
    pub value: T,
    pub raw: Bytes,
    pub version: i64,
    /// As in [`Node`].
    pub created: i64,
}

impl<T: Message + Default> Record<T> {
    /// Decodes a node.
    ///
    /// # Errors
    /// [`Error::BadData`] naming the full key.
    pub fn decode(node: Node, conn: &Arc<dyn Conn>) -> Result<Self> {
        let value = T::decode(node.value.clone())
            .map_err(|error| Error::BadData { path: conn.full(&node.path), detail: error.to_string() })?;
        Ok(Self { path: node.path, value, raw: node.value, version: node.version, created: node.created })
    }

    /// Puts `value`, a message of that name, in this record's place if nobody changed it: what is not known stays, at every
    /// level.
    ///
    /// # Errors
    /// [`Error::BadData`] naming the full key.
    pub fn over(&self, conn: &Arc<dyn Conn>, name: &str, value: &T) -> Result<Write> {
        self.over_sent(conn, name, value, None)
    }

    /// The same with what is not known of `value` in `sent`, the message of that name that a caller sent: that counts before
    /// what was stored.
    ///
    /// # Errors
    /// As [`Self::over`].
    pub fn over_sent(&self, conn: &Arc<dyn Conn>, name: &str, value: &T, sent: Option<&Bytes>) -> Result<Write> {
        let new = wire::with_sent(sent, name, value);
        let bad = |detail| Error::BadData { path: conn.full(&self.path), detail };
        let raw = wire::over_encoded(&self.raw, name, new.into()).map_err(bad)?;
        Ok(Write::put(self.path.clone(), raw, Expect::Version(self.version)))
    }

    /// Reads and decodes one record.
    pub async fn get(conn: &Arc<dyn Conn>, path: &str) -> Result<Self> {
        Self::decode(conn.get(path).await?, conn)
    }

    /// Reads and decodes one record; `None` when it is not there.
    pub async fn find(conn: &Arc<dyn Conn>, path: &str) -> Result<Option<Self>> {
        Self::look(conn, path).await?
    }

    /// The same for who can do without one that cannot be decoded: the inner error is that.
    pub async fn look(conn: &Arc<dyn Conn>, path: &str) -> Result<Result<Option<Self>>> {
        Ok(conn.find(path).await?.map(|node| Self::decode(node, conn)).transpose())
    }
}
