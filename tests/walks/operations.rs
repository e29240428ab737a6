//! Our operations, as the servers run them.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vtmigrated::cluster::keyspace;
use vtmigrated::context::{Context, Options};
use vtmigrated::error::Explain;
use vtmigrated::tablet::{self, Client};
use vtmigrated::topo::Topo;
use vtmigrated::workflow::migrate::{cancel, complete, create};
use vtmigrated::workflow::plan::arguments;
use vtmigrated::workflow::status;
use vtmigrated::workflow::status::verdict;
use vtmigrated::workflow::{Error, leftovers, mount, update};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as StreamState;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest as Update;
use vtmigrated_proto::topodata::TopoConfig;
use vtmigrated_proto::vtctldata::{MigrateCreateRequest, VDiffCreateRequest};

use crate::step::Op;
use crate::tablet as light;
use crate::upset::{LATE, Run, Upset};
use crate::way_back;
use crate::world::{MOUNT, SOURCE, State, TARGET, UIDS, World};

pub const WORKFLOW: &str = "import";
pub const SECOND: &str = "second";
/// Longer than any operation takes, with a tablet that hangs for as long as it is waited for.
const PATIENCE: Duration = Duration::from_secs(100_000);

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused(String),
    Died,
}

/// A server.
pub struct Server {
    context: Context,
    world: Arc<World>,
}

impl Op {
    /// The workflow that it is about.
    pub fn workflow(self) -> &'static str {
        match self {
            Self::CreateSecond | Self::CompleteSecond | Self::CancelSecond | Self::CancelSecondKeepingData => SECOND,
            _ => WORKFLOW,
        }
    }

    /// Whether it changes nothing that another one promises.
    pub fn is_quiet(self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Verdict
                | Self::VDiff
                | Self::Update
                | Self::Stop
                | Self::Start
                | Self::Register
                | Self::Unregister
        )
    }

    /// Whether it makes what the workflow brought the users', when it is done.
    fn ends_with_data(self) -> bool {
        matches!(
            self,
            Self::Complete
                | Self::CompleteSecond
                | Self::CompleteIgnoringSource
                | Self::CancelKeepingData
                | Self::CancelSecondKeepingData
        )
    }
}

impl State {
    /// What was handed over is the users' from now on, but for what a later create brings.
    pub fn settle(&mut self, op: Op, outcome: &Outcome) {
        let workflow = op.workflow();
        if op.ends_with_data() && *outcome == Outcome::Done && self.streams_of(workflow).is_empty() {
            self.hand_over(workflow);
        }
    }
}

impl Server {
    pub async fn start(world: &Arc<World>) -> Self {
        let topo = Topo::open(Arc::clone(&world.dialer), "memory", "target", "/vitess/global").await.unwrap();
        let tablets = Client::new(tablet::Options { connections: 1000, ..tablet::Options::default() });
        UIDS.for_each(|uid| tablets.serve_in_process(&format!("light:{uid}"), light::services(world, uid)));
        Self { context: Context::new(Arc::new(topo), tablets, Options::default()), world: Arc::clone(world) }
    }

    /// Runs an operation until it and what it left under way have ended; answers how it ended, and whether the upset happened.
    pub async fn run(&self, op: Op, upset: Option<(usize, Upset)>) -> (Outcome, bool) {
        let is_alone = !matches!(upset, Some((_, Upset::Beside(other))) if !other.is_quiet());
        let answer = self.answer(op, upset, 0).await;
        if !is_alone {
            self.world.state().settle(op, &answer.0);
        }
        tokio::time::sleep(LATE * 2).await;
        answer
    }

    /// Runs an operation beside another one; `pace` is how they take turns. What it hands over is the users' as soon as it has ended,
    /// and what the other one makes after that is not.
    pub async fn run_beside(&self, op: Op, other: Op, pace: usize) -> Outcome {
        let (outcome, _) = self.answer(op, None, pace).await;
        if !other.is_quiet() {
            self.world.state().settle(op, &outcome);
        }
        outcome
    }

