//! Rows of one table at one position (`VStreamRows`).
