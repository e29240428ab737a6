//! The time in which clients can write to neither side: from their denial on the side that serves until the other one is theirs.

use std::time::{Duration, Instant};

use crate::deadline;
use crate::error::{Code, Reason};
use crate::workflow::{Error, Result};

/// Bound of it, but for the write that decides: nobody could tell whether one that was given up is done.
const MOST: Duration = Duration::from_secs(120);

/// Its end at the latest, where it begins now.
pub fn until() -> Instant {
    deadline::now() + MOST
}

/// Does a part of what is done in it; `until` is none where clients can write.
///
/// # Errors
/// The work's own, with a word of the time where that has passed.
pub async fn within<T>(until: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = deadline::within(until, work).await;
    done.map_err(|error| if is_over(until) { error.doing(told()) } else { error })
}

/// Refuses to begin what nobody could take back, once the time has passed.
///
/// # Errors
/// `KEPT_OUT_TOO_LONG`.
pub fn check(until: Option<Instant>) -> Result<()> {
    if !is_over(until) {
        return Ok(());
    }
    let help =
        "see which tablets and topology servers of both clusters answer slowly, and run the command again".into();
    Err(Error::Refused { code: Code::DeadlineExceeded, reason: Reason::KEPT_OUT_TOO_LONG, text: told(), help })
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| deadline::now() >= until)
}

fn told() -> String {
    format!("clients could write to neither side for {} s", MOST.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up_and_says_so() {
        let slow = || async {
            tokio::time::sleep(deadline::remaining(MOST * 2 / 3)).await;
            Err::<(), _>(Error::precondition(Reason::TABLET_SLOW, "no answer", "ask again"))
        };
        let end = until();
        let error = within(Some(end), slow()).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), check(Some(end)).is_ok()), ("no answer", true));
        let error = within(Some(end), slow()).await.unwrap_err();
        assert_eq!(error.to_string(), "clients could write to neither side for 120 s: no answer");
        assert_eq!((error.reason().as_str(), error.help().as_str()), ("TABLET_SLOW", "ask again"));
        assert_eq!(check(Some(end)).unwrap_err().reason(), "KEPT_OUT_TOO_LONG");
        // where nobody is kept out there is time
        let error = within(None, slow()).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), check(None).is_ok()), ("no answer", true));
    }
}
