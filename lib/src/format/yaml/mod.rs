//! YAML as SOPS reads and writes it.

pub mod print;
pub mod scalar;
