//! What goes wrong.

use std::{fs, io::ErrorKind, time::Duration};

use integration::{
    farm::{Faults, Side},
    proxy::Link,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{
    dice::Dice,
    world::{LIVES, MORTAL, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leader of the target's etcd is killed.
    LeaderKilled,
    /// Two of its three members are.
    QuorumLost,
    /// Each of its answers takes half a second.
    TopologySlow,
    /// The source's etcd is killed.
    SourceTopologyKilled,
    /// One shard's tablets are cut off, and nobody is told.
    TabletsBlackHoled,
    /// Connections to them are reset.
    TabletsReset,
    /// They take calls and do not answer.
    TabletsHang,
    /// They do what they are asked and answer with errors.
    TabletsFail,
    /// Servers of ours are killed, one after the other.
    ServersKilled,
    /// They can open no more files.
    OutOfFiles,
    /// The disk of a log is full.
    LogDiskFull,
    /// The clocks of tablets go an hour forth or back: what ours knows of time it knows by its difference from these.
    ClocksJump,
}

const HOUR: i64 = 3_600_000;

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::LeaderKilled,
        Self::TabletsBlackHoled,
        Self::ServersKilled,
        Self::TabletsHang,
        Self::OutOfFiles,
        Self::QuorumLost,
        Self::TabletsReset,
        Self::TopologySlow,
        Self::TabletsFail,
        Self::LogDiskFull,
        Self::SourceTopologyKilled,
        Self::ClocksJump,
    ];

    /// Whether it may come together with any other.
    pub fn is_of_tablets(self) -> bool {
        matches!(self, Self::TabletsBlackHoled | Self::TabletsReset | Self::TabletsHang | Self::TabletsFail)
    }

    /// Comes, stays for a while, and goes.
    pub async fn strike(self, world: &World, dice: &mut Dice) {
        match self {
            Self::LeaderKilled | Self::QuorumLost | Self::TopologySlow | Self::SourceTopologyKilled => {
                self.of_topologies(world, dice).await;
            }
            Self::TabletsBlackHoled | Self::TabletsReset | Self::TabletsHang | Self::TabletsFail => {
                self.of_tablets(world, dice).await;
            }
            Self::ServersKilled => servers_killed(world, dice).await,
            Self::OutOfFiles => out_of_files(world, dice).await,
            Self::LogDiskFull => log_disk_full(world, dice).await,
            Self::ClocksJump => {
                world.farm.clocks(dice.pick(&["zone1", "zone2", "*"]), dice.pick(&[HOUR, -HOUR]));
                dice.sleep(1000, 3000).await;
                world.farm.clocks("*", 0);
            }
        }
    }

    async fn of_topologies(self, world: &World, dice: &mut Dice) {
        let cluster = world.farm.cluster(Side::Target);
        let etcd = cluster.etcd();
        match self {
            Self::TopologySlow => {
                cluster.delay_topology(Duration::from_millis(500));
                dice.sleep(3000, 5000).await;
                cluster.delay_topology(Duration::ZERO);
            }
            Self::SourceTopologyKilled => {
                let source = world.farm.cluster(Side::Source).etcd();
                source.kill().unwrap();
                dice.sleep(500, 3000).await;
                source.restart().await.unwrap();
            }
            _ => {
                let leader = etcd.leader().await.unwrap_or_default();
                let lost = if self == Self::QuorumLost { vec![leader, (leader + 1) % 3] } else { vec![leader] };
                lost.iter().for_each(|member| etcd.kill_member(*member).unwrap());
                dice.sleep(1000, 3500).await;
                lost.iter().for_each(|member| etcd.start_member(*member).unwrap());
                etcd.until_ready().await.unwrap();
            }
        }
    }

    async fn of_tablets(self, world: &World, dice: &mut Dice) {
        let (side, shard) = dice.pick(&[(Side::Source, "0"), (Side::Target, "-80"), (Side::Target, "80-")]);
        let shards: Vec<String> = (0..LIVES).map(|life| format!("{}/{shard}", side.keyspace(life))).collect();
        let each = |run: &dyn Fn(&str) -> usize| assert!(shards.iter().all(|shard| run(shard) > 0));
        let link = |link: Link| each(&|shard| world.farm.link(shard, link));
        let upset = |faults: &Faults| each(&|shard| world.farm.upset(shard, faults));
        match self {
            Self::TabletsBlackHoled | Self::TabletsReset => {
                link(if self == Self::TabletsReset { Link::Cut } else { Link::Blocked });
                dice.sleep(1000, 5000).await;
                link(Link::Open);
            }
            _ => {
                let error = (self == Self::TabletsFail).then(|| "a fault of the test".to_owned());
                upset(&Faults { hang: error.is_none(), error, ..Faults::default() });
                dice.sleep(1000, 5000).await;
                upset(&Faults::default());
            }
        }
    }
}

async fn servers_killed(world: &World, dice: &mut Dice) {
    let first = dice.roll(MORTAL);
    for number in 0..MORTAL {
        let server = &world.servers[(first + number) % MORTAL];
        dice.sleep(0, 700).await;
        server.kill9().unwrap();
        dice.sleep(0, 300).await;
        server.restart().await.unwrap();
    }
}

async fn out_of_files(world: &World, dice: &mut Dice) {
    // theirs is the same
    let most = getrlimit(Resource::Nofile).maximum;
    let mut before = Vec::new();
    for server in &world.servers {
        let pid = i32::try_from(server.process().pid().unwrap()).ok().and_then(Pid::from_raw).unwrap();
        let few = server.open_files().unwrap() + dice.roll(4);
        let files = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(few as u64), maximum: most }).unwrap();
        before.push((pid, files));
    }
    dice.sleep(1000, 4000).await;
    for (pid, files) in before {
        prlimit(Some(pid), Resource::Nofile, files).unwrap();
    }
}

async fn log_disk_full(world: &World, dice: &mut Dice) {
    let Some(filler) = world.filler() else { return };
    // as much as there is room for
    assert_eq!(fs::write(&filler, vec![0_u8; 1 << 20]).unwrap_err().kind(), ErrorKind::StorageFull);
    dice.sleep(1000, 3000).await;
    fs::remove_file(&filler).unwrap();
}
