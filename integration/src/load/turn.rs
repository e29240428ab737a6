//! One turn of load on one server.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tonic::{Status, transport::Channel};

use super::{
    Error,
    call::Call,
    process::{self, Watched},
};

/// Timers tick in milliseconds. What a call is sent later by than this is not the timer's.
const TICK: Duration = Duration::from_millis(2);

/// How calls are made.
#[derive(Clone, Copy, Debug)]
pub enum Loop {
    /// So many callers, each of which calls again when it was answered.
    Closed { callers: usize },
    /// So many calls a second, whether or not those before were answered. A call takes from when it was due, or from when it was
    /// sent, if that was no more than a tick of the timer later.
    Open { rate: f64 },
}

/// What a turn came to.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Microseconds.
    pub times: Histogram<u64>,
    pub seconds: f64,
    /// Bytes of all answers.
    pub bytes: u64,
    /// Processor time of each process, by what it is; the server is `server`.
    pub cpu: BTreeMap<String, Duration>,
    /// Resident memory of the server afterwards, in bytes.
    pub resident: u64,
    /// Files that the server has open.
    pub files: usize,
}

/// Times and bytes of some calls.
struct Tally {
    times: Histogram<u64>,
    bytes: u64,
}

impl Tally {
    fn new() -> Result<Self, Error> {
        // up to an hour, to three digits
        let times =
            Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(|error| Error::Histogram(error.to_string()))?;
        Ok(Self { times, bytes: 0 })
    }

    fn note(&mut self, took: Duration, bytes: usize) {
        self.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        self.bytes += bytes as u64;
    }

    fn add(&mut self, other: &Self) -> Result<(), Error> {
        self.bytes += other.bytes;
        self.times.add(&other.times).map_err(|error| Error::Histogram(error.to_string()))
    }
}

/// The call of a caller; numbers go round.
fn one_of(calls: &[Call], number: usize) -> Result<Call, Error> {
    let call = calls.get(number % calls.len().max(1)).cloned();
    call.ok_or_else(|| io::Error::other("no call to make").into())
}

/// A server under load.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub pid: u32,
    /// Callers take turns with these.
    pub channels: Vec<Channel>,
}

