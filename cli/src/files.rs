//! Files on disk: read once, replaced whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::signals::Held;

#[cfg(unix)]
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// The most links that are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// How many random characters end the name of a file that is being written.
const RANDOM: usize = 6;

/// What must be at a path for a write to go ahead (guarantee B3).
#[derive(Clone, Copy)]
pub(crate) enum Expected<'a> {
    /// Nothing.
    Nothing,
    /// Exactly these bytes.
    Bytes(&'a [u8]),
}

/// Why a file was not replaced. What was there is there still, whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    /// Somebody else has written it meanwhile.
    #[error("the file was changed by somebody else meanwhile")]
    Changed,
    /// The new bytes are not what was meant.
    #[error("{0}")]
    Unverified(String),
    /// The system refuses.
    #[error("{step}: {}", crate::error::reason(reason))]
    Io {
        /// What was being done.
        step: &'static str,
        /// Why it did not work.
        reason: io::Error,
    },
    /// It could be done, and not safely.
    #[error("{0}")]
    Unsafe(String),
    /// It has several names. All of them would have to see the change, and only a file that is overwritten
    /// where it is can do that: whoever reads it meanwhile, or after a crash, finds half of each.
    #[error(
        "the file has {0} names (hard links): it cannot be changed under all of them at once without the risk of losing it"
    )]
    Linked(u64),
}

fn io(step: &'static str) -> impl Fn(io::Error) -> ReplaceError {
    move |reason| ReplaceError::Io { step, reason }
}

/// Reads a file of keys into memory that is wiped: no more than `limit` bytes, and one to show that
/// there are more.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn read_keys(path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read_some(file, length, limit)
}

/// Reads no more than `limit` bytes and one; `expected` bytes are reserved first, for a vector that
/// grows leaves copies behind.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn read_some(input: impl Read, expected: u64, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = limit as u64 + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected.min(limit) as usize + 64));
    input.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads all of `input` into memory that is wiped.
///
/// # Errors
///
/// As for any read.
pub(crate) fn read_all(mut input: impl Read, size: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    loop {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => {
                bytes.truncate(filled);
                return Ok(bytes);
            }
            Ok(n) => filled += n,
            Err(it) if it.kind() == io::ErrorKind::Interrupted => {}
            Err(it) => return Err(it),
        }
        if filled == bytes.len() {
            // By hand: a vector that grows leaves its old bytes behind in memory.
            let mut more = Zeroizing::new(vec![0; 2 * filled.max(4096)]);
            more[..filled].copy_from_slice(&bytes);
            bytes = more;
        }
    }
}

/// Reads a file.
///
/// # Errors
///
/// As for any read.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let size = file.metadata().map_or(0, |it| it.len());
    read_all(file, usize::try_from(size).unwrap_or(0))
}

/// True if the file at `path` holds exactly `bytes`.
fn holds(path: &Path, mut bytes: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut piece = Zeroizing::new(vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(bytes.is_empty()),
            Ok(n) if !bytes.starts_with(&piece[..n]) => return Ok(false),
            Ok(n) => bytes = &bytes[n..],
            Err(it) if it.kind() == io::ErrorKind::Interrupted => {}
            Err(it) => return Err(it),
        }
    }
}

