//! What a command reads: a file or stdin, once, and what it is taken for.

use std::io;
use std::path::{Path, PathBuf};

use leafseal::format::{self, Format};
use zeroize::Zeroizing;

use crate::error::{Failure, code, reason};
use crate::files;
use crate::session::Session;

/// SOPS's formats, with the endings that mean them; whatever ends otherwise is binary (spec section
/// 8.4). A format that is missing from the library is refused by name instead of taken for binary.
const SOPS_FORMATS: &[(&str, &[&str])] =
    &[("yaml", &[".yaml", ".yml"]), ("json", &[".json"]), ("dotenv", &[".env"]), ("ini", &[".ini"]), ("binary", &[])];

/// Where the input comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A file, by its absolute path, and as it was named.
    File {
        /// For opening it.
        absolute: PathBuf,
        /// For talking about it.
        named: PathBuf,
    },
    /// Standard input.
    Stdin,
}

impl Source {
    /// Takes what was named, or stdin.
    ///
    /// # Errors
    ///
    /// If there is no working directory.
    pub(crate) fn new(file: Option<&Path>) -> Result<Self, Failure> {
        Ok(match file {
            None => Self::Stdin,
            Some(named) => Self::File { absolute: absolute(named)?, named: named.to_owned() },
        })
    }

    /// Takes a file that must be named.
    ///
    /// # Errors
    ///
    /// If none is named (exit 100).
    pub(crate) fn required(file: Option<&Path>) -> Result<Self, Failure> {
        let file = file.ok_or_else(|| {
            Failure::new(code::NO_FILE, "no file specified").sops("Error: no file specified").hint("name a file")
        })?;
        Self::new(Some(file))
    }

    /// The absolute path of a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File { absolute, .. } => Some(absolute),
            Self::Stdin => None,
        }
    }

    /// What to call it.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::File { named, .. } => named.display().to_string(),
            Self::Stdin => "stdin".to_owned(),
        }
    }

    /// Fails if there is no such file.
    ///
    /// # Errors
    ///
    /// Exit 100, as SOPS does before it looks at anything else.
    pub(crate) fn must_exist(&self) -> Result<(), Failure> {
        match self.path() {
            Some(path) if !exists(path) => Err(Failure::new(code::NO_FILE, "no such file")
                .at(self.label())
                .sops(format!("Error: cannot operate on non-existent file {:?}", path.display().to_string()))),
            _ => Ok(()),
        }
    }

    /// Reads all of an encrypted file: no secret, so nothing that has to be wiped.
    ///
    /// # Errors
    ///
    /// Exit 2.
    pub(crate) fn read_encrypted(&self) -> Result<Vec<u8>, Failure> {
        self.read().map(|mut it| std::mem::take(&mut *it))
    }

    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// Exit 2.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let result = match self.path() {
            Some(path) => files::read(path),
            None => files::read_all(io::stdin().lock(), 64 * 1024),
        };
        result.map_err(|it| {
            let failure = Failure::new(code::READ, format!("cannot read it: {}", reason(&it))).at(self.label());
            match self.path() {
                // Go names the call that failed: a directory opens and does not read.
                Some(path) => {
                    let call = if it.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
                    failure.sops(format!("Error reading file: {call} {}: {}", path.display(), reason(&it)))
                }
                None => failure.sops(format!("Error reading from stdin: {}", reason(&it))),
            }
        })
    }
}

/// True if something is there, even if it may not be read.
pub(crate) fn exists(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|it| it.kind() == io::ErrorKind::NotFound)
}

/// Makes a path absolute and takes `.` and `..` out of it, as Go does, without looking at the disk.
///
/// # Errors
///
/// If there is no working directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let whole = std::path::absolute(path)
        .map_err(|it| Failure::new(code::GENERIC, format!("there is no working directory: {}", reason(&it))))?;
    let mut clean = PathBuf::new();
    for component in whole.components() {
        match component {
            std::path::Component::ParentDir => _ = clean.pop(),
            it => clean.push(it),
        }
    }
    Ok(clean)
}

/// The format that `--input-type` or `--output-type` name, else the one that `name` means.
///
/// # Errors
///
/// If the type is none (our own mode; SOPS ignores it), or not supported.
pub(crate) fn format_for(
    session: &Session,
    flag: &str,
    asked: Option<&str>,
    name: &Path,
) -> Result<&'static dyn Format, Failure> {
    let sops = |name: &str| SOPS_FORMATS.iter().map(|(it, _)| *it).find(|it| *it == name);
    let named = match asked.filter(|it| !it.is_empty()) {
        Some(asked) => match format::named(asked) {
            Some(format) => return Ok(format),
            None => {
                let known = sops(asked);
                if known.is_none() && !session.is_drop_in() {
                    return Err(Failure::new(code::GENERIC, format!("there is no type called {asked:?}"))
                        .at(flag)
                        .hint("the types are yaml, json, dotenv, ini and binary"));
                }
                known
            }
        },
        None => None,
    };
    let file = name.to_string_lossy();
    let kind = match named {
        Some(it) => it,
        None => match format::for_name(&file) {
            Some(format) => return Ok(format),
            None => SOPS_FORMATS
                .iter()
                .find(|(_, suffixes)| suffixes.iter().any(|it| file.ends_with(it)))
                .map_or("binary", |(it, _)| *it),
        },
    };
    format::named(kind).ok_or_else(|| {
        let folder = std::env::current_dir().unwrap_or_default();
        let place = name.strip_prefix(folder).unwrap_or(name);
        if name.is_dir() {
            let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
            return Failure::new(code::READ, "it is a folder, and not a file").at_path(place);
        }
        // What cannot be printed is one exit code, what cannot be read another.
        let code = if flag == "--output-type" { code::PRINT } else { code::GENERIC };
        Failure::new(code, format!("files of the type {kind} are not supported yet"))
            .at_path(place)
            .hint("if the file is yaml or json under another name, say so with --input-type and --output-type")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, clean) in [("/a/./b/../c", "/a/c"), ("/../a", "/a"), ("/a//b/", "/a/b")] {
            assert_eq!(absolute(Path::new(path)).expect("it is absolute").to_str(), Some(clean), "{path}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named_in_both_voices() {
        use crate::session::Mode;
        let source = Source::new(Some(Path::new("/no/such.yaml"))).expect("it is absolute");
        let failure = source.must_exist().expect_err("it is not there");
        assert_eq!(failure.code(), 100);
        assert_eq!(failure.render(Mode::Leafseal), "error: /no/such.yaml: no such file\n");
        let first = "Error: cannot operate on non-existent file \"/no/such.yaml\"";
        assert_eq!(failure.render(Mode::DropIn).lines().next(), Some(first));
        let failure = source.read().expect_err("it is not there");
        let first = "Error reading file: open /no/such.yaml: no such file or directory";
        assert_eq!(failure.render(Mode::DropIn).lines().next(), Some(first));
        let failure = Source::new(Some(Path::new("/"))).expect("it is absolute").read().expect_err("a folder");
        assert_eq!(failure.render(Mode::DropIn).lines().next(), Some("Error reading file: read /: is a directory"));
    }
}
