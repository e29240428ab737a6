//! An application that writes through one vtgate at a time, and knows every row that was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration::stock::{self, Cluster, Keyspace};

/// What tablets say of a write to a table that is denied: it was not done.
const DENIED: &str = "denied tables";

/// The rows of `customer` as they were acknowledged: id and note.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<i64, String>>>);

impl Ledger {
    /// Takes over the rows that a keyspace has now.
    pub async fn of(keyspace: &Keyspace) -> Self {
        let ledger = Self::default();
        *ledger.0.lock().unwrap() = rows(keyspace).await;
        ledger
    }

    /// Writes rounds of an insert, an update and a delete until the table is denied or `stop` is set; answers how many
    /// statements were acknowledged.
    ///
    /// # Panics
    /// When a write fails for another reason: whether it was done would not be known.
    pub async fn write(&self, cluster: &Cluster, keyspace: &str, from: (i64, &AtomicBool)) -> usize {
        self.write_until(cluster, keyspace, from, true).await.0
    }

    /// The same until `stop` is set, whether the table is denied or not, as an application does that nobody stops; answers also how many
    /// statements were refused: none of them was done.
    pub async fn write_on(&self, cluster: &Cluster, keyspace: &str, from: (i64, &AtomicBool)) -> (usize, usize) {
        self.write_until(cluster, keyspace, from, false).await
    }

    async fn write_until(
        &self,
        cluster: &Cluster,
        keyspace: &str,
        (from, stop): (i64, &AtomicBool),
        denied: bool,
    ) -> (usize, usize) {
        let (mut done, mut refused) = (0, 0);
        let mut id = from;
        while !stop.load(Ordering::Relaxed) {
            id += 1;
            let old = *self.0.lock().unwrap().keys().next().unwrap();
            let statements = [
                (
                    format!("INSERT INTO customer (id, email, note) VALUES ({id}, 'w{id}@example.com', 'new {id}')"),
                    id,
                    Some(format!("new {id}")),
                ),
                (
                    format!("UPDATE customer SET note = 'changed {id}' WHERE id = {}", id - 1),
                    id - 1,
                    Some(format!("changed {id}")),
                ),
                (format!("DELETE FROM customer WHERE id = {old}"), old, None),
            ];
            for (sql, row, note) in statements {
                if note.is_some() && row < id && !self.0.lock().unwrap().contains_key(&row) {
                    continue;
                }
                match cluster.query(keyspace, &sql).await {
                    Ok(_) => {
                        let mut rows = self.0.lock().unwrap();
                        match note {
                            Some(note) => drop(rows.insert(row, note)),
                            None => drop(rows.remove(&row)),
                        }
                        done += 1;
                    }
                    Err(error) if error.to_string().contains(DENIED) => {
                        refused += 1;
                        if denied {
                            return (done, refused);
                        }
                    }
                    Err(error) => panic!("{sql}: {error}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (done, refused)
    }

    /// Fails unless the keyspace has exactly the acknowledged rows.
    pub async fn expect(&self, keyspace: &Keyspace, what: &str) {
        let found = rows(keyspace).await;
        let wanted = self.0.lock().unwrap().clone();
        let lost: Vec<_> = wanted.iter().filter(|(id, note)| found.get(id) != Some(note)).take(10).collect();
        let more: Vec<_> = found.iter().filter(|(id, _)| !wanted.contains_key(id)).take(10).collect();
        assert!(lost.is_empty() && more.is_empty(), "{what}: lost {lost:?}, not acknowledged {more:?}");
        println!("{what}: {} rows, each exactly once", wanted.len());
    }
}

/// Waits until clients may write to the table.
pub async fn until_writable(cluster: &Cluster, keyspace: &str) {
    stock::until("a write through vtgate", async || {
        cluster.query(keyspace, "UPDATE customer SET email = email WHERE id = -1").await.map(drop)
    })
    .await
    .unwrap();
}

/// Fails unless clients are refused by the denied tables.
pub async fn expect_denied(cluster: &Cluster, keyspace: &str) {
    let refused = cluster.query(keyspace, "INSERT INTO customer (id, email) VALUES (-7, 'x')").await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(DENIED)), "{refused:?}");
}

/// Rows of all shards; a row on two shards is no acknowledged one.
async fn rows(keyspace: &Keyspace) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    for shard in &keyspace.shards {
        for row in shard.rows("SELECT id, IFNULL(note, '') FROM customer").await.unwrap() {
            let (id, note): (i64, String) = mysql_async::from_row(row);
            assert!(found.insert(id, note).is_none(), "row {id} is there twice");
        }
    }
    found
}