/// Follows the links at the end of `path`, so that writing goes to what they point at and they stay
/// links. What they point at need not exist.
///
/// # Errors
///
/// If there are too many of them.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// Puts `new` in the place of what is at `path`, if that is still what was `expected`.
///
/// The new bytes are written beside it, synced, read back and given to `verify`; only then they take
/// its place. Mode, owner and extended attributes stay. At every moment the old file or the new one
/// is there, whole. Returns what could not be kept, for a warning.
///
/// # Errors
///
/// See [`ReplaceError`].
pub(crate) fn replace(
    path: &Path,
    expected: Expected<'_>,
    new: &[u8],
    verify: &dyn Fn(&mut Vec<u8>) -> Result<(), String>,
) -> Result<Vec<String>, ReplaceError> {
    let path = resolve(path).map_err(io("cannot follow the link"))?;
    let folder = folder_of(&path);
    let lock = lock(folder);
    let before = look(&path)?;
    match (&before, expected) {
        (None, Expected::Nothing) => {}
        (Some(_), Expected::Bytes(bytes)) => {
            if !holds(&path, bytes).map_err(io("cannot read the file again"))? {
                return Err(ReplaceError::Changed);
            }
        }
        (Some(_), Expected::Nothing) | (None, Expected::Bytes(_)) => return Err(ReplaceError::Changed),
    }
    let _held = Held::new();
    if lock.is_some() {
        remove_leftovers(&path);
    }
    let mut temp = beside(&path)?;
    temp.as_file_mut().write_all(new).map_err(io("cannot write the new file"))?;
    let warnings = match &before {
        Some(before) => keep_attributes(&path, temp.as_file(), before)?,
        None => Vec::new(),
    };
    sync_and_verify(&temp, verify)?;
    match expected {
        Expected::Nothing => temp.persist_noclobber(&path).map(drop).map_err(|it| match it.error.kind() {
            io::ErrorKind::AlreadyExists => ReplaceError::Changed,
            _ => io("cannot put the new file in its place")(it.error),
        })?,
        Expected::Bytes(_) => {
            temp.persist(&path).map_err(|it| io("cannot put the new file in its place")(it.error))?;
        }
    }
    sync_folder(folder);
    Ok(warnings)
}

/// Refuses what [`replace`] would refuse in any case, before anybody has put work into it.
///
/// # Errors
///
/// See [`ReplaceError`].
pub(crate) fn check_replaceable(path: &Path) -> Result<(), ReplaceError> {
    look(&resolve(path).map_err(io("cannot follow the link"))?).map(drop)
}

/// Looks at what is to be replaced, if there is something.
fn look(path: &Path) -> Result<Option<fs::Metadata>, ReplaceError> {
    let now = match fs::metadata(path) {
        Ok(it) => it,
        Err(it) if it.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(it) => return Err(io("cannot look at the file")(it)),
    };
    if !now.is_file() {
        return Err(ReplaceError::Unsafe("it is no regular file, so it cannot be replaced".to_owned()));
    }
    #[cfg(unix)]
    if now.nlink() > 1 {
        return Err(ReplaceError::Linked(now.nlink()));
    }
    Ok(Some(now))
}

/// Writes what `--output` asks for: 0600 for a new file, the mode of an existing one stays; links
/// are followed; pipes and devices are written as they are.
///
/// # Errors
///
/// See [`ReplaceError`].
pub(crate) fn write_output(path: &Path, new: &[u8]) -> Result<Vec<String>, ReplaceError> {
    match fs::metadata(path) {
        Ok(it) if it.is_dir() => Err(io("cannot write to it")(io::Error::from(io::ErrorKind::IsADirectory))),
        Ok(it) if it.is_file() => {
            let before = read(path).map_err(io("cannot read the file that is to be replaced"));
            // A file that may be written and not read is somebody's drop box: there is nothing to compare.
            match before {
                Ok(before) => replace(path, Expected::Bytes(&before), new, &|_| Ok(())),
                Err(_) => straight(path, new),
            }
        }
        // By the name that was given: `/dev/stdout` is a link to a name that no file has.
        Ok(_) => straight(path, new),
        Err(it) if it.kind() == io::ErrorKind::NotFound => replace(path, Expected::Nothing, new, &|_| Ok(())),
        Err(it) => Err(io("cannot look at the file")(it)),
    }
}

fn straight(path: &Path, new: &[u8]) -> Result<Vec<String>, ReplaceError> {
    let mut file = OpenOptions::new().write(true).open(path).map_err(io("cannot open it for writing"))?;
    file.write_all(new).map_err(io("cannot write to it"))?;
    if file.metadata().is_ok_and(|it| it.is_file()) {
        file.set_len(new.len() as u64).map_err(io("cannot write to it"))?;
    }
    Ok(Vec::new())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(it) if !it.as_os_str().is_empty() => it,
        _ => Path::new("."),
    }
}

/// Keeps other writers of ours out of a folder. The folder and not the file, because the file is
/// another one afterwards. A file system without locks leaves the comparison of what was read.
fn lock(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    flock(&folder, FlockOperation::LockExclusive).ok()?;
    Some(folder)
}

/// How the names of files begin that lie beside `path` while it is replaced.
fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".leafseal-");
    prefix
}

