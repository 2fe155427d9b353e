//! `groups`: adds a key group to a file, or deletes one; the data key stays and is split anew.

use leafseal::metadata::{KeyGroup, MasterKey, Metadata};

use crate::args::deferred::Deferred;
use crate::args::{Groups, GroupsAdd, GroupsDelete, GroupsFlags, OutputFlags};
use crate::consent;
use crate::document;
use crate::edge::SystemRng;
use crate::error::{self, Failure, code};
use crate::keys::Keys;
use crate::session::Session;
use crate::source::{Source, format_for};

/// Runs it.
///
/// # Errors
///
/// If the file does not open, or its data key cannot be wrapped to every key that is left; nothing is
/// written then.
pub(crate) fn run(session: &Session, groups: Groups) -> Result<(), Failure> {
    match groups {
        Groups::Add(Deferred(args)) => add(session, args),
        Groups::Delete(Deferred(args)) => delete(session, args),
    }
}

fn add(session: &Session, args: GroupsAdd) -> Result<(), Failure> {
    let GroupsAdd { common, keys, encryption_context: _, aws_profile: _, ignored } = args;
    if !ignored.is_empty() {
        return Err(Failure::new(code::GENERIC, "there is no use for more than flags")
            .sops("error: no positional arguments allowed")
            .hint("the file is named by --file, keys are named by --age and the like"));
    }
    let added = keys.keys()?;
    change(session, &common, &added, |metadata| {
        metadata.groups.push(KeyGroup(added.clone()));
        Ok(())
    })
}

fn delete(session: &Session, args: GroupsDelete) -> Result<(), Failure> {
    let GroupsDelete { common, index, ignored } = args;
    let Some(index) = index.filter(|_| ignored.is_empty()) else {
        return Err(Failure::new(code::GENERIC, "one group has to be named by its number")
            .sops("error: exactly one positional argument (index) required")
            .hint("the first group has the number 0; the file is named by --file"));
    };
    let number = index.parse::<u32>().map_err(|it| {
        let why =
            if *it.kind() == std::num::IntErrorKind::PosOverflow { "value out of range" } else { "invalid syntax" };
        Failure::new(code::GENERIC, format!("{index:?} is not the number of a group"))
            .sops(format!("failed to parse [index] argument: strconv.ParseUint: parsing {index:?}: {why}"))
            .fatal_log()
    })?;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    change(session, &common, &[], |metadata| {
        if number >= metadata.groups.len() {
            let count = metadata.groups.len();
            let what = format!("there is no group {number}: groups are numbered from 0, and the file has {count}");
            return Err(Failure::new(code::GENERIC, what));
        }
        metadata.groups.remove(number);
        check_threshold(metadata)
    })
}

/// Has `edit` change the metadata of the file, and wraps its data key to what they are then.
fn change(
    session: &Session,
    flags: &GroupsFlags,
    named: &[MasterKey],
    edit: impl Fn(&mut Metadata) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let GroupsFlags { file, in_place, shamir_secret_sharing_threshold, keep_readers, unwrap } = flags;
    let source = Source::required(file.as_deref())?;
    let name = source.path().expect("a file was named").to_owned();
    let format = format_for(session, "--file", None, &name)?;
    let keys = Keys::new(unwrap)?;
    let mut bytes = source.read()?;
    let encrypted = document::load(&source, format, &mut bytes)?;

    let mut metadata = encrypted.metadata().clone();
    if let Some(threshold) = shamir_secret_sharing_threshold.filter(|it| *it != 0) {
        metadata.shamir_threshold = threshold;
    }
    edit(&mut metadata).map_err(|it| it.at(source.label()))?;
    let key = keys.unwrap_tersely(&source.label(), encrypted.metadata())?;
    if !keep_readers {
        consent::ask(session, &source, &name, &metadata, named)?;
    }
    let prefix = "error updating one or more master keys";
    keys.wrap(&key, &mut metadata, &mut SystemRng::new(), prefix, code::GENERIC).map_err(|it| it.at(source.label()))?;
    let gone = gone(encrypted.metadata(), &metadata);
    let rewrapped = encrypted.rewrap(metadata).map_err(|it| error::seal(&it).at(source.label()))?;
    let output = OutputFlags { in_place: *in_place, ..OutputFlags::default() };
    let verify = document::same_leaves(&encrypted);
    let before = document::stored(&bytes, encrypted.text());
    document::deliver(session, &output, &source, before, rewrapped.text().as_bytes(), &verify)?;
    document::tell_of_removed(session, &source, &gone);
    Ok(())
}

/// Refuses what nobody could ever open, in SOPS's words.
fn check_threshold(metadata: &Metadata) -> Result<(), Failure> {
    let (threshold, groups) = (metadata.shamir_threshold, metadata.groups.len());
    if groups >= threshold {
        return Ok(());
    }
    let sops = format!(
        "removing this key group will make the Shamir threshold impossible to satisfy: Shamir threshold is {threshold}, \
         but we only have {groups} key groups"
    );
    Err(Failure::new(code::GENERIC, format!("{threshold} key groups would be needed, and there would be {groups}"))
        .sops(sops)
        .fatal_log()
        .hint("--shamir-secret-sharing-threshold says how many are needed from now on"))
}

/// The readers that none of the groups names any more.
fn gone(before: &Metadata, after: &Metadata) -> Vec<String> {
    let stays = |key: &MasterKey| after.groups.iter().flat_map(|it| &it.0).any(|it| it.same_key(key));
    before.groups.iter().flat_map(|it| &it.0).filter(|it| !stays(it)).map(MasterKey::id).collect()
}
