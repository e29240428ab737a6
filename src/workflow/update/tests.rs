use vtmigrated_proto::topodata::TabletType;

use super::*;

fn kept(request: UpdateVReplicationWorkflowRequest) -> (Vec<String>, Vec<i32>, Option<i32>) {
    let mut request = request;
    keep_unsaid(&mut request);
    (request.cells, request.tablet_types, request.tablet_selection_preference)
}

#[test]
fn a_state_alone_keeps_cells_and_tablet_types() {
    let unsaid = Some(TabletSelectionPreference::Unknown.into());
    for state in [State::Running, State::Stopped] {
        let state = Some(state.into());
        let alone = UpdateVReplicationWorkflowRequest { state, ..Default::default() };
        assert_eq!(kept(alone.clone()), (vec!["NULL".into()], vec![-1], unsaid));
        let cells = vec!["zone1".to_owned()];
        let types = vec![TabletType::Primary.into()];
        let whole = UpdateVReplicationWorkflowRequest { cells: cells.clone(), tablet_types: types.clone(), ..alone };
        assert_eq!(kept(whole), (cells, types, unsaid));
    }
}

#[test]
fn cells_and_tablet_types_are_forgotten_where_a_user_wants_that() {
    let preference = Some(TabletSelectionPreference::Any.into());
    let update = UpdateVReplicationWorkflowRequest { tablet_selection_preference: preference, ..Default::default() };
    assert_eq!(kept(update), (vec![], vec![], preference));
}
