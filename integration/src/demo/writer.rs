//! An application that goes on writing to the source while its rows are copied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use integration_tablet::vindex::{KeyRange, Vindex};
use mysql_async::{Conn, prelude::Queryable};

use super::{Error, data::Sizes};
use crate::{cluster::Shard, writer};

/// Between two statements.
const PAUSE: Duration = Duration::from_millis(3);
/// Among so many rounds, one moves orders to other customers, and so to other shards.
const MOVE_EVERY: u64 = 20;
/// Orders that one UPDATE moves.
const MOVE: u64 = 200;

/// A running writer; dropping it ends it.
pub struct Writer {
    counts: Arc<Counts>,
    rounds: writer::Writer<Error>,
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
    /// Rows that an UPDATE of many rows took to another shard of the target.
    pub moved: u64,
}

#[derive(Debug, Default)]
struct Counts {
    inserts: AtomicU64,
    updates: AtomicU64,
    deletes: AtomicU64,
    moved: AtomicU64,
}

impl Writer {
    /// Begins to write to a database that has rows of these numbers.
    ///
    /// # Errors
    /// MySQL's.
    pub async fn start(shard: &Shard, sizes: Sizes) -> Result<Self, Error> {
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let rounds = writer::Writer::start(shard, move |conn, round| {
            let counts = Arc::clone(&counted);
            Box::pin(async move { write(conn, sizes, &counts, round).await })
        });
        Ok(Self { counts, rounds: rounds.await? })
    }

    /// What was written so far.
    ///
    /// # Errors
    /// The writer ended by itself.
    pub fn written(&self) -> Result<Written, Error> {
        if !self.rounds.is_running() {
            return Err(Error::Writer("it ended by itself".to_owned()));
        }
        Ok(self.counts.read())
    }

    /// Ends after the present round of statements.
    ///
    /// # Errors
    /// A statement had failed.
    pub async fn stop(self) -> Result<Written, Error> {
        self.rounds.stop().await?;
        Ok(self.counts.read())
    }
}

impl Written {
    /// All statements but the moves, whose rows are counted.
    #[must_use]
    pub fn statements(self) -> u64 {
        self.inserts + self.updates + self.deletes
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inserts, updates, deletes, moved } = self;
        write!(f, "{inserts} inserts, {updates} updates, {deletes} deletes, {moved} rows moved between shards")
    }
}

impl Counts {
    fn read(&self) -> Written {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Written {
            inserts: read(&self.inserts),
            updates: read(&self.updates),
            deletes: read(&self.deletes),
            moved: read(&self.moved),
        }
    }
}

async fn write(conn: &mut Conn, sizes: Sizes, counts: &Counts, round: u64) -> Result<(), Error> {
    let add = |count: &AtomicU64, rows: u64| count.fetch_add(rows, Ordering::Relaxed);
    let Sizes { customers, orders, products } = sizes;
    // Steps that share no divisor with usual sizes reach rows on both sides of where the copy is.
    let (customer, order, product) =
        (1 + round * 7919 % customers, 1 + round * 104_729 % orders, 1 + round * 31 % products);
    let (new_customer, new_order) = (customers + round, orders + round);
    let inserts = [
        format!("INSERT INTO corder VALUES ({new_order}, {customer}, 'SKU-{product}', {round} / 100, 'new')"),
        format!(
            "INSERT INTO customer VALUES ({new_customer}, 'new{round}@example.com', 'Öz {round}', '2024-02-29', NULL)"
        ),
    ];
    let updates = [
        format!("UPDATE corder SET price = price + 1, state = 'paid' WHERE order_id = {order}"),
        format!("UPDATE customer SET note = 'written in round {round}' WHERE customer_id = {customer}"),
        format!("UPDATE product SET price = price + 0.5 WHERE sku = 'SKU-{product}'"),
    ];
    let deletes = [format!("DELETE FROM corder WHERE order_id = {}", 1 + round * 15_485_863 % new_order)];
    for (statements, count) in
        [(&inserts[..], &counts.inserts), (&updates[..], &counts.updates), (&deletes[..], &counts.deletes)]
    {
        for statement in statements {
            conn.query_drop(statement).await?;
            add(count, conn.affected_rows());
            tokio::time::sleep(PAUSE).await;
        }
    }
    if round % MOVE_EVERY == 1 {
        add(&counts.moved, give_away(conn, order, customers).await?);
    }
    Ok(())
}

/// Gives the orders from `first` on to the next customer each, in one UPDATE, and says how many rows change the shard by it.
async fn give_away(conn: &mut Conn, first: u64, customers: u64) -> Result<u64, Error> {
    let which = format!("order_id BETWEEN {first} AND {}", first + MOVE - 1);
    conn.query_drop("BEGIN").await?;
    let before: Vec<u64> = conn.query(format!("SELECT customer_id FROM corder WHERE {which} FOR UPDATE")).await?;
    conn.query_drop(format!("UPDATE corder SET customer_id = customer_id % {customers} + 1 WHERE {which}")).await?;
    conn.query_drop("COMMIT").await?;
    let low = KeyRange::parse("-80")?;
    let mut moved = 0;
    for customer in before {
        moved += u64::from(in_range(&low, customer)? != in_range(&low, customer % customers + 1)?);
    }
    Ok(moved)
}

/// Whether the rows of a customer belong to a shard, by the vindex `hash`.
///
/// # Errors
/// Never for the vindex `hash`.
pub fn in_range(range: &KeyRange, customer: u64) -> Result<bool, Error> {
    let id = Vindex::Hash.keyspace_id(Some(customer.to_string().as_bytes()), true)?;
    Ok(id.is_some_and(|id| range.contains(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_belongs_to_one_of_two_shards() {
        let (low, high) = (KeyRange::parse("-80").unwrap(), KeyRange::parse("80-").unwrap());
        for customer in 1..100 {
            assert_ne!(in_range(&low, customer).unwrap(), in_range(&high, customer).unwrap());
        }
    }
}
