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
use crate::args::deferred::Deferred;
use crate::error::Failure;
use crate::session::Session;

/// Does what was asked for.
///
/// # Errors
///
/// Whatever stands in the way, with the exit code for it.
pub(crate) fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Completion(Deferred(args)) => completion::run(session, args),
        Command::Decrypt(Deferred(args)) => decrypt::run(session, args),
        Command::Edit(Deferred(args)) => edit::run(session, args),
        Command::Encrypt(Deferred(args)) => encrypt::run(session, args),
        Command::Filestatus(Deferred(args)) => filestatus::run(session, args),
        Command::Groups(args) => groups::run(session, args),
        Command::Init(Deferred(args)) => init::run(session, args),
        Command::Man(Deferred(args)) => man::run(args),
        Command::Recipients(Deferred(args)) => recipients::run(session, args),
        Command::Rotate(Deferred(args)) => rotate::run(session, args),
        Command::Set(Deferred(args)) => set::run(session, args),
        Command::Unset(Deferred(args)) => unset::run(session, args),
        Command::Updatekeys(Deferred(args)) => updatekeys::run(session, args),
    }
}
