//! The commands, one file each.

mod completion;
mod decrypt;
mod edit;
mod encrypt;
mod filestatus;
mod groups;
mod init;
mod man;
mod recipients;
mod rotate;
mod set;
mod unset;
mod updatekeys;

use crate::args::Command;
use crate::error::Failure;
use crate::session::Session;

/// Does what was asked for.
///
/// # Errors
///
/// Whatever stands in the way, with the exit code for it.
pub(crate) fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Completion(args) => completion::run(session, args),
        Command::Decrypt(args) => decrypt::run(session, args),
        Command::Edit(args) => edit::run(session, args),
        Command::Encrypt(args) => encrypt::run(session, args),
        Command::Filestatus(args) => filestatus::run(session, args),
        Command::Groups(args) => groups::run(session, args),
        Command::Init(args) => init::run(session, args),
        Command::Man(args) => man::run(args),
        Command::Recipients(args) => recipients::run(session, args),
        Command::Rotate(args) => rotate::run(session, args),
        Command::Set(args) => set::run(session, args),
        Command::Unset(args) => unset::run(session, args),
        Command::Updatekeys(args) => updatekeys::run(session, args),
    }
}