/// Makes the file that is to take the place of `path`.
fn beside(path: &Path) -> Result<NamedTempFile, ReplaceError> {
    let mut builder = tempfile::Builder::new();
    let prefix = prefix(path);
    builder.prefix(&prefix).rand_bytes(RANDOM);
    #[cfg(unix)]
    builder.permissions(fs::Permissions::from_mode(0o600));
    builder.tempfile_in(folder_of(path)).map_err(|it| no_room(path, it))
}

fn no_room(path: &Path, reason: io::Error) -> ReplaceError {
    match reason.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ReplaceError::Unsafe(format!(
            "no new file can be made in {}, so this one cannot be replaced without the risk of losing it",
            folder_of(path).display()
        )),
        _ => io("cannot make a file beside it")(reason),
    }
}

/// Removes what a run that was killed has left beside `path`. Whoever makes such a file holds the lock
/// of the folder as long as it is there, so the caller must hold it.
fn remove_leftovers(path: &Path) {
    let prefix = prefix(path);
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if rest.is_some_and(|it| it.len() == RANDOM && it.iter().all(u8::is_ascii_alphanumeric))
            && entry.file_type().is_ok_and(|it| it.is_file())
        {
            _ = fs::remove_file(entry.path());
        }
    }
}

/// Waits for the disk to have the new file, and reads it back meanwhile.
fn sync_and_verify(
    temp: &NamedTempFile,
    verify: &dyn Fn(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), ReplaceError> {
    let verified = || {
        let mut bytes = read(temp.path()).map_err(io("cannot read the new file back"))?;
        verify(&mut bytes).map_err(ReplaceError::Unverified)
    };
    let synced = || temp.as_file().sync_all().map_err(io("cannot sync the new file"));
    thread::scope(|threads| {
        let syncing = thread::Builder::new().spawn_scoped(threads, synced);
        let verified = verified();
        match syncing {
            Ok(it) => it.join().expect("a call of the system does not panic")?,
            // No thread was to be had.
            Err(_) => synced()?,
        }
        verified
    })
}

fn sync_folder(folder: &Path) {
    // Not every file system can; the rename itself has happened.
    _ = File::open(folder).and_then(|it| it.sync_all());
}

/// Gives the new file what the old one has beside its bytes. What cannot be given is done without if
/// that leaves the file no more open than it was (file-decisions: row 9).
#[cfg(unix)]
fn keep_attributes(path: &Path, new: &File, before: &fs::Metadata) -> Result<Vec<String>, ReplaceError> {
    use rustix::fs::{Gid, Uid, fchown};
    let mut warnings = Vec::new();
    let mut mode = before.mode() & 0o7777;
    let now = new.metadata().map_err(io("cannot look at the new file"))?;
    let (uid, gid) = (Uid::from_raw(before.uid()), Gid::from_raw(before.gid()));
    if now.uid() != before.uid() && fchown(new, Some(uid), None).is_err() {
        warnings.push("the file belongs to you now: its owner could not be kept".to_owned());
        mode &= 0o0777;
    }
    if now.gid() != before.gid() && fchown(new, None, Some(gid)).is_err() {
        warnings.push("the file's group could not be kept: what its group may do is what everybody may".to_owned());
        mode &= 0o0707;
        mode |= (mode & 0o007) << 3;
    }
    new.set_permissions(fs::Permissions::from_mode(mode)).map_err(io("cannot keep the mode of the file"))?;
    if let Some(lost) = copy_xattrs(path, new) {
        // Without its access list, the group's bits would say more than the list did.
        if lost == ACL {
            let mode = (mode & 0o0707) | ((mode & 0o007) << 3);
            new.set_permissions(fs::Permissions::from_mode(mode)).map_err(io("cannot keep the mode of the file"))?;
        }
        warnings.push(format!("the extended attribute {lost} could not be kept"));
    }
    Ok(warnings)
}

#[cfg(not(unix))]
fn keep_attributes(_path: &Path, new: &File, before: &fs::Metadata) -> Result<Vec<String>, ReplaceError> {
    new.set_permissions(before.permissions()).map_err(io("cannot keep the permissions of the file"))?;
    Ok(Vec::new())
}

/// The name of access lists among extended attributes.
const ACL: &str = "system.posix_acl_access";

/// Copies extended attributes; returns one that could not be copied, an access list first.
#[cfg(target_os = "linux")]
fn copy_xattrs(path: &Path, new: &File) -> Option<String> {
    use rustix::fs::{XattrFlags, fsetxattr, getxattr, listxattr};
    let mut list = vec![0; 4096];
    let size = listxattr(path, &mut list[..]).ok()?;
    let mut lost: Option<String> = None;
    for name in list[..size].split(|it| *it == 0).filter(|it| !it.is_empty()) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        // Labels of the system are the system's to give.
        if name.starts_with("security.") {
            continue;
        }
        let mut value = vec![0; 65536];
        let copied = getxattr(path, name, &mut value[..])
            .and_then(|size| fsetxattr(new, name, &value[..size], XattrFlags::empty()));
        if copied.is_err() && (lost.is_none() || name == ACL) {
            lost = Some(name.to_owned());
        }
    }
    lost
}

