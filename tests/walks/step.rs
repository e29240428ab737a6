//! The steps of a walk, and how a number becomes a walk.

use crate::upset::Upset;
use crate::way_back_steps;
use crate::world::Setup;

/// One of our operations. Those of `second` are of another workflow on the same tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    CreateSecond,
    Status,
    Verdict,
    VDiff,
    /// Of what streams do with DDL.
    Update,
    Stop,
    Start,
    Complete,
    CompleteIgnoringSource,
    CompleteSecond,
    Cancel,
    CancelKeepingData,
    CancelSecond,
    CancelSecondKeepingData,
    Unregister,
    Register,
    Clean,
    /// Of the target.
    DeleteKeyspace,
    WayBackPrepare,
    WayBackStatus,
    WayBackComplete,
    WayBackCancel,
    /// Of the rows on the way back.
    WayBackVDiff,
}

/// What somebody writes into a stream's row as its position. None is ahead of what the stream has applied: that would be a lie
/// that nobody can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Empty,
    Garbled,
    /// So many transactions back.
    Older(usize),
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One of our operations, with what happens at one of its calls.
    Our(Op, Option<(usize, Upset)>),
    /// Two servers at once, and how they take turns.
    Both(Op, Op, usize),
    StockDelete {
        keep_data: bool,
    },
    StockComplete,
    StockCreate,
    StreamDeleted(usize),
    StreamFails(usize),
    StreamsStopped,
    StreamsFrozen,
    StreamsThawed,
    /// Of the stream of this number.
    PositionEdited(usize, Position),
    /// As a stock vtctld deletes it.
    KeyspaceAnew,
    /// By our `DeleteKeyspace`, with what happens at one of its calls; it is repeated when it did not end.
    KeyspaceDeleted(Option<(usize, Upset)>),
    ReparentTarget(usize),
    ReparentSource(usize),
    /// A source tablet takes over, and the shard's record does not say it yet; the old primary goes on answering.
    SourceFailsOver(usize),
    ReshardSource,
    OldShardsDeleted,
    SourceWrites(usize),
    SourceDeletes,
    ClientWrites,
    /// Those whose bits are set.
    UserMakesTables(usize),
    UserDropsTables(usize),
    LiftedByHand,
    SourceDies,
    SourceTopologyDies,
    SourceHangs,
    TargetDies,
    TargetHangs,
    Stall,
    Heal,
    Wait(usize),
    /// Clients write to the side that serves.
    Writes(usize),
    /// Users take away what is left on a target after going back.
    TargetCleared,
}

/// Numbers that look random (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, weighted: &[(usize, T)]) -> T {
        let mut at = self.roll(weighted.iter().map(|(weight, _)| weight).sum());
        for (weight, what) in weighted {
            if at < *weight {
                return *what;
            }
            at -= weight;
        }
        weighted[0].1
    }

    pub fn op(&mut self) -> Op {
        self.pick(&[
            (10, Op::Create),
            (2, Op::CreateSecond),
            (2, Op::Status),
            (1, Op::Verdict),
            (2, Op::VDiff),
            (1, Op::Update),
            (2, Op::Stop),
            (4, Op::Start),
            (10, Op::Complete),
            (2, Op::CompleteIgnoringSource),
            (2, Op::CompleteSecond),
            (8, Op::Cancel),
            (3, Op::CancelKeepingData),
            (2, Op::CancelSecond),
            (1, Op::CancelSecondKeepingData),
            (2, Op::Unregister),
            (2, Op::Register),
            (4, Op::Clean),
        ])
    }

    fn upset(&mut self) -> Upset {
        let number = self.roll(Upset::ALL.len() + 2);
        Upset::ALL.get(number).copied().unwrap_or_else(|| Upset::Overtaken(self.op()))
    }

    /// At which call it happens: more often near the beginning, where most calls are.
    fn upset_at(&mut self) -> Option<(usize, Upset)> {
        let most = [12, 40, 110][self.roll(3)];
        (self.roll(100) < 45).then(|| (self.roll(most), self.upset()))
    }

    fn position(&mut self) -> Position {
        [Position::Empty, Position::Garbled, Position::Older(1 + self.roll(4)), Position::Older(20)][self.roll(4)]
    }

    /// Somebody answers no more.
    pub fn silence(&mut self) -> Step {
        let silent =
            [Step::SourceDies, Step::SourceHangs, Step::SourceTopologyDies, Step::TargetDies, Step::TargetHangs];
        silent[self.roll(silent.len())]
    }

    fn step(&mut self) -> Step {
        if self.roll(100) < 45 {
            return Step::Our(self.op(), self.upset_at());
        }
        match self.roll(32) {
            0 => Step::Both(self.op(), self.op(), self.roll(1000)),
            1 => Step::StockDelete { keep_data: self.one_in(2) },
            2 => Step::StockComplete,
            3 => Step::StreamDeleted(self.roll(3)),
            4 => Step::StreamFails(self.roll(3)),
            5 => [Step::StreamsStopped, Step::StreamsFrozen, Step::StreamsThawed][self.roll(3)],
            6 => match self.roll(4) {
                0 => Step::KeyspaceAnew,
                1 => Step::KeyspaceDeleted(self.upset_at()),
                _ => Step::LiftedByHand,
            },
            7 => Step::ReparentTarget(self.roll(2)),
            8 => [Step::ReparentSource(self.roll(2)), Step::SourceFailsOver(self.roll(2))][self.roll(2)],
            9 => [Step::ReshardSource, Step::ReshardSource, Step::OldShardsDeleted][self.roll(3)],
            10..=13 => Step::SourceWrites(1 + self.roll(6)),
            14 => Step::SourceDeletes,
            15..=17 => Step::ClientWrites,
            18 => Step::UserMakesTables(1 + self.roll(3)),
            19 => self.silence(),
            20 => Step::Stall,
            21..=22 => Step::Heal,
            23 => Step::StockCreate,
            24 => Step::PositionEdited(self.roll(3), self.position()),
            25 => Step::UserDropsTables(1 + self.roll(3)),
            _ => Step::Wait(1 + self.roll(20)),
        }
    }
}

/// The walk of a number.
pub fn walk(seed: u64, steps: usize) -> (Setup, Vec<Step>) {
    if seed % way_back_steps::ONE_IN == way_back_steps::ONE_IN - 1 {
        return way_back_steps::walk(seed, steps);
    }
    let mut dice = Dice::new(seed);
    let setup = Setup {
        source_sharded: dice.one_in(2),
        target_sharded: dice.one_in(2),
        tables_there: dice.one_in(4),
        denied_before: dice.one_in(6),
        stop_after_copy: dice.one_in(6),
        from_replicas: dice.one_in(3),
        first_way_out: dice.roll(6),
        way_back: false,
    };
    let mut walk = Vec::new();
    // most walks have something to walk with
    match dice.roll(8) {
        0 => {}
        1 => walk.push(Step::StockCreate),
        _ => walk.push(Step::Our(Op::Create, None)),
    }
    while walk.len() < steps {
        walk.push(dice.step());
    }
    (setup, walk)
}
