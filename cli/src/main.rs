//! Encrypts, edits and decrypts files in Git.
#![allow(dead_code)]

mod age_plugin;
mod env;
mod identities;
mod prompt;

fn main() {}