#[cfg(all(unix, not(target_os = "linux")))]
fn copy_xattrs(_path: &Path, _new: &File) -> Option<String> {
    None
}

/// Makes a file that must not exist yet, readable by its owner only.
///
/// # Errors
///
/// As for any write; the file is gone again then.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_right(_: &mut Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("there is room for tests")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("the folder is there")
            .map(|it| it.expect("an entry").file_name().into_string().expect("names are UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn file(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, "old").expect("there is room for tests");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is ours");
        path
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("the file is there")
    }

    #[test]
    fn a_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let folder = folder();
        for mode in [0o600, 0o640, 0o444, 0o755] {
            let path = file(folder.path(), &format!("{mode:o}"), mode);
            replace(&path, Expected::Bytes(b"old"), b"new", &all_right).expect("it can be replaced");
            assert_eq!(text(&path), "new");
            assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o7777, mode);
        }
        assert_eq!(names(folder.path()), ["444", "600", "640", "755"]);
    }

    #[test]
    fn a_file_that_others_changed_is_left_alone() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        let error = replace(&path, Expected::Bytes(b"older"), b"new", &all_right).expect_err("it has changed");
        assert!(matches!(error, ReplaceError::Changed));
        assert!(matches!(replace(&path, Expected::Nothing, b"new", &all_right), Err(ReplaceError::Changed)));
        let gone = folder.path().join("b");
        assert!(matches!(replace(&gone, Expected::Bytes(b"old"), b"new", &all_right), Err(ReplaceError::Changed)));
        assert_eq!((text(&path).as_str(), names(folder.path())), ("old", vec!["a".to_owned()]));
    }

    #[test]
    fn bytes_that_are_not_what_was_meant_never_get_there() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        let refused = replace(&path, Expected::Bytes(b"old"), b"new", &|_| Err("no".to_owned()));
        assert!(matches!(refused, Err(ReplaceError::Unverified(_))));
        assert_eq!((text(&path).as_str(), names(folder.path())), ("old", vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_verified_is_what_is_on_disk_while_the_old_file_is_there() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        let verify = |bytes: &mut Vec<u8>| {
            assert_eq!((bytes.as_slice(), text(&path).as_str()), (b"new".as_slice(), "old"));
            Ok(())
        };
        replace(&path, Expected::Bytes(b"old"), b"new", &verify).expect("it can be replaced");
    }

    #[test]
    fn links_stay_links() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::os::unix::fs::symlink("a", &one).expect("links can be made");
        std::os::unix::fs::symlink(&one, &two).expect("links can be made");
        replace(&two, Expected::Bytes(b"old"), b"new", &all_right).expect("it can be replaced");
        assert_eq!(text(&path), "new");
        for link in [&one, &two] {
            assert!(fs::symlink_metadata(link).expect("it is there").is_symlink());
        }
        let nowhere = folder.path().join("nowhere");
        std::os::unix::fs::symlink("made", &nowhere).expect("links can be made");
        write_output(&nowhere, b"new").expect("what a link points at can be made");
        assert_eq!(text(&folder.path().join("made")), "new");
    }

    #[test]
    fn a_file_with_two_names_is_not_touched() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        let other = folder.path().join("b");
        fs::hard_link(&path, &other).expect("links can be made");
        let refused = |it: Result<Vec<String>, ReplaceError>| matches!(it, Err(ReplaceError::Linked(2)));
        assert!(refused(replace(&path, Expected::Bytes(b"old"), b"new", &all_right)));
        assert!(refused(write_output(&path, b"new")));
        assert!(check_replaceable(&other).is_err());
        assert_eq!((text(&path).as_str(), text(&other).as_str()), ("old", "old"));
        assert_eq!(names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn what_a_killed_run_left_goes_with_the_next_one() {
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        for name in [".a.leafseal-Ab3dE6", ".a.leafseal-b.leafseal-Ab3dE6", ".a.leafseal-Ab3d", ".b.leafseal-Ab3dE6"] {
            file(folder.path(), name, 0o600);
        }
        replace(&path, Expected::Bytes(b"old"), b"new", &all_right).expect("it can be replaced");
        let left = [".a.leafseal-Ab3d", ".a.leafseal-b.leafseal-Ab3dE6", ".b.leafseal-Ab3dE6", "a"];
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn a_pipe_is_not_replaced() {
        let error = replace(Path::new("/dev/null"), Expected::Nothing, b"new", &all_right).expect_err("a device");
        assert!(matches!(error, ReplaceError::Unsafe(_)), "{error}");
    }

    #[test]
    fn output_is_private_if_it_is_new() {
        let folder = folder();
        let new = folder.path().join("new");
        write_output(&new, b"text").expect("it can be written");
        assert_eq!(fs::metadata(&new).expect("it is there").mode() & 0o7777, 0o600);
        let path = file(folder.path(), "old", 0o644);
        write_output(&path, b"text").expect("it can be written");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o7777, 0o644);
        assert_eq!(text(&path), "text");
        write_output(Path::new("/dev/null"), b"text").expect("devices are written as they are");
        assert!(write_output(folder.path(), b"text").is_err());
        assert!(write_output(&folder.path().join("no/such"), b"text").is_err());
    }

    #[test]
    fn a_full_disk_leaves_the_old_file() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        crate::signals::survive_file_size_limit();
        let limit = getrlimit(Resource::Fsize);
        // Other tests write small files at the same time; they stay below the limit.
        setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), ..limit }).expect("a limit can be lowered");
        let big = vec![b'x'; 2 << 20];
        let result = replace(&path, Expected::Bytes(b"old"), &big, &all_right);
        setrlimit(Resource::Fsize, limit).expect("a limit can be restored");
        let error = result.expect_err("the file is too large").to_string();
        assert!(error.contains("file too large"), "{error}");
        assert_eq!((text(&path).as_str(), names(folder.path())), ("old", vec!["a".to_owned()]));
    }

    #[test]
    fn two_writers_lose_nothing() {
        let folder = folder();
        let path = folder.path().join("n");
        fs::write(&path, "0").expect("there is room for tests");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        loop {
                            let before = text(&path);
                            let n: usize = before.parse().expect("it is a number");
                            let after = (n + 1).to_string();
                            match replace(&path, Expected::Bytes(before.as_bytes()), after.as_bytes(), &all_right) {
                                Ok(_) => break,
                                Err(ReplaceError::Changed) => {}
                                Err(it) => panic!("{it}"),
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(text(&path), "100");
    }

    #[test]
    fn a_folder_that_takes_no_files_is_refused_before_anything_is_touched() {
        if rustix::process::geteuid().is_root() {
            // Nothing is read-only for root.
            return;
        }
        let folder = folder();
        let path = file(folder.path(), "a", 0o600);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).expect("the folder is ours");
        let error = replace(&path, Expected::Bytes(b"old"), b"new", &all_right).expect_err("it cannot be done safely");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        assert!(matches!(error, ReplaceError::Unsafe(_)));
        assert_eq!(text(&path), "old");
    }

    #[test]
    fn everything_is_read_whatever_its_size_seemed_to_be() {
        for (text, size) in [("", 0), ("abc", 0), ("abc", 3), ("abc", 100)] {
            assert_eq!(read_all(text.as_bytes(), size).expect("memory can be read").as_slice(), text.as_bytes());
        }
        let long = vec![b'x'; 100_000];
        assert_eq!(read_all(long.as_slice(), 10).expect("memory can be read").as_slice(), long);
    }
}