    async fn answer(&self, op: Op, upset: Option<(usize, Upset)>, pace: usize) -> (Outcome, bool) {
        self.world.state().back.asked |= op == Op::WayBackPrepare;
        let run = Run::new(&self.world, op, upset, pace);
        self.world.state().command_begins();
        let operation = async {
            let answer = tokio::time::timeout(PATIENCE, self.operation(op)).await;
            self.world.state().command_ended(op);
            answer
        };
        let answer = run.of(operation).await;
        if matches!(answer, Some(Err(_))) {
            self.world.state().violate(format!("{op:?} does not end"));
        }
        let outcome = match answer {
            None | Some(Err(_)) => Outcome::Died,
            Some(Ok(Ok(()))) => Outcome::Done,
            Some(Ok(Err(why))) => Outcome::Refused(why),
        };
        (outcome, run.upset_happened.load(Ordering::Relaxed))
    }

    async fn operation(&self, op: Op) -> Result<(), String> {
        fn told(error: &(impl Explain + Display)) -> String {
            format!("{}: {error} [{}]", error.reason(), error.help())
        }
        if op == Op::DeleteKeyspace {
            let deleted = keyspace::delete(&self.context, TARGET, true, false).await;
            return deleted.map_err(|error| told(&error));
        }
        self.of_workflows(op).await.map_err(|error| told(&error))
    }

    async fn of_workflows(&self, op: Op) -> Result<(), Error> {
        let context = &self.context;
        let workflow = op.workflow().to_owned();
        let keyspace = TARGET.to_owned();
        match op {
            Op::Create | Op::CreateSecond => {
                let arguments = arguments::Arguments::try_from(self.request(workflow))?;
                create::create(context, &arguments).await.map(drop)
            }
            Op::Status => status::status(context, TARGET, &workflow, &[]).await.map(drop),
            Op::Verdict => verdict::verdict(context, TARGET, &workflow).await.map(drop),
            Op::VDiff => {
                let request = VDiffCreateRequest { workflow, target_keyspace: keyspace, ..Default::default() };
                let arguments = vtmigrated::vdiff::create::Arguments::try_from(request)?;
                vtmigrated::vdiff::create::create(context, &arguments).await.map(drop)
            }
            Op::Update => {
                let on_ddl = Some(vtmigrated_proto::binlogdata::OnDdlAction::Exec.into());
                let request = Update { on_ddl, state: None, ..state_change(&workflow, StreamState::Unknown) };
                update::update(context, TARGET, request).await.map(drop)
            }
            Op::Stop | Op::Start => {
                let state = if op == Op::Start { StreamState::Running } else { StreamState::Stopped };
                let request = state_change(&workflow, state);
                update::update(context, TARGET, request).await.map(drop)
            }
            Op::Complete | Op::CompleteSecond | Op::CompleteIgnoringSource => {
                let ignore_source = op == Op::CompleteIgnoringSource;
                let arguments = complete::Arguments { keyspace, workflow, dry_run: false, ignore_source };
                complete::complete(context, &arguments).await.map(drop)
            }
            Op::Cancel | Op::CancelSecond | Op::CancelKeepingData | Op::CancelSecondKeepingData => {
                let keep_data = matches!(op, Op::CancelKeepingData | Op::CancelSecondKeepingData);
                let arguments = cancel::Arguments { keyspace, workflow, keep_data, shards: Vec::new() };
                cancel::cancel(context, &arguments).await.map(drop)
            }
            Op::Unregister => mount::unregister(context, MOUNT).await,
            Op::Register => {
                let (topo_type, server, root) = ("memory".into(), "source".into(), "/vitess/global".into());
                mount::register(context, MOUNT, TopoConfig { topo_type, server, root }).await
            }
            Op::Clean => leftovers::clean(context, TARGET, &[]).await.map(drop),
            Op::WayBackPrepare | Op::WayBackStatus | Op::WayBackComplete | Op::WayBackCancel | Op::WayBackVDiff => {
                way_back::run(context, op, &workflow).await
            }
            Op::DeleteKeyspace => Ok(()),
        }
    }

    fn request(&self, workflow: String) -> MigrateCreateRequest {
        let setup = self.world.state().setup;
        MigrateCreateRequest {
            workflow,
            source_keyspace: SOURCE.into(),
            target_keyspace: TARGET.into(),
            mount_name: MOUNT.into(),
            all_tables: true,
            auto_start: true,
            tablet_types: setup.tablet_types(),
            stop_after_copy: setup.stop_after_copy,
            ..MigrateCreateRequest::default()
        }
    }
}

/// As `Workflow start` and `Workflow stop` send it.
fn state_change(workflow: &str, state: StreamState) -> Update {
    Update {
        workflow: workflow.to_owned(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(state.into()),
        ..Update::default()
    }
}
