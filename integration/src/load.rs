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

use std::{collections::BTreeMap, io, time::Duration};

use call::{Kind, Subject};
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
    pub turn: Duration,
    pub how: Loop,
    /// Process ids by what they are, watched beside the servers'.
    pub others: BTreeMap<String, u32>,
}

/// Turns of each server with one kind of call: for each round, in the order of `servers`. Who begins changes from round to round.
///
/// # Errors
/// A call fails.
pub async fn measure(servers: &[Server], kind: Kind, about: &Subject, plan: &Plan) -> Result<Vec<Vec<Turn>>, Error> {
    let (call, undo) = (kind.of(about), kind.undo(about));
    let mut rounds = Vec::new();
    for round in 0..=plan.rounds {
        let mut turns: Vec<(usize, Turn)> = Vec::new();
        for at in 0..servers.len() {
            let at = (round + at) % servers.len();
            let turn = servers[at].turn((&call, undo.as_ref()), plan.how, plan.turn, &plan.others).await?;
            turns.push((at, turn));
        }
        turns.sort_by_key(|(at, _)| *at);
        if round > 0 {
            rounds.push(turns.into_iter().map(|(_, turn)| turn).collect());
        }
    }
    Ok(rounds)
}
