//! The second timeline: the way back of the migration on the page.

use integration::{
    client,
    life::{Life, WORKFLOW, until},
};
use tonic::transport::Channel;
use vtmigrated_proto::vtmigrated::{PrepareWayBackRequest, WayBackRequest, way_back_client::WayBackClient};

use super::{browser::Browser, pictures};

async fn commands(life: &Life) -> WayBackClient<Channel> {
    WayBackClient::new(client::channel(&life.server.grpc_address().to_string()).await.unwrap())
}

/// Waits until a step of the timeline is in that state.
async fn until_step(browser: &Browser, number: usize, state: &str) {
    browser.until(&format!("document.querySelector('#back .timeline li:nth-child({number}).{state}') !== null")).await;
}

/// Before complete: the line is there, and nothing streams.
pub async fn prepare(browser: &Browser, life: &Life) {
    browser.until("document.querySelector('#back .timeline') === null").await;
    let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
    let request = PrepareWayBackRequest { keyspace, workflow, ..PrepareWayBackRequest::default() };
    commands(life).await.prepare(request).await.unwrap();
    until_step(browser, 1, "now").await;
    browser.until_text("#back .tiles", "Go back NO-GO").await;
}

/// After complete: it runs, and somebody goes back.
pub async fn run_and_go_back(browser: &Browser, life: &Life) {
    until_step(browser, 3, "now").await;
    browser.until("document.querySelectorAll('#back path.stream').length > 0").await;
    browser.until_text("#back .tiles", "Go back GO").await;
    pictures(browser, ["way-back-light", "way-back-dark", "way-back-phone"]).await;
    let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
    let request = WayBackRequest { keyspace, workflow, ..WayBackRequest::default() };
    until("going back", async || {
        let told = commands(life).await.complete(request.clone()).await;
        told.map(drop).map_err(|refused| refused.to_string())
    })
    .await
    .unwrap();
    until_step(browser, 5, "done").await;
}
