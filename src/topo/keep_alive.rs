//! The life of a lease that lives on only while it is renewed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Result;

/// Between a renewal that failed and the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// A renewal has as long at least: of several servers a silent one is left after three seconds, and the next is asked.
const LEAST: Duration = Duration::from_secs(4);

/// What is known of a lease's life.
///
/// A renewal answers true when the lease lives on from now, and false when it is gone. An error tells nothing of it: the
/// lease lives for the whole of its time after the newest sign of life, so there is time for other tries.
pub(super) struct KeepAlive {
    ttl: Duration,
    started: Instant,
    /// Milliseconds after `started` of the newest proof of life.
    seen: AtomicU64,
    gone: AtomicBool,
}

impl KeepAlive {
    /// For a lease that is about to be asked for, and lives for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, started: Instant::now(), seen: AtomicU64::new(0), gone: AtomicBool::new(false) }
    }

    /// Whether the lease is alive: without a question when that was seen a moment ago, or when it is known to be gone.
    pub async fn check<F>(&self, renew: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<bool>>,
    {
        if self.age() < self.ttl / 2 && !self.gone.load(Ordering::Acquire) { true } else { self.prove(renew).await }
    }

    /// The same, and it is asked in any case.
    pub async fn prove<F>(&self, renew: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<bool>>,
    {
        loop {
            // one try is made even when it is late: servers may let a lease live longer
            let left = self.ttl.saturating_sub(self.age()).max(self.ttl / 4);
            match tokio::time::timeout(left, self.renewed(&renew)).await {
                Ok(Ok(alive)) => return alive,
                // the keeper may have heard of it meanwhile
                _ if self.age() + PAUSE < self.ttl => tokio::time::sleep(PAUSE).await,
                _ => return false,
            }
        }
    }

    /// Renews the lease three times in its lifetime, until it is gone.
    pub async fn keep<F>(&self, renew: impl Fn() -> F)
    where
        F: Future<Output = Result<bool>>,
    {
        let mut pause = tokio::time::interval(self.ttl / 3);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pause.tick().await;
        loop {
            pause.tick().await;
            match tokio::time::timeout((self.ttl / 3).max(LEAST), self.renewed(&renew)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return,
                _ => {
                    tokio::time::sleep(PAUSE).await;
                    pause.reset_immediately();
                }
            }
        }
    }

    async fn renewed<F>(&self, renew: &impl Fn() -> F) -> Result<bool>
    where
        F: Future<Output = Result<bool>>,
    {
        if self.gone.load(Ordering::Acquire) {
            return Ok(false);
        }
        let asked = self.started.elapsed();
        let alive = renew().await?;
        if alive {
            self.seen.fetch_max(millis(asked), Ordering::AcqRel);
        } else {
            self.gone.store(true, Ordering::Release);
        }
        Ok(alive)
    }

    fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.seen.load(Ordering::Acquire)))
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::super::Error;
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn failure() -> Result<bool> {
        Err(Error::Timeout("lease".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_seen_a_moment_ago_is_not_asked_for() {
        let keep_alive = KeepAlive::new(TTL);
        tokio::time::sleep(TTL / 3).await;
        assert!(keep_alive.check(|| async { panic!("it was asked") }).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_its_keeper_has_seen_to_be_gone_is_lost_at_once() {
        let keep_alive = KeepAlive::new(TTL);
        keep_alive.keep(|| async { Ok(false) }).await;
        assert!(!keep_alive.check(|| async { panic!("it was asked") }).await);
    }

    #[tokio::test(start_paused = true)]
    async fn tries_that_fail_end_no_lease_that_may_live() {
        let (keep_alive, tries) = (KeepAlive::new(TTL), AtomicU32::new(0));
        tokio::time::sleep(TTL / 2).await;
        let renew = || async { if tries.fetch_add(1, Ordering::Relaxed) < 20 { failure() } else { Ok(true) } };
        assert!(keep_alive.check(renew).await);
        // and now it was seen
        assert!(keep_alive.check(|| async { panic!("it was asked") }).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_which_nobody_tells_is_lost_with_its_time() {
        let keep_alive = KeepAlive::new(TTL);
        let began = Instant::now();
        tokio::time::sleep(TTL / 2).await;
        assert!(!keep_alive.check(|| async { failure() }).await);
        assert!(began.elapsed() <= TTL, "{:?}", began.elapsed());
        assert!(!keep_alive.check(std::future::pending).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_tries_again_soon_and_not_without_a_pause() {
        let (keep_alive, tries) = (KeepAlive::new(TTL), AtomicU32::new(0));
        let renew = || async { if tries.fetch_add(1, Ordering::Relaxed) < 30 { failure() } else { Ok(false) } };
        let began = Instant::now();
        keep_alive.keep(renew).await;
        assert!(began.elapsed() >= TTL / 3 + 30 * PAUSE && began.elapsed() < TTL, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_waits_until_a_silent_server_is_left() {
        let (keep_alive, tries) = (KeepAlive::new(Duration::from_secs(6)), AtomicU32::new(0));
        let renew = || async {
            let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            if first {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            Ok::<_, Error>(first)
        };
        keep_alive.keep(renew).await;
        assert_ne!(keep_alive.seen.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_without_an_answer_ends_no_lease_that_its_keeper_has_seen() {
        let (keep_alive, tries) = (KeepAlive::new(Duration::from_secs(6)), AtomicU32::new(0));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let renew = || async {
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>(true)
        };
        let keeper = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(keep_alive.renewed(&|| async { Ok(true) }).await.unwrap());
        };
        assert!(tokio::join!(keep_alive.check(renew), keeper).0);
    }
}
