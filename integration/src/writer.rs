//! An application that goes on writing to a database, round after round, until it is told to end.

use futures::future::BoxFuture;
use mysql_async::Conn;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::cluster::{self, Shard};

/// A running writer; dropping it ends it.
pub struct Writer<E> {
    stop: CancellationToken,
    task: AbortOnDropHandle<Result<u64, E>>,
}

impl<E: From<cluster::Error> + From<mysql_async::Error> + Send + 'static> Writer<E> {
    /// Begins to write to the shard's database: `round` is called with the number of each round, from 1.
    ///
    /// # Errors
    /// MySQL does not answer.
    pub async fn start<F>(shard: &Shard, round: F) -> Result<Self, E>
    where
        F: for<'a> FnMut(&'a mut Conn, u64) -> BoxFuture<'a, Result<(), E>> + Send + 'static,
    {
        Ok(Self::start_on(shard.connect().await?, round))
    }
}

impl<E: From<mysql_async::Error> + Send + 'static> Writer<E> {
    /// The same on a connection.
    pub fn start_on<F>(mut conn: Conn, mut round: F) -> Self
    where
        F: for<'a> FnMut(&'a mut Conn, u64) -> BoxFuture<'a, Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let rounds = async move {
            let mut number = 0;
            while !stopped.is_cancelled() {
                number += 1;
                round(&mut conn, number).await?;
            }
            conn.disconnect().await?;
            Ok(number)
        };
        Self { stop, task: AbortOnDropHandle::new(tokio::spawn(rounds)) }
    }

    /// False when it ended by itself, for an error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Ends after the present round; answers the number of rounds.
    ///
    /// # Errors
    /// A round failed.
    ///
    /// # Panics
    /// When a round did.
    pub async fn stop(self) -> Result<u64, E> {
        self.stop.cancel();
        self.task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}
