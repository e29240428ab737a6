//! One migration's small life under faults, and the documented way to its end after them.

use std::time::Duration;

use integration::{
    client::Vtctld,
    farm::Side,
    life::{WORKFLOW, change, expect_streams, migrate},
};
use tonic::{Code, Status};
use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    tabletmanagerdata::UpdateVReplicationWorkflowRequest,
    vtctldata::{
        MigrateCreateRequest, MoveTablesCompleteRequest, VDiffCreateRequest, WorkflowDeleteRequest,
        WorkflowStatusRequest, WorkflowUpdateRequest,
    },
};

use super::{
    dice::Dice,
    world::{MORTAL, World},
};

/// No call takes longer, with faults that end.
const PATIENCE: Duration = Duration::from_secs(90);
/// Looks for streams that run.
const LOOKS: usize = 10;
/// Times that the way out is gone before another one is.
const TRIES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Status,
    VDiff,
    Stop,
    Start,
    Complete,
    Cancel,
    CancelKeepingData,
}

/// How a life is to end, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Completed,
    Cancelled,
    /// Nothing was there any more when it was to be ended.
    Gone,
    /// Cancelled so that the tables stay.
    Kept,
}

pub struct Life {
    /// Its number, which its keyspaces have, too.
    pub number: usize,
    pub wanted: End,
    /// Whether a user had made one of the tables before.
    pub existing: bool,
    /// How a call ended it that was answered.
    pub accepted: Option<End>,
    /// What was asked, and how it ended.
    pub told: Vec<String>,
    /// The same without words.
    asked: Vec<Op>,
    /// Whether a create was answered.
    created: bool,
    dice: Dice,
}

impl Op {
    async fn ask(self, mut client: Vtctld, life: usize) -> Result<(), Status> {
        let (keyspace, workflow) = (Side::Target.keyspace(life), WORKFLOW.to_owned());
        match self {
            Self::Create => {
                let request = migrate(&Side::Source.keyspace(life), &keyspace);
                let cells = vec![Side::Source.cell().to_owned()];
                client.migrate_create(MigrateCreateRequest { cells, ..request }).await.map(drop)
            }
            Self::Status => {
                let request = WorkflowStatusRequest { keyspace, workflow, ..WorkflowStatusRequest::default() };
                let status = client.workflow_status(request).await?.into_inner();
                expect_streams(&status, "Running").map_err(Status::unknown)
            }
            Self::VDiff => {
                let target_keyspace = keyspace;
                let request = VDiffCreateRequest { workflow, target_keyspace, ..VDiffCreateRequest::default() };
                client.v_diff_create(request).await.map(drop)
            }
            Self::Stop | Self::Start => {
                let state = if self == Self::Start { State::Running } else { State::Stopped };
                let request = UpdateVReplicationWorkflowRequest { state: Some(state.into()), ..change(WORKFLOW) };
                let request = WorkflowUpdateRequest { keyspace, tablet_request: Some(request) };
                client.workflow_update(request).await.map(drop)
            }
            Self::Complete => {
                let target_keyspace = keyspace;
                let request =
                    MoveTablesCompleteRequest { workflow, target_keyspace, ..MoveTablesCompleteRequest::default() };
                client.move_tables_complete(request).await.map(drop)
            }
            Self::Cancel | Self::CancelKeepingData => {
                let keep_data = self == Self::CancelKeepingData;
                let request =
                    WorkflowDeleteRequest { keyspace, workflow, keep_data, ..WorkflowDeleteRequest::default() };
                client.workflow_delete(request).await.map(drop)
            }
        }
    }
}

impl Life {
    pub fn new(number: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let wanted = if dice.one_in(2) { End::Completed } else { End::Cancelled };
        let existing = dice.one_in(3);
        Self { number, wanted, existing, accepted: None, told: Vec::new(), asked: Vec::new(), created: false, dice }
    }

    fn ending(&self) -> Op {
        if self.wanted == End::Completed { Op::Complete } else { Op::Cancel }
    }

    fn tell(&mut self, op: Op, server: usize, answer: &Result<(), Status>) {
        let how = match answer {
            Ok(()) => "done".to_owned(),
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        };
        self.told.push(format!("{op:?} by server {server}: {how}"));
        self.asked.push(op);
        if answer.is_err() {
            return;
        }
        self.created |= op == Op::Create;
        let end = match op {
            Op::Complete => Some(End::Completed),
            Op::Cancel => Some(End::Cancelled),
            Op::CancelKeepingData => Some(End::Kept),
            _ => None,
        };
        // what was handed over stays so, whatever is accepted later
        self.accepted = self.accepted.or(end);
    }

