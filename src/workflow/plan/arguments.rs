//! The arguments of create, decoded and checked.

use vtmigrated_proto::binlogdata::OnDdlAction;
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

use crate::error::Reason;
use crate::workflow::{Error, names};

/// What create was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub workflow: String,
    pub source_keyspace: String,
    pub target_keyspace: String,
    pub mount: String,
    pub cells: Vec<String>,
    pub tablet_types: Vec<TabletType>,
    pub preference: TabletSelectionPreference,
    pub all_tables: bool,
    pub include_tables: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub source_time_zone: String,
    pub on_ddl: OnDdlAction,
    pub stop_after_copy: bool,
    pub drop_foreign_keys: bool,
    pub defer_secondary_keys: bool,
    pub auto_start: bool,
}

impl Arguments {
    /// The same text for the same arguments, so that a repeated create can be told from another one.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

impl TryFrom<MigrateCreateRequest> for Arguments {
    type Error = Error;

    fn try_from(request: MigrateCreateRequest) -> Result<Self, Error> {
        names::check_new_workflow(&request.workflow)?;
        names::check_keyspace("source", &request.source_keyspace)?;
        names::check_keyspace("target", &request.target_keyspace)?;
        if request.mount_name.is_empty() {
            let help = "name a mount with --mount-name; to move tables inside one cluster use MoveTables";
            return Err(Error::invalid(Reason::NO_MOUNT, "no mount name is given", help));
        }
        let mut tablet_types = Vec::new();
        for number in &request.tablet_types {
            match TabletType::try_from(*number) {
                Ok(kind @ (TabletType::Primary | TabletType::Replica | TabletType::Rdonly)) => tablet_types.push(kind),
                _ => {
                    let text = format!("invalid tablet type passed {}", type_name(*number));
                    return Err(Error::invalid(Reason::BAD_TABLET_TYPE, text, "use primary, replica or rdonly"));
                }
            }
        }
        let on_ddl = on_ddl(&request.on_ddl)?;
        for list in [&request.cells, &request.include_tables, &request.exclude_tables] {
            names::check_list("cell or table", list)?;
        }
        if let Some(bad) = request.cells.iter().find(|cell| cell.contains(',')) {
            return Err(Error::invalid(
                Reason::BAD_NAME,
                format!("bad cell name {bad:?}"),
                "give one name in each element",
            ));
        }
        let zone = &request.source_time_zone;
        if zone.len() > 64
            || !zone.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+' | ':'))
        {
            let shown: String = zone.chars().take(64).filter(|c| !c.is_control()).collect();
            return Err(Error::invalid(
                Reason::BAD_TIME_ZONE,
                format!("bad source time zone {shown:?}"),
                "such as US/Pacific or +02:00",
            ));
        }
        // an order of nothing is a text that tablets cannot read (Vitess 22.0.3)
        let preference = match tablet_types.as_slice() {
            [] => TabletSelectionPreference::Any,
            _ => request.tablet_selection_preference(),
        };
        Ok(Self {
            workflow: request.workflow,
            source_keyspace: request.source_keyspace,
            target_keyspace: request.target_keyspace,
            mount: request.mount_name,
            cells: request.cells,
            tablet_types,
            preference,
            all_tables: request.all_tables,
            include_tables: request.include_tables,
            exclude_tables: request.exclude_tables,
            source_time_zone: request.source_time_zone,
            on_ddl,
            stop_after_copy: request.stop_after_copy,
            drop_foreign_keys: request.drop_foreign_keys,
            defer_secondary_keys: request.defer_secondary_keys,
            auto_start: request.auto_start,
        })
    }
}

fn type_name(number: i32) -> String {
    TabletType::try_from(number).map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_owned())
}

/// Stock takes exact capitals and silently ignores everything else; here letter case does not matter.
pub(in crate::workflow) fn on_ddl(text: &str) -> Result<OnDdlAction, Error> {
    match text.to_ascii_uppercase().as_str() {
        "" | "IGNORE" => Ok(OnDdlAction::Ignore),
        "STOP" => Ok(OnDdlAction::Stop),
        "EXEC" => Ok(OnDdlAction::Exec),
        "EXEC_IGNORE" => Ok(OnDdlAction::ExecIgnore),
        _ => {
            let shown: String = text.chars().take(32).filter(|c| !c.is_control()).collect();
            Err(Error::invalid(
                Reason::BAD_ON_DDL,
                format!("invalid on-ddl value: {shown}"),
                "use IGNORE, STOP, EXEC or EXEC_IGNORE",
            ))
        }
    }
}
