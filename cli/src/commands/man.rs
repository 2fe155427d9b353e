//! `man`: writes the manual pages.

use std::fs;

use clap::CommandFactory as _;

use crate::args::{Cli, Man};
use crate::error::{Failure, code, reason};
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// If the pages cannot be written.
pub(crate) fn run(args: Man) -> Result<(), Failure> {
    let failed = |it: std::io::Error| Failure::new(code::WRITE, format!("cannot write the pages: {}", reason(&it)));
    match args.folder {
        Some(folder) => {
            fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(Cli::command(), &folder)).map_err(failed)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            ui::out(&page)
        }
    }
}