    /// How it has ended, also by a call whose answer was lost: only a cancel takes tables away, only a complete hands them over.
    pub fn came_to(&self, end: &Result<End, String>) -> Option<End> {
        let asked = |op: Op| self.asked.contains(&op);
        let cancels = asked(Op::Cancel) || asked(Op::CancelKeepingData);
        match self.accepted.or_else(|| end.as_ref().ok().copied()) {
            Some(End::Gone) if self.created && !cancels => Some(End::Completed),
            Some(End::Gone) if asked(Op::Cancel) && !asked(Op::Complete) && !asked(Op::CancelKeepingData) => {
                Some(End::Cancelled)
            }
            other => other,
        }
    }

    async fn ask(&mut self, world: &World, op: Op, server: usize) -> Result<(), Status> {
        let answer = within(op.ask(world.client(server), self.number)).await;
        self.tell(op, server, &answer);
        answer
    }

    /// The same of two servers at once.
    async fn ask_two(&mut self, world: &World, op: Op) {
        let first = self.server();
        let second = (first + 1) % (MORTAL + 1);
        let [one, other] = [first, second].map(|server| within(op.ask(world.client(server), self.number)));
        let (one, other) = tokio::join!(one, other);
        self.tell(op, first, &one);
        self.tell(op, second, &other);
    }

    fn server(&mut self) -> usize {
        self.dice.roll(MORTAL + 1)
    }

    async fn once_more(&mut self, world: &World, op: Op) {
        let server = self.server();
        if self.ask(world, op, server).await.is_err() && self.dice.one_in(2) {
            self.dice.sleep(0, 500).await;
            let another = self.server();
            self.ask(world, op, another).await.ok();
        }
    }

    /// What it does while things go wrong.
    pub async fn live(&mut self, world: &World) {
        self.dice.sleep(0, 1000).await;
        if self.dice.one_in(6) {
            self.ask_two(world, Op::Create).await;
        } else {
            self.once_more(world, Op::Create).await;
        }
        self.dice.sleep(0, 700).await;
        match self.dice.roll(4) {
            0 => self.once_more(world, Op::VDiff).await,
            1 => {
                self.once_more(world, Op::Stop).await;
                self.once_more(world, Op::Start).await;
            }
            _ => {}
        }
        let server = self.server();
        self.until_running(world, server).await;
        self.dice.sleep(0, 1000).await;
        let ending = self.ending();
        if self.dice.one_in(5) {
            self.ask_two(world, ending).await;
        } else {
            self.once_more(world, ending).await;
        }
    }

    async fn until_running(&self, world: &World, server: usize) {
        for _ in 0..LOOKS {
            let answer = within(Op::Status.ask(world.client(server), self.number)).await;
            if answer.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// After the faults: ends it as it was to end. A create that was cut off goes on, streams that stand are started; what cannot be
    /// completed so is cancelled; and what cannot be cancelled is ended so that its tables stay.
    pub async fn settle(&mut self, world: &World) -> Result<End, String> {
        let server = self.server();
        let mut ways = vec![self.ending(); TRIES];
        ways.extend([Op::Cancel, Op::Cancel, Op::CancelKeepingData, Op::CancelKeepingData]);
        let mut last = String::new();
        for way in ways {
            match self.ask(world, way, server).await {
                Ok(()) => return Ok(self.accepted.unwrap_or(End::Gone)),
                // of a create that was not wholly taken back the answer names the cancel that is left
                Err(status)
                    if is_gone(&status) && way == Op::Complete && status.message().contains("its record is left") =>
                {
                    if self.ask(world, Op::Cancel, server).await.is_ok() {
                        return Ok(End::Gone);
                    }
                    last = format!("{way:?}: {}", status.message());
                }
                Err(status) if is_gone(&status) => return Ok(End::Gone),
                Err(status) => last = format!("{way:?}: {:?} {}", status.code(), status.message()),
            }
            if way == Op::Complete {
                self.ask(world, Op::Create, server).await.ok();
                self.ask(world, Op::Start, server).await.ok();
                self.until_running(world, server).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Err(last)
    }
}

/// Stock's answer to a workflow that is not there.
fn is_gone(status: &Status) -> bool {
    status.code() == Code::NotFound && status.message().starts_with("no streams found in keyspace")
}

async fn within(call: impl Future<Output = Result<(), Status>>) -> Result<(), Status> {
    let late = |_| Err(Status::internal(format!("does not end within {PATIENCE:?}")));
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(late)
}
