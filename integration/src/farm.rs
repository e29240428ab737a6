//! Thousands of light tablets in this process: they answer on real ports all that the life of a Migrate and of its diffs
//! asks of them, from memory, over topologies in real etcds, so that any vtctld can be pointed at them, stock's too. For load
//! and for counting round trips, not for moving rows. Each can be slow, fail, or hang.

mod answers;
mod calls;
mod cluster;
mod contents;
mod control;
mod diff;
mod plan;
mod records;
mod result;
mod shape;
mod sql;
mod statement;
mod stream;
mod tablet;
mod wire;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::Arc,
    time::Duration,
};

use vtmigrated::topo;

use crate::{etcd, life::MOUNT, proxy::Link};
use calls::Calls;
pub use calls::Counts;
pub use cluster::Cluster;
pub use contents::Behind;
use contents::Names;
pub use control::{Facts, serve};
pub use shape::{Shape, Side};
pub use tablet::{Faults, Tablet};

/// Why a farm could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    #[error("topology: {0}")]
    Topo(#[from] topo::Error),
    #[error("farm: {0}")]
    Io(#[from] io::Error),
    #[error("locks are left in the topology: {0:?}")]
    Locks(Vec<String>),
}

/// What a farm is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub shape: Shape,
    /// Name of the first mount; further ones are `<name>-2` and so on. Workflows at start take turns with them.
    pub mount: String,
    pub mounts: usize,
    /// How long a stream copies.
    pub copy_time: Duration,
    /// Whether the topologies are behind something that can delay them, which costs a little.
    pub slow_topology: bool,
    /// Members of the target's etcd.
    pub members: usize,
    /// Whether each tablet is behind something that can cut it off.
    pub linked: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            mount: MOUNT.to_owned(),
            mounts: 1,
            copy_time: Duration::ZERO,
            slow_topology: false,
            members: 1,
            linked: false,
        }
    }
}

impl Settings {
    /// The name of the mount that has a number; numbers go round.
    #[must_use]
    pub fn mount_of(&self, number: usize) -> String {
        match number % self.mounts.max(1) {
            0 => self.mount.clone(),
            at => format!("{}-{}", self.mount, at + 1),
        }
    }
}

/// Two clusters of light tablets. Everything ends when it is dropped.
pub struct Farm {
    settings: Settings,
    source: Cluster,
    target: Cluster,
    calls: Arc<Calls>,
}

impl Farm {
    /// Starts both clusters. The source is not mounted yet, and nothing is delayed.
    ///
    /// # Errors
    /// An etcd does not come up, or no port is free.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let (names, calls) = (Arc::<Names>::default(), Arc::<Calls>::default());
        let source = Cluster::start(Side::Source, &settings, &names, &calls).await?;
        let target = Cluster::start(Side::Target, &settings, &names, &calls).await?;
        Ok(Self { settings, source, target, calls })
    }

    /// Mounts the source in the target, under all names.
    ///
    /// # Errors
    /// The topology does not answer.
    pub async fn mount(&self) -> Result<(), Error> {
        for number in 0..self.settings.mounts {
            self.target.records.mount(&self.settings.mount_of(number), &self.source.topology()).await?;
        }
        Ok(())
    }

    /// One of its clusters.
    #[must_use]
    pub fn cluster(&self, side: Side) -> &Cluster {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// From now on each tablet call takes so long, and each operation of the topologies if these can be delayed.
    pub fn delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.upset("*", &Faults { delay_ms, ..Faults::default() });
        self.source.delay_topology(delay);
        self.target.delay_topology(delay);
    }

    /// Gives faults to an alias, a keyspace, `keyspace/shard`, a cell, or `*`; answers how many tablets these are.
    pub fn upset(&self, which: &str, faults: &Faults) -> usize {
        let meant: Vec<_> = self.meant(which).collect();
        meant.iter().for_each(|tablet| tablet.set(faults.clone()));
        meant.len()
    }

    /// What becomes of the connections to the tablets that [`Self::upset`] would mean; answers how many these are. None when the
    /// farm was started without.
    pub fn link(&self, which: &str, link: Link) -> usize {
        let links = self.source.links.iter().chain(&self.target.links);
        let meant: Vec<_> = links.filter(|(tablet, _)| tablet.is_meant(which)).collect();
        meant.iter().for_each(|(_, proxy)| proxy.set(link));
        meant.len()
    }

    /// How far the clocks of the tablets that [`Self::upset`] would mean are ahead of this machine's, in milliseconds.
    pub fn clocks(&self, which: &str, ahead: i64) {
        self.meant(which).for_each(|tablet| tablet.set_clock(ahead));
    }

    fn meant(&self, which: &str) -> impl Iterator<Item = &Arc<Tablet>> {
        self.source.meant(which).chain(self.target.meant(which))
    }

    /// Calls of the tablets since this was last asked.
    #[must_use]
    pub fn taken(&self) -> Counts {
        self.calls.take()
    }

    /// What a load program has to know.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let names = 0..self.settings.shape.keyspaces;
        let mut processes = BTreeMap::from([("farm".to_owned(), std::process::id())]);
        for side in [Side::Source, Side::Target] {
            let pid = self.cluster(side).etcd().process().pid();
            processes.extend(pid.map(|pid| (format!("etcd {}", side.cell()), pid)));
        }
        Facts {
            flags: self.target.flags(),
            topology: self.target.topology(),
            mount: self.settings.mount.clone(),
            mounts: (0..self.settings.mounts).map(|number| self.settings.mount_of(number)).collect(),
            keyspaces: names.map(|number| (Side::Target.keyspace(number), Side::Source.keyspace(number))).collect(),
            workflows: self.settings.shape.moves(),
            cells: vec![Side::Source.cell().to_owned()],
            processes,
        }
    }

    /// Ends the tablets and checks that no lock is left.
    ///
    /// # Errors
    /// A lock is left.
    pub async fn finish(self) -> Result<(), Error> {
        let locks = [self.source.etcd().locks().await?, self.target.etcd().locks().await?].concat();
        if locks.is_empty() { Ok(()) } else { Err(Error::Locks(locks)) }
    }
}

/// Where a shard is in its binlog, for ever.
fn position(keyspace: &str, shard: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (keyspace, shard).hash(&mut hasher);
    let number = hasher.finish();
    format!("MySQL56/{:08x}-71ca-11e1-9e33-{:012x}:1-100", number >> 32, number & 0xffff_ffff)
}
