//! Where the agent of a GnuPG home listens, found as GnuPG finds it.
//!
//! GnuPG: `_gnupg_socketdir_internal` in `common/homedir.c`, `eval_redirection` in libassuan.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha1collisiondetection::Sha1CD;

use super::home::GnupgHome;

/// The name of the socket in its folder.
const NAME: &str = "S.gpg-agent";

/// The folders of which one may hold `user/UID/gnupg`.
const RUN: &[&str] = &["/run", "/var/run"];

/// The most that a redirection may hold.
const REDIRECTION_LIMIT: u64 = 511;

/// Returns where the agent of `home` may listen, the most likely place first.
pub(super) fn places(home: &GnupgHome) -> Vec<PathBuf> {
    places_below(RUN, rustix::process::getuid().as_raw(), home.path(), home.is_standard())
}

fn places_below(run: &[&str], uid: u32, home: &Path, is_standard: bool) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let user = run.iter().map(|it| Path::new(it).join("user").join(uid.to_string())).find(|it| it.is_dir());
    if let Some(folder) = user.map(|it| it.join("gnupg")) {
        places.push(if is_standard { folder.join(NAME) } else { folder.join(name_of(home)).join(NAME) });
    }
    places.push(home.join(NAME));
    places
}

/// What a home that is not the standard one is called among sockets.
fn name_of(home: &Path) -> String {
    let mut context = Sha1CD::default();
    context.update(home.as_os_str().as_bytes());
    // A path that was made to collide is nobody's home.
    let hash = context.finalize_cd().unwrap_or_default();
    format!("d.{}", zbase32(&hash[..15]))
}

/// Zooko's base 32 of whole groups of five bytes.
fn zbase32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u64, |bits, it| bits << 8 | u64::from(*it));
        (0..8).map(move |n| char::from(LETTERS[(bits >> (35 - 5 * n)) as usize & 31]))
    };
    bytes.chunks_exact(5).flat_map(group).collect()
}