impl Server {
    /// Connects so many times to the server at `address` (`host:port`), whose process is found by its port.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(name: &str, address: &str, connections: usize) -> Result<Self, Error> {
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| io::Error::other(format!("{address} is no host:port")))?;
        let mut channels = Vec::new();
        for _ in 0..connections.max(1) {
            channels.push(crate::client::channel(address).await?);
        }
        Ok(Self { name: name.to_owned(), pid: process::listening(port)?, channels })
    }

    /// Calls for a while, beside processes that are watched. Callers take turns with the calls.
    ///
    /// # Errors
    /// A call fails, or there is none.
    pub async fn turn(
        &self,
        (calls, undo): (&[Call], Option<&Call>),
        how: Loop,
        long: Duration,
        others: &BTreeMap<String, u32>,
    ) -> Result<Turn, Error> {
        let mut pids = others.clone();
        pids.insert("server".to_owned(), self.pid);
        let (watched, start) = (Watched::start(&pids)?, Instant::now());
        let tally = match how {
            Loop::Closed { callers } => self.closed((calls, undo), callers, long).await?,
            Loop::Open { .. } if undo.is_some() => {
                return Err(io::Error::other("a call that is taken back is made in a closed loop only").into());
            }
            Loop::Open { rate } => self.open(calls, rate, long).await?,
        };
        Ok(Turn {
            seconds: start.elapsed().as_secs_f64(),
            cpu: watched.spent()?,
            resident: process::resident(self.pid)?,
            files: process::open_files(self.pid)?,
            times: tally.times,
            bytes: tally.bytes,
        })
    }

    async fn closed(
        &self,
        (calls, undo): (&[Call], Option<&Call>),
        callers: usize,
        long: Duration,
    ) -> Result<Tally, Error> {
        let until = Instant::now() + long;
        // what makes something is made once at a time
        let callers = if undo.is_some() { 1 } else { callers.max(1) };
        let calling = (0..callers).map(|number| {
            let (channel, call, undo) = (self.channel(number), one_of(calls, number), undo.cloned());
            tokio::spawn(async move {
                let (call, mut tally) = (call?, Tally::new()?);
                loop {
                    let since = Instant::now();
                    let bytes = call.make(&channel).await?;
                    tally.note(since.elapsed(), bytes);
                    if let Some(undo) = &undo {
                        undo.make(&channel).await?;
                    }
                    if Instant::now() >= until {
                        return Ok::<_, Error>(tally);
                    }
                }
            })
        });
        let mut all = Tally::new()?;
        for tally in futures::future::join_all(calling).await {
            all.add(&tally.map_err(io::Error::other)??)?;
        }
        Ok(all)
    }

    async fn open(&self, calls: &[Call], rate: f64, long: Duration) -> Result<Tally, Error> {
        let start = tokio::time::Instant::now();
        let mut under_way = tokio::task::JoinSet::<Result<(Duration, usize), Status>>::new();
        for number in 0_u32.. {
            let after = Duration::try_from_secs_f64(f64::from(number) / rate).unwrap_or(long);
            if after >= long {
                break;
            }
            let due = start + after;
            tokio::time::sleep_until(due).await;
            let (channel, call) = (self.channel(number as usize), one_of(calls, number as usize)?);
            let sent = tokio::time::Instant::now();
            let since = if sent.duration_since(due) < TICK { sent } else { due };
            under_way.spawn(async move {
                let bytes = call.make(&channel).await?;
                Ok((since.elapsed(), bytes))
            });
        }
        let mut all = Tally::new()?;
        for done in under_way.join_all().await {
            let (took, bytes) = done?;
            all.note(took, bytes);
        }
        Ok(all)
    }

    /// One of its connections; numbers go round.
    #[must_use]
    pub fn channel(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }
}

impl Turn {
    /// Leaves out what processes have in each second anyway, in seconds.
    pub fn leave_out(&mut self, idle: &BTreeMap<String, f64>) {
        for (name, part) in idle {
            if let Some(spent) = self.cpu.get_mut(name) {
                let anyway = Duration::try_from_secs_f64(part * self.seconds).unwrap_or_default();
                *spent = spent.saturating_sub(anyway);
            }
        }
    }

    /// Calls answered in a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    pub fn throughput(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// Milliseconds that this part of the calls took at most.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "an hour has far fewer microseconds than 2^52")]
    pub fn within(&self, part: f64) -> f64 {
        self.times.value_at_quantile(part) as f64 / 1000.0
    }

    /// Size of an answer.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn kibibytes_per_call(&self) -> f64 {
        self.bytes as f64 / 1024.0 / self.times.len().max(1) as f64
    }

    /// Milliseconds of processor time that a process had for each call; of several whose names begin so, together.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    pub fn cpu_per_call(&self, process: &str) -> f64 {
        let spent = self.cpu.iter().filter(|(name, _)| name.starts_with(process)).map(|(_, spent)| spent.as_secs_f64());
        spent.sum::<f64>() * 1000.0 / self.times.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_have_anyway_is_left_out() {
        let cpu = ["server", "etcd", "mysql"].map(|name| (name.to_owned(), Duration::from_millis(100)));
        let (times, cpu) = (Tally::new().unwrap().times, BTreeMap::from(cpu));
        let mut turn = Turn { times, seconds: 2.0, bytes: 0, cpu, resident: 0, files: 0 };
        turn.leave_out(&BTreeMap::from([("etcd".to_owned(), 0.01), ("mysql".to_owned(), 1.0)]));
        let millis = |name: &str| turn.cpu[name].as_millis();
        assert_eq!([millis("server"), millis("etcd"), millis("mysql")], [100, 80, 0]);
    }
}
