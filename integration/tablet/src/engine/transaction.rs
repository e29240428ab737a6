//! The target's transaction for events, sent in packets of several statements.

use std::time::Duration;

use super::{db::Db, error::Result};

/// Bytes of statements that are collected before they are sent.
const PACKET: usize = 250_000;
/// Server errors after which the same transaction may pass: lock wait timeout and deadlock.
const LOCKED: [u16; 2] = [1205, 1213];

/// Statements since `begin`. All are kept until the commit, so that a lost lock can be answered by doing them again.
#[derive(Debug, Default)]
pub struct Transaction {
    statements: Vec<Vec<u8>>,
    sent: usize,
    pending: usize,
}

impl Transaction {
    /// True between the first statement and the commit.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.statements.is_empty()
    }

    /// Begins, unless one is open. Nothing is sent yet.
    pub fn begin(&mut self) {
        if self.statements.is_empty() {
            self.statements.push(b"begin".to_vec());
        }
    }

    /// Adds a statement, and sends when enough has been collected.
    ///
    /// # Errors
    /// Those of the server for anything that was sent.
    pub async fn add(&mut self, db: &mut Db, statement: impl Into<Vec<u8>>) -> Result<()> {
        self.begin();
        let statement = statement.into();
        self.pending += statement.len();
        self.statements.push(statement);
        if self.pending > PACKET { self.flush(db).await } else { Ok(()) }
    }

    /// Sends what has been collected.
    ///
    /// # Errors
    /// Those of the server; the transaction is then rolled back and forgotten.
    pub async fn flush(&mut self, db: &mut Db) -> Result<()> {
        if self.sent == self.statements.len() {
            return Ok(());
        }
        while let Err(error) = db.run(self.statements[self.sent..].join(&b';')).await {
            // the connection may be gone: the session's end rolls back then
            let _ = db.run("rollback").await;
            if !error.errno().is_some_and(|errno| LOCKED.contains(&errno)) {
                self.clear();
                return Err(error);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.sent = 0;
        }
        self.sent = self.statements.len();
        self.pending = 0;
        Ok(())
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn commit(&mut self, db: &mut Db) -> Result<()> {
        self.statements.push(b"commit".to_vec());
        self.flush(db).await?;
        self.clear();
        Ok(())
    }

    /// Undoes what was sent and forgets the rest.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn rollback(&mut self, db: &mut Db) -> Result<()> {
        if self.sent > 0 {
            db.run("rollback").await?;
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
