//! Durations of requests.

use std::time::Duration;

use vtmigrated_proto::vttime;

use crate::failure::Error;

/// A duration, if the request has one.
///
/// # Errors
/// Refused: negative ones, and more nanoseconds than numbers can hold.
pub fn duration(value: Option<vttime::Duration>) -> Result<Option<Duration>, Error> {
    let Some(value) = value else { return Ok(None) };
    let shown = format!("seconds:{} nanos:{}", value.seconds, value.nanos);
    let bad = || Error::bad_argument(format!("duration: {shown} is out of range for time.Duration"));
    let seconds = u64::try_from(value.seconds).map_err(|_| bad())?;
    let nanos = u64::try_from(value.nanos).map_err(|_| bad())?;
    let found = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos)).ok_or_else(bad)?;
    // what Go's durations hold
    if i64::try_from(found.as_nanos()).is_err() { Err(bad()) } else { Ok(Some(found)) }
}
