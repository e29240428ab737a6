//! Refusals as vttablet 22.0.3 words and codes them.

use tonic::{Code, Status};
use vtmigrated_proto::query::Target;

use crate::{filter, shared::Shared, vindex};

/// The status of a rule that cannot be followed.
#[must_use]
pub fn of_filter(error: filter::Error) -> Status {
    let code = match &error {
        filter::Error::Vindex(vindex::Error::NoVindex(_)) => Code::InvalidArgument,
        _ => Code::Unknown,
    };
    Status::new(code, error.to_string())
}

/// Whether a call is meant for this tablet.
///
/// # Errors
/// INVALID_ARGUMENT for no target, another keyspace or shard; FAILED_PRECONDITION for another type or when not serving.
pub fn check_target(shared: &Shared, target: Option<&Target>) -> Result<(), Status> {
    let target = target.ok_or_else(|| Status::invalid_argument("No target"))?;
    let options = &shared.options;
    let differs = |what: &str, got: &str, want: &str| {
        Status::invalid_argument(format!("invalid {what} {got} does not match expected {want}"))
    };
    if target.keyspace != options.keyspace {
        return Err(differs("keyspace", &target.keyspace, &options.keyspace));
    }
    if target.shard != options.shard {
        return Err(differs("shard", &target.shard, &options.shard));
    }
    let state = shared.state();
    if !state.serving {
        return Err(Status::failed_precondition("operation not allowed in state NOT_SERVING"));
    }
    if target.tablet_type() != state.tablet_type {
        let (got, want) = (target.tablet_type().as_str_name(), state.tablet_type.as_str_name());
        return Err(Status::failed_precondition(format!("wrong tablet type: {got}, want: {want} or []")));
    }
    Ok(())
}

/// The status of a table that must not be used, if the statement names one.
///
/// # Errors
/// FAILED_PRECONDITION.
pub fn check_denied(shared: &Shared, tables: &[String]) -> Result<(), Status> {
    match tables.iter().any(|table| shared.is_denied(table)) {
        true => Err(Status::failed_precondition("disallowed due to rule: enforce denied tables")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use vtmigrated_proto::topodata::TabletType;

    use super::*;
    use crate::options::Options;

    #[tokio::test]
    async fn a_call_must_name_this_tablets_shard_and_type() {
        let shared = Shared::new(Options::new("zone1", 1, "commerce", "0", 1), CancellationToken::new());
        let target = |keyspace: &str, shard: &str, tablet_type: TabletType| Target {
            keyspace: keyspace.to_owned(),
            shard: shard.to_owned(),
            tablet_type: tablet_type.into(),
            ..Target::default()
        };
        let refusal = |target: Option<Target>| {
            let status = check_target(&shared, target.as_ref()).expect_err("refused");
            (status.code(), status.message().to_owned())
        };
        let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
        assert_eq!(refusal(None), invalid("No target"));
        let text = "invalid keyspace nope does not match expected commerce";
        assert_eq!(refusal(Some(target("nope", "0", TabletType::Primary))), invalid(text));
        let text = "invalid shard -80 does not match expected 0";
        assert_eq!(refusal(Some(target("commerce", "-80", TabletType::Primary))), invalid(text));
        let text = "wrong tablet type: REPLICA, want: PRIMARY or []".to_owned();
        let replica = target("commerce", "0", TabletType::Replica);
        assert_eq!(refusal(Some(replica)), (Code::FailedPrecondition, text));
        assert!(check_target(&shared, Some(&target("commerce", "0", TabletType::Primary))).is_ok());
        shared.set_denied(["t".to_owned()]);
        assert!(check_denied(&shared, &["T".to_owned()]).is_ok());
        let denied = check_denied(&shared, &["u".to_owned(), "t".to_owned()]).expect_err("denied");
        assert_eq!(denied.message(), "disallowed due to rule: enforce denied tables");
    }
}
