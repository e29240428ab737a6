//! What is read of both clusters: all I/O that gathers what the checks judge. Nothing is changed here.

mod in_use;
