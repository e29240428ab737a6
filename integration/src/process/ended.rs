//! Programs that nobody has ended and that ended all the same. Their folders go with the test that failed for it, so their logs
//! are kept, and the end of each is shown below the message of the first panic that comes after.

use std::{
    fs, panic,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, Once, PoisonError, Weak},
};

use super::{home, tail};

/// A program that should run for as long as its [`super::Process`] does.
struct Watched {
    name: String,
    folder: PathBuf,
    child: Weak<Mutex<Option<Child>>>,
    /// The process whose end was told.
    told: Option<u32>,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

/// Watches a program from now on. A child that was taken away was ended by its owner.
pub(super) fn watch(name: &str, folder: &Path, child: &Arc<Mutex<Option<Child>>>) {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            for text in tell() {
                eprintln!("{text}");
            }
        }));
    });
    let watched =
        Watched { name: name.to_owned(), folder: folder.to_owned(), child: Arc::downgrade(child), told: None };
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
}

/// Keeps the logs of those that have ended since the last call; answers what is to be shown of them.
fn tell() -> Vec<String> {
    // whoever panics may hold the locks
    let Ok(mut all) = WATCHED.try_lock() else { return Vec::new() };
    all.retain(|watched| watched.child.strong_count() > 0);
    all.iter_mut().filter_map(Watched::tell).collect()
}

impl Watched {
    fn tell(&mut self) -> Option<String> {
        let child = self.child.upgrade()?;
        let mut child = child.try_lock().ok()?;
        let child = child.as_mut().filter(|child| self.told != Some(child.id()))?;
        let status = child.try_wait().ok().flatten()?;
        self.told = Some(child.id());
        let log = self.folder.join("log");
        let place = match keep(&self.folder, &log) {
            Ok(kept) => kept.display().to_string(),
            Err(error) => format!("lost: {error}"),
        };
        Some(format!("{} had ended by itself ({status}); the end of its log ({place}):\n{}", self.name, tail(&log)))
    }
}

/// Copies a log to where `integration/setup` leaves it for a week.
fn keep(folder: &Path, log: &Path) -> std::io::Result<PathBuf> {
    let kept = home().join("ended");
    fs::create_dir_all(&kept)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let kept = kept.join(format!("{name}.log"));
    fs::copy(log, &kept)?;
    Ok(kept)
}
