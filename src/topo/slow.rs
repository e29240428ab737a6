//! Servers that are slow, told from servers that are silent.

use std::pin::pin;
use std::time::Duration;

/// What `call` answers, for as long as its server serves: when it has said nothing for `quiet`, and again after each answer,
/// `serves` asks it something small beside the call. `None` when `serves` says no, or says nothing for `silence`.
pub(super) async fn while_serving<T, S>(
    (quiet, silence): (Duration, Duration),
    call: impl Future<Output = T>,
    serves: impl Fn() -> S,
) -> Option<T>
where
    S: Future<Output = bool>,
{
    let mut call = pin!(call);
    loop {
        if let Ok(answer) = tokio::time::timeout(quiet, &mut call).await {
            return Some(answer);
        }
        tokio::select! {
            biased;
            answer = &mut call => return Some(answer),
            told = tokio::time::timeout(silence, serves()) => {
                if !matches!(told, Ok(true)) {
                    return None;
                }
            }
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
        assert_eq!(while_serving((QUIET, SILENCE), slow, serves).await, Some(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // nobody asks one that answers at once
        assert_eq!(while_serving((QUIET, SILENCE), async { 7 }, serves).await, Some(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_cannot_serve_is_left() {
        assert_eq!(while_serving((QUIET, SILENCE), pending::<u32>(), pending::<bool>).await, None);
        assert_eq!(while_serving((QUIET, SILENCE), pending::<u32>(), || async { false }).await, None);
        // an answer that comes while it is asked is one
        let late = async {
            tokio::time::sleep(QUIET * 3 / 2).await;
            7
        };
        assert_eq!(while_serving((QUIET, SILENCE), late, pending::<bool>).await, Some(7));
    }
}
