//! The file that tells the process id.

use std::fs;

use super::Error;

/// The file, removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: String,
}

impl PidFile {
    /// Writes the process id and a line's end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(path: &str) -> Result<Self, Error> {
        let path = path.to_owned();
        match fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(Error::PidFile { path, source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot delete the file {}: {error}", self.path);
        }
    }
}
