//! What a cluster will consist of, and its start.

use std::{collections::BTreeMap, time::Duration};

use integration_tablet::{Generation, Options, Tuning};
use vtmigrated_proto::topodata::TabletType;

use super::{Cluster, Error, Shard, member::Member, topology};
use crate::{
    etcd::Etcd,
    mysqld::{Mysqld, Release},
};

/// What a cluster will consist of.
#[derive(Clone)]
pub struct Builder {
    cell: String,
    keyspaces: Vec<(String, Vec<String>)>,
    vschemas: Vec<(String, String)>,
    first_uid: u32,
    replicas: u32,
    tuning: Tuning,
    generation: Generation,
    tablets: bool,
    mysql: Release,
    small_letters: bool,
}

impl Builder {
    pub(super) fn new(cell: &str) -> Self {
        // Far below stock's, so that a test waits seconds after a fault and not minutes.
        let tuning = Tuning {
            retry_delay: Duration::from_millis(500),
            picker_delay: Duration::from_millis(500),
            rows_copied_interval: Duration::from_millis(500),
            position_poll: Duration::from_millis(50),
            vdiff_retry_interval: Duration::from_secs(1),
            vdiff_restart_delay: Duration::from_millis(500),
            ..Tuning::default()
        };
        Self {
            cell: cell.to_owned(),
            keyspaces: Vec::new(),
            vschemas: Vec::new(),
            first_uid: 100,
            replicas: 0,
            tuning,
            generation: Generation::default(),
            tablets: true,
            mysql: Release::default(),
            small_letters: false,
        }
    }

    /// Adds a keyspace with its shards: `&["0"]`, `&["-80", "80-"]`.
    #[must_use]
    pub fn keyspace(mut self, name: &str, shards: &[&str]) -> Self {
        self.keyspaces.push((name.to_owned(), shards.iter().map(|shard| (*shard).to_owned()).collect()));
        self
    }

    /// Gives the keyspace that was added last a VSchema, in the JSON of `ApplyVSchema --vschema`.
    #[must_use]
    pub fn vschema(mut self, json: &str) -> Self {
        self.vschemas.extend(self.keyspaces.last().map(|(name, _)| (name.clone(), json.to_owned())));
        self
    }

    /// Numbers the primaries from `uid` instead of 100, ten apart.
    #[must_use]
    pub fn first_uid(mut self, uid: u32) -> Self {
        self.first_uid = uid;
        self
    }

    /// Gives each shard so many tablets of type replica beside the primary, at most nine. They read the primary's database.
    #[must_use]
    pub fn replicas(mut self, count: u32) -> Self {
        self.replicas = count.min(9);
        self
    }

    /// Waiting times of the tablets instead of the short ones that are set.
    #[must_use]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// The version that the tablets behave as.
    #[must_use]
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// The tablets send rows slowly: so long after each packet of 250 kB.
    #[must_use]
    pub fn row_pause(mut self, pause: Duration) -> Self {
        self.tuning.row_pause = pause;
        self
    }

    /// The MySQL that the tablets run on, instead of 8.0.
    #[must_use]
    pub fn mysql(mut self, release: Release) -> Self {
        self.mysql = release;
        self
    }

    /// MySQL spells the names of tables in small letters, whoever makes them.
    #[must_use]
    pub fn small_letters(mut self) -> Self {
        self.small_letters = true;
        self
    }

    /// Leaves out MySQL and the tablets: records only.
    #[must_use]
    pub fn without_tablets(mut self) -> Self {
        self.tablets = false;
        self
    }

    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// A program or a tablet does not come up, or a shard's name is not one.
    pub async fn start(self) -> Result<Cluster, Error> {
        let etcd = Etcd::start().await?;
        let mysqld = match (self.tablets, self.small_letters) {
            (false, _) => None,
            (true, false) => Some(Mysqld::start_release(self.mysql).await?),
            (true, true) => Some(Mysqld::start_in_small_letters().await?),
        };
        let mut client = etcd.connect().await?;
        topology::write_cell(&mut client, &self.cell, &etcd.address()).await?;
        let mut shards = BTreeMap::new();
        let mut uid = self.first_uid;
        for (keyspace, names) in &self.keyspaces {
            topology::write_keyspace(&mut client, &self.cell, keyspace, names).await?;
        }
        for (keyspace, json) in &self.vschemas {
            topology::write_vschema(&mut client, keyspace, json).await?;
        }
        if !self.vschemas.is_empty() {
            topology::write_serving_vschema(&mut client, &self.cell).await?;
        }
        for (keyspace, names) in &self.keyspaces {
            for (number, name) in names.iter().enumerate() {
                let mut options = Options::new(&self.cell, uid, keyspace, name, 0);
                options.key_range = topology::range(name)?;
                options.db_name = format!("vt_{keyspace}_{number}");
                options.topo_global_server = etcd.address();
                options.generation = self.generation;
                options.topo_global_root = topology::GLOBAL_ROOT.to_owned();
                topology::write_shard(&mut client, keyspace, name, options.alias()).await?;
                let shard = self.start_shard(options, mysqld.as_ref()).await?;
                shards.insert((keyspace.clone(), name.clone()), shard);
                uid += 10;
            }
        }
        Ok(Cluster { cell: self.cell, shards, mysqld, etcd })
    }

    /// Starts the tablets of one shard: the primary of `primary`, then the replicas.
    async fn start_shard(&self, primary: Options, mysqld: Option<&Mysqld>) -> Result<Shard, Error> {
        let mut shard = Shard {
            keyspace: primary.keyspace.clone(),
            name: primary.shard.clone(),
            alias: primary.alias(),
            db_name: primary.db_name.clone(),
            opts: mysqld.map(|server| server.opts(&primary.db_name)),
            tablets: Vec::new(),
        };
        let Some(server) = mysqld else { return Ok(shard) };
        for number in 0..=self.replicas {
            let mut options = primary.clone();
            options.uid += number;
            options.sidecar_db = format!("_vt_{}", options.uid);
            options.mysql_port = server.port();
            options.tablet_type = if number == 0 { TabletType::Primary } else { TabletType::Replica };
            options.in_step = number > 0;
            shard.tablets.push(Member::start(options, self.tuning.clone()).await?);
        }
        Ok(shard)
    }
}
