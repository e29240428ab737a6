//! A headless Chromium, steered by the DevTools protocol.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use integration::process::{self, Process, Program};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex as AsyncMutex, oneshot},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A browser with one page.
pub struct Browser {
    process: Process,
    sink: AsyncMutex<SplitSink<Socket, Message>>,
    waiting: Waiting,
    /// Scripts that failed, and what the page was forbidden to do.
    complaints: Arc<Mutex<Vec<String>>>,
    number: AtomicU64,
    session: String,
}

/// How a screenshot is taken.
pub struct Look {
    pub name: &'static str,
    pub dark: bool,
    pub width: u32,
    pub phone: bool,
}

impl Browser {
    /// Starts it with an empty page.
    pub async fn start() -> Self {
        let folder = process::folder("chromium").unwrap();
        let profile = folder.path().join("profile");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            "about:blank",
        ];
        let mut args: Vec<_> = args.iter().map(Into::into).collect();
        args.push(format!("--user-data-dir={}", profile.display()).into());
        let env = vec![("HOME".into(), folder.path().into())];
        let path = PathBuf::from("/usr/bin/chromium");
        let process = Process::start(Program { name: "chromium".to_owned(), path, args, env }, folder).unwrap();
        let told = profile.join("DevToolsActivePort");
        let address = async || {
            let text = fs::read_to_string(&told).map_err(|error| error.to_string())?;
            let (port, path) = text.split_once('\n').ok_or("half written")?;
            Ok::<_, String>(format!("ws://127.0.0.1:{port}{}", path.trim()))
        };
        process.until_ready(PATIENCE, async || address().await.map(drop)).await.unwrap();
        let (socket, _) = connect_async(address().await.unwrap()).await.unwrap();
        let (sink, mut stream) = socket.split();
        let (waiting, complaints) = (Waiting::default(), Arc::<Mutex<Vec<String>>>::default());
        let (answers, told) = (Arc::clone(&waiting), Arc::clone(&complaints));
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Ok(text) = message.into_text() else { continue };
                let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
                match value["id"].as_u64() {
                    Some(id) => {
                        let waiting = answers.lock().unwrap().remove(&id);
                        waiting.map(|waiting| waiting.send(value));
                    }
                    None => told.lock().unwrap().extend(complaint(&value)),
                }
            }
        });
        let sink = AsyncMutex::new(sink);
        let mut browser =
            Self { process, sink, waiting, complaints, number: AtomicU64::new(1), session: String::new() };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({})).await;
        }
        browser
    }

    /// Runs a command of the protocol.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let (answer, wait) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        self.sink.lock().await.send(Message::text(command.to_string())).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Opens an address and waits until it is there.
    pub async fn open(&self, address: &str) {
        self.ask("Page.navigate", json!({ "url": address })).await;
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'").await;
    }

    /// The value of an expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", params).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while self.value(expression).await != Value::Bool(true) {
            if start.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText").await;
                panic!("{expression} is not true; the page says:\n{}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the text of an element has some words, with blanks folded.
    pub async fn until_text(&self, selector: &str, words: &str) {
        let (selector, words) = (Value::from(selector), Value::from(words));
        self.until(&format!(
            "(document.querySelector({selector})?.innerText ?? '').replace(/\\s+/g, ' ').includes({words})"
        ))
        .await;
    }

    /// Presses a key.
    pub async fn press(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": 9 });
            self.ask("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Takes a picture of the whole page, and keeps its source.
    pub async fn screenshot(&self, look: &Look) {
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let metrics = json!({ "width": look.width, "height": 900, "deviceScaleFactor": 1.5, "mobile": look.phone });
        self.ask("Emulation.setDeviceMetricsOverride", metrics).await;
        // nothing hangs over the side
        self.until("document.documentElement.scrollWidth <= window.innerWidth").await;
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.ask("Page.captureScreenshot", params).await;
        let picture = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        assert!(picture.len() > 5000, "{} is empty", look.name);
        let folder = screenshots();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.png", look.name)), picture).unwrap();
        let html = self.value("document.documentElement.outerHTML").await;
        fs::write(folder.join(format!("{}.html", look.name)), html.as_str().unwrap()).unwrap();
    }

    /// What the page complained of since it was asked last.
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.complaints.lock().unwrap())
    }

    /// Ends it.
    pub async fn close(self) {
        let close = json!({ "id": 0, "method": "Browser.close" });
        self.sink.lock().await.send(Message::text(close.to_string())).await.unwrap();
        let start = Instant::now();
        while self.process.ended().unwrap().is_none() && start.elapsed() < PATIENCE {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// `target/…/screenshots`, beside the programs of the tests.
pub fn screenshots() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).map(Path::to_owned).unwrap().join("screenshots")
}

fn complaint(event: &Value) -> Option<String> {
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(event["params"]["exceptionDetails"].to_string()),
        "Log.entryAdded" if event["params"]["entry"]["level"] == "error" => Some(event["params"]["entry"].to_string()),
        _ => None,
    }
}
