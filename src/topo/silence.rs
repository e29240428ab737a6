//! Servers that are slow, told from servers that are silent.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

/// What `call` answers, for as long as its server serves: when it has said nothing for `quiet`, and again after each answer,
/// `serves` asks it something small beside the call. `None` when `serves` says no, or says nothing for `silence`, and after
/// `longest` in any case.
pub(super) async fn while_serving<T, S>(
    (quiet, silence, longest): (Duration, Duration, Duration),
    call: impl Future<Output = T>,
    serves: impl Fn() -> S,
) -> Option<T>
where
    S: Future<Output = bool>,
{
    let mut call = pin!(call);
    let until = Instant::now() + longest;
    loop {
        // one timer for both bounds: nearly all calls are answered before either
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(quiet.min(left), &mut call).await {
            Ok(answer) => return Some(answer),
            Err(_) if left <= quiet => return None,
            Err(_) => {}
        }
        tokio::select! {
            biased;
            answer = &mut call => return Some(answer),
            told = tokio::time::timeout(silence, serves()) => {
                if !matches!(told, Ok(true)) {
                    return None;
                }
            }
            () = tokio::time::sleep_until(until) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const QUIET: Duration = Duration::from_secs(1);
    const SILENCE: Duration = Duration::from_secs(2);
    const BOUNDS: (Duration, Duration, Duration) = (QUIET, SILENCE, Duration::from_secs(30));

    #[tokio::test(start_paused = true)]
    async fn who_serves_is_waited_for() {
        let count = AtomicU32::new(0);
        let asked = &count;
        let slow = async {
            tokio::time::sleep(QUIET * 5 / 2).await;
            7
        };
        let serves = || async move {
            asked.fetch_add(1, Ordering::Relaxed);
            true
        };
        assert_eq!(while_serving(BOUNDS, slow, serves).await, Some(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // nobody asks one that answers at once
        assert_eq!(while_serving(BOUNDS, async { 7 }, serves).await, Some(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_cannot_serve_is_left() {
        assert_eq!(while_serving(BOUNDS, pending::<u32>(), pending::<bool>).await, None);
        assert_eq!(while_serving(BOUNDS, pending::<u32>(), || async { false }).await, None);
        // an answer that comes while it is asked is one
        let late = async {
            tokio::time::sleep(QUIET * 3 / 2).await;
            7
        };
        assert_eq!(while_serving(BOUNDS, late, pending::<bool>).await, Some(7));
    }
    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_longer_than_the_longest() {
        for longest in [Duration::ZERO, QUIET / 2, QUIET, QUIET * 2, QUIET * 20] {
            let began = Instant::now();
            let serves = || async {
                tokio::time::sleep(QUIET).await;
                true
            };
            assert_eq!(while_serving((QUIET, SILENCE, longest), pending::<u32>(), serves).await, None);
            assert_eq!(began.elapsed().as_secs(), longest.as_secs());
        }
        // what is there at once is an answer all the same
        assert_eq!(while_serving((QUIET, SILENCE, Duration::ZERO), async { 7 }, || async { true }).await, Some(7));
    }
}
