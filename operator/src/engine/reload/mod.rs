//! x

mod index;
mod sources;
mod windows;