/// Returns the socket at `place`, which may be a file that says where the socket is, or `None` if
/// there is nothing.
///
/// # Errors
///
/// If it is not a socket, or somebody else could have put it there.
pub(super) fn resolve(place: &Path, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>, String> {
    let Ok(metadata) = fs::metadata(place) else { return Ok(None) };
    own(place, &metadata)?;
    if metadata.file_type().is_socket() {
        return Ok(Some(place.to_owned()));
    }
    let mut text = Vec::new();
    let read = fs::File::open(place).and_then(|it| it.take(REDIRECTION_LIMIT + 1).read_to_end(&mut text));
    let redirected = match read {
        Ok(_) => redirection(&text, lookup),
        Err(it) => return Err(format!("{}: {}", place.display(), crate::error::reason(&it))),
    };
    let Some(socket) = redirected else {
        return Err(format!("{} is neither a socket nor a redirection to one", place.display()));
    };
    let Ok(metadata) = fs::metadata(&socket) else { return Ok(None) };
    own(&socket, &metadata)?;
    match metadata.file_type().is_socket() {
        true => Ok(Some(socket)),
        false => Err(format!("{}, to which {} redirects, is no socket", socket.display(), place.display())),
    }
}

/// The name in `%Assuan%`, `socket=NAME`, two whole lines and nothing else; `${VARIABLE}` is replaced.
fn redirection(text: &[u8], lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let name = text.strip_prefix(b"%Assuan%\nsocket=")?.strip_suffix(b"\n")?;
    if name.is_empty() || name.contains(&b'\n') || text.len() as u64 > REDIRECTION_LIMIT {
        return None;
    }
    let mut path = Vec::new();
    let mut rest = name;
    while let Some(at) = rest.windows(2).position(|it| it == b"${") {
        let end = at + rest[at..].iter().position(|it| *it == b'}')?;
        path.extend_from_slice(&rest[..at]);
        let variable = std::str::from_utf8(&rest[at + 2..end]).ok()?;
        path.extend_from_slice(lookup(variable).unwrap_or_default().as_bytes());
        rest = &rest[end + 1..];
    }
    path.extend_from_slice(rest);
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// Checks that `path` is the user's or root's, and that nobody else can put another thing in its place.
fn own(path: &Path, metadata: &Metadata) -> Result<(), String> {
    let me = rustix::process::geteuid().as_raw();
    let is_ours = |it: &Metadata| it.uid() == me || it.uid() == 0;
    if !is_ours(metadata) {
        return Err(format!("{} belongs to somebody else", path.display()));
    }
    let folder = path.parent().filter(|it| *it != OsStr::new("")).unwrap_or(Path::new("."));
    let open = fs::metadata(folder).is_ok_and(|it| !is_ours(&it) || it.mode() & 0o022 != 0 && it.mode() & 0o1000 == 0);
    match open {
        true => Err(format!("{} can be changed by somebody else", folder.display())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_home_has_the_name_that_gnupg_gives_it() {
        // From `gpgconf --list-dirs agent-socket` of GnuPG 2.2.40.
        for (home, name) in
            [("/tmp/gq", "d.en5y7gxgf83usoakefb9pnam"), ("/tmp/../tmp/gq", "d.akf3fimd8agg54tsjyh3tmfk")]
        {
            assert_eq!(name_of(Path::new(home)), name);
        }
    }

    #[test]
    fn the_folder_for_sockets_comes_before_the_home() {
        let run = tempfile::tempdir().expect("a temporary folder");
        let root = run.path().to_str().expect("UTF-8");
        let places = |home: &str| places_below(&["/nonexistent", root], 7, Path::new(home), home == "/h/.gnupg");
        assert_eq!(places("/h/.gnupg"), [Path::new("/h/.gnupg/S.gpg-agent")]);
        fs::create_dir_all(run.path().join("user/7")).expect("writable");
        let of_user = run.path().join("user/7/gnupg");
        assert_eq!(places("/h/.gnupg"), [of_user.join("S.gpg-agent"), "/h/.gnupg/S.gpg-agent".into()]);
        let named = of_user.join("d.en5y7gxgf83usoakefb9pnam/S.gpg-agent");
        assert_eq!(places("/tmp/gq"), [named, "/tmp/gq/S.gpg-agent".into()]);
    }

    #[test]
    fn a_redirection_is_followed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |it: &str| folder.path().join(it);
        let _listener = UnixListener::bind(at("a socket")).expect("a short path");
        let root = folder.path().as_os_str().to_owned();
        let lookup = |name: &str| (name == "ROOT").then(|| root.clone());
        let check = |text: &str, expected: Result<Option<&str>, &str>| {
            fs::write(at("S"), text).expect("writable");
            let result = resolve(&at("S"), &lookup);
            let result = result.map_err(|it| it.replace(folder.path().to_str().expect("UTF-8"), "~"));
            assert_eq!(result, expected.map(|it| it.map(&at)).map_err(str::to_owned), "{text:?}");
        };
        let neither = Err("~/S is neither a socket nor a redirection to one");
        check("%Assuan%\nsocket=${ROOT}/a socket\n", Ok(Some("a socket")));
        check("%Assuan%\nsocket=${ROOT}/a ${NONE}socket\n", Ok(Some("a socket")));
        check("%Assuan%\nsocket=${ROOT}/none\n", Ok(None));
        check("%Assuan%\nsocket=${ROOT}/S\n", Err("~/S, to which ~/S redirects, is no socket"));
        check("%Assuan%\nsocket=${ROOT}/a socket", neither);
        check("%Assuan%\nsocket=\n", neither);
        check("%Assuan%\nsocket=${ROOT\n", neither);
        check("%Assuan%\nsocket=${ROOT}/a socket\nmore=1\n", neither);
        check(&format!("%Assuan%\nsocket=${{ROOT}}/{}\n", "x".repeat(600)), neither);
        check("", neither);
        assert_eq!(resolve(&at("a socket"), &lookup), Ok(Some(at("a socket"))));
        assert_eq!(resolve(&at("none"), &lookup), Ok(None));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).expect("it is ours");
        assert!(resolve(&at("a socket"), &lookup).is_err_and(|it| it.ends_with("can be changed by somebody else")));
    }
}
