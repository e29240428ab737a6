//! Load on vtctlds, and what it costs them and those that they ask: servers take turns in the same run, so that what else
//! the machine does is the same for all.

pub mod allocations;
pub mod call;
pub mod held;
pub mod life;
pub mod process;
pub mod real;
pub mod report;
pub mod rest;
pub mod turn;

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use call::{Call, Kind, Subject};
use turn::{Loop, Server, Turn};

/// No page is larger.
const PAGE: usize = 1 << 30;

/// Why a load could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("connection: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("{0}")]
    Call(Box<tonic::Status>),
    #[error("histogram: {0}")]
    Histogram(String),
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// How servers are measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds that count; one more warms up.
    pub rounds: usize,
    /// For each kind of call, no round begins after so long once one has counted.
    pub most: Duration,
    pub turn: Duration,
    pub how: Loop,
    /// In how many ways callers ask for what they read; 1 is all the same, which servers may read once for several.
    pub ways: usize,
    /// Process ids by what they are, watched beside the servers'.
    pub others: BTreeMap<String, u32>,
    /// What these have while nobody calls, which is not counted: see [`process::idle`].
    pub idle: BTreeMap<String, f64>,
}

/// The one whose turn it is; numbers go round.
#[must_use]
pub fn nth<T: Clone + Default>(all: &[T], number: usize) -> T {
    all.get(number % all.len().max(1)).cloned().unwrap_or_default()
}

/// What callers of the server that has a number ask by turns, in so many `ways`, and what takes it back if it makes something.
/// What servers make they make about different subjects, for they leave different things behind.
#[must_use]
pub fn asked(kind: Kind, abouts: &[Subject], server: usize, ways: usize) -> (Vec<Call>, Option<Call>) {
    let about = nth(abouts, server);
    if let Some(undo) = kind.undo(&about) {
        return (vec![kind.of(&about)], Some(undo));
    }
    let call = |number: usize| {
        let call = kind.of(&nth(abouts, number));
        if ways > 1 { call.apart(number) } else { call }
    };
    ((0..ways.max(1)).map(call).collect(), None)
}

/// Turns of each server with one kind of call: for each round, in the order of `servers`. Who begins changes from round to round.
///
/// # Errors
/// A call fails.
pub async fn measure(servers: &[Server], kind: Kind, abouts: &[Subject], plan: &Plan) -> Result<Vec<Vec<Turn>>, Error> {
    let calls: Vec<_> = (0..servers.len()).map(|at| asked(kind, abouts, at, plan.ways)).collect();
    let (since, mut rounds) = (Instant::now(), Vec::<Vec<Turn>>::new());
    for round in 0..=plan.rounds {
        if !rounds.is_empty() && since.elapsed() >= plan.most {
            break;
        }
        let mut turns: Vec<(usize, Turn)> = Vec::new();
        for at in 0..servers.len() {
            let at = (round + at) % servers.len();
            let (calls, undo) = &calls[at];
            let asked = (calls.as_slice(), undo.as_ref());
            let mut turn = servers[at].turn(asked, plan.how, plan.turn, &plan.others).await?;
            turn.leave_out(&plan.idle);
            turns.push((at, turn));
        }
        turns.sort_by_key(|(at, _)| *at);
        if round > 0 {
            rounds.push(turns.into_iter().map(|(_, turn)| turn).collect());
        }
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn subject(keyspace: &str) -> Subject {
        Subject { target: keyspace.into(), ..Subject::default() }
    }

    #[test]
    fn callers_ask_the_same_or_each_something_else() {
        let abouts = [subject("a"), subject("b")];
        let different = |ways| {
            let calls = asked(Kind::GetVSchema, &abouts, 1, ways).0;
            calls.iter().map(|call| format!("{call:?}")).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((different(1), different(16)), (1, 16));
    }

    #[test]
    fn servers_make_what_they_make_about_different_subjects() {
        let abouts = [subject("a"), subject("b")];
        let made = |server| {
            let (calls, undo) = asked(Kind::MigrateCreate, &abouts, server, 16);
            assert!(calls.len() == 1 && undo.is_some());
            format!("{calls:?}")
        };
        assert_ne!(made(0), made(1));
        assert_eq!(made(0), made(2));
    }
}
