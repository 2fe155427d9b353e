//! `init`: a first identity, a first `.sops.yaml`, and what to do next.

use std::fs;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use leafseal::edge::Clock as _;
use zeroize::Zeroizing;

use crate::args::Init;
use crate::edge::SystemClock;
use crate::env;
use crate::error::{Failure, code, reason};
use crate::files;
use crate::identities::Identities;
use crate::session::Session;
use crate::ui;

/// Runs it. What is there already is kept and used.
///
/// # Errors
///
/// If something that is there cannot be used, or something new cannot be written.
pub(crate) fn run(session: &Session, args: Init) -> Result<(), Failure> {
    let keys = place()?;
    let config = args.folder.join(".sops.yaml");
    let recipient = match keys.exists() {
        true => {
            let recipient = existing(&keys)?;
            ui::note(&format!("Using the identity in {}", keys.display()));
            recipient
        }
        false => {
            let recipient = create(&keys)?;
            ui::note(&format!("Made an identity in {}: keep a copy of it in a safe place", keys.display()));
            recipient
        }
    };
    ui::note(&format!("Its public key is {recipient}"));
    match config.exists() {
        true => session.warn(&format!("{} is there already and was left as it is", config.display())),
        false => {
            let text = format!(
                "# Who can read which files. The first rule that fits a new file counts.\n\
                 creation_rules:\n  - path_regex: \\.(yaml|yml|json|env|ini)$\n    age: {recipient}\n"
            );
            fs::write(&config, text).map_err(|it| cannot_write(&config, &it))?;
            ui::note(&format!("Made {}", config.display()));
        }
    }
    ui::note("Now make a file, and read it:\n\n    leafseal edit secrets.yaml\n    leafseal decrypt secrets.yaml\n");
    Ok(())
}

/// Where the identity will be looked for.
fn place() -> Result<PathBuf, Failure> {
    if let Some(file) = env::var("SOPS_AGE_KEY_FILE").filter(|it| !it.is_empty()) {
        return Ok(file.into());
    }
    Identities::new(env::var).keys_file().map_err(|it| {
        Failure::new(code::GENERIC, format!("there is no place for an identity: {it}"))
            .hint("name a file for it in SOPS_AGE_KEY_FILE")
    })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(code::WRITE, format!("cannot write it: {}", reason(error))).at_path(path)
}

/// Makes an identity, readable by nobody else, and returns its recipient.
fn create(path: &Path) -> Result<String, Failure> {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = Zeroizing::new(format!(
        "# created: {}\n# public key: {recipient}\n{}\n",
        SystemClock.now(),
        secret.expose_secret()
    ));
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|it| cannot_write(folder, &it))?;
    }
    files::create_private(path, text.as_bytes()).map_err(|it| cannot_write(path, &it))?;
    Ok(recipient)
}

/// Returns the recipient of the first identity in a file.
fn existing(path: &Path) -> Result<String, Failure> {
    let bytes = files::read(path)
        .map_err(|it| Failure::new(code::READ, format!("cannot read it: {}", reason(&it))).at_path(path))?;
    let text = std::str::from_utf8(&bytes).unwrap_or("");
    let identity = text.split_whitespace().find_map(|it| it.parse::<age::x25519::Identity>().ok());
    let noted = || text.lines().find_map(|it| it.strip_prefix("# public key: ")).map(|it| it.trim().to_owned());
    identity.map(|it| it.to_public().to_string()).or_else(noted).ok_or_else(|| {
        Failure::new(code::GENERIC, "no public key can be told from what is in it")
            .at_path(path)
            .hint("write a .sops.yaml with your recipient yourself, or name another file in SOPS_AGE_KEY_FILE")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_is_private_and_found_again() {
        let folder = tempfile::tempdir().expect("there is room for tests");
        let path = folder.path().join("sops/age/keys.txt");
        let recipient = create(&path).expect("it can be made");
        assert!(recipient.starts_with("age1"));
        assert_eq!(existing(&path).expect("it is there"), recipient);
        let mode = |it: &Path| fs::metadata(it).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        assert!(create(&path).is_err(), "an identity is never written over");
    }
}
