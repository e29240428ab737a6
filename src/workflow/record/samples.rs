//! Records for tests.

use super::{Facts, Phase};

/// What a record of a phase says that nothing else is known of, from keyspace commerce of mount ext1.
pub fn facts(phase: Phase) -> Facts {
    Facts {
        phase,
        mount: "ext1".into(),
        source: ("commerce".into(), Vec::new()),
        source_created: None,
        arguments: String::new(),
        tables: Vec::new(),
        left_out: None,
        created_tables: Vec::new(),
        vschema_tables: Vec::new(),
        denied_tables: Vec::new(),
        shards: Vec::new(),
        taken_back: false,
        cancelling: false,
        made_at: Vec::new(),
        completing: false,
        snapshot: false,
        handed_over: false,
        keeping: false,
        streams: None,
        every_pair: false,
        seen_to: Vec::new(),
        unaware: Vec::new(),
        aware: Vec::new(),
        starting: Vec::new(),
        reigns: Vec::new(),
        sizes: Vec::new(),
    }
}
