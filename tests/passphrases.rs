//! Passphrases of age identity files that gpg-agent remembers for real sops and for us.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use leafseal_tests::gnupg::Gnupg;
use leafseal_tests::{KEYS, Outcome, Place, peer};
use tempfile::TempDir;

const PLAIN: &str = "a: one\n";

/// K1 behind this passphrase, and what SOPS calls it.
const LOCKED: &[u8] = include_bytes!("../lib/testdata/age-keys/locked.age");
const PASSPHRASE: &str = "correct horse";
const ID: &str = "SopsAgeSKJ2IS7TFYS3BXUYT6HTAJSCBZUQYBORFN6CNLT2";

/// A user whose gpg-agent asks with a script of ours. The agent ends with it.
struct User {
    dir: TempDir,
    place: Place,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut end = Command::new("timeout");
        end.args(["10", "gpgconf", "--homedir"]).arg(self.gnupg()).args(["--kill", "all"]);
        drop(end.status());
    }
}

impl User {
    /// With a file of three recipients, of whom the user is the last.
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("lp").tempdir_in("/tmp").expect("/tmp is writable");
        let user = Self { dir, place: Place::new() };
        fs::create_dir(user.gnupg()).expect("a new folder is writable");
        fs::set_permissions(user.gnupg(), fs::Permissions::from_mode(0o700)).expect("it is ours");
        user.place.write("p.yaml", PLAIN);
        user.place.write("locked", LOCKED);
        let readers = [KEYS[1].recipient, KEYS[2].recipient, KEYS[0].recipient].join(",");
        let sealed = user.place.leafseal(&["encrypt", "--age", &readers, "p.yaml"]).ok().expect("it encrypts");
        user.place.write("f.yaml", sealed);
        user
    }

    fn gnupg(&self) -> PathBuf {
        self.dir.path().join(".gnupg")
    }

    /// Ends the agent and starts it with a program that asks.
    fn agent(&self, pinentry: &Path) {
        let text = format!("allow-preset-passphrase\npinentry-program {}\n", pinentry.display());
        fs::write(self.gnupg().join("gpg-agent.conf"), text).expect("it is ours");
        for act in ["--kill", "--launch"] {
            let mut gpgconf = Command::new("gpgconf");
            gpgconf.arg("--homedir").arg(self.gnupg()).args([act, "gpg-agent"]).env("HOME", self.dir.path());
            Place::finish(&mut gpgconf, b"").ok().expect("gpgconf runs");
        }
    }

    /// A program that notes how it asks, and answers like this.
    fn pinentry(&self, answer: &str) -> PathBuf {
        let path = self.dir.path().join("pinentry");
        let text = format!(
            "#!/bin/sh\necho OK\nwhile read -r line; do\n  case \"$line\" in\n    SETDESC*|SETPROMPT*) echo \"$line\" >> \
             '{}'; echo OK;;\n    GETPIN) {answer};;\n    BYE) echo OK; exit;;\n    *) echo OK;;\n  esac\ndone\n",
            self.dir.path().join("asked").display()
        );
        fs::write(&path, text).expect("a new folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// What was asked since this was last called.
    fn asked(&self) -> Vec<String> {
        let path = self.dir.path().join("asked");
        let text = fs::read_to_string(&path).unwrap_or_default();
        drop(fs::remove_file(path));
        // The agent leaves escapes to the program.
        text.lines().map(|it| it.replace("%27", "'").replace("%3A", ":")).collect()
    }

    /// Waits until a passphrase was asked for.
    fn comes_to_ask(&self) {
        let begun = Instant::now();
        let n_lines = || fs::read_to_string(self.dir.path().join("asked")).map_or(0, |it| it.lines().count());
        while n_lines() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody is asked");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where the agent listens, as the variable that SOPS minds says it.
    fn socket(&self) -> String {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.arg("--homedir").arg(self.gnupg()).args(["--list-dirs", "agent-socket"]).env("HOME", self.dir.path());
        let socket = Place::finish(&mut gpgconf, b"").ok().expect("gpgconf runs");
        format!("{}:0:1", String::from_utf8_lossy(&socket).trim())
    }

    /// Decrypts with a program, with no terminal, or one where this is typed.
    fn decrypt(&self, program: &Path, variables: &[(&str, &str)], typed: Option<&str>) -> Outcome {
        let mut command = match typed {
            None => self.place.command("setsid"),
            Some(_) => self.place.command("script"),
        };
        match typed {
            None => command.arg("--wait").arg(program).args(["decrypt", "f.yaml"]),
            Some(_) => command.arg("-qec").arg(format!("{} decrypt f.yaml > out", program.display())).arg("/dev/null"),
        };
        // Without TERM, sops offers the agent an empty one, which it refuses.
        command
            .env("TERM", "dumb")
            .env("HOME", self.dir.path())
            .env("SOPS_AGE_KEY_FILE", "locked")
            .envs(variables.iter().copied());
        if variables.iter().all(|(name, _)| *name != "GPG_AGENT_INFO") {
            command.env_remove("GPG_AGENT_INFO");
        }
        Place::finish(&mut command, typed.unwrap_or_default().as_bytes())
    }

    fn ours(&self, variables: &[(&str, &str)], typed: Option<&str>) -> Outcome {
        self.decrypt(leafseal_tests::leafseal(), variables, typed)
    }

    /// Decrypts in vain, and returns what is said.
    fn refused(&self, variables: &[(&str, &str)]) -> String {
        let outcome = self.ours(variables, None);
        assert_eq!((outcome.code, outcome.stdout.len()), (128, 0), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains(PASSPHRASE) && !outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        outcome.stderr
    }
}

fn opened(outcome: Outcome) {
    assert_eq!(outcome.ok().map(|it| String::from_utf8_lossy(&it).into_owned()), Ok(PLAIN.to_owned()));
}

#[test]
fn what_sops_has_the_agent_remember_serves_us_and_the_other_way() {
    let (Some(sops), Some(_)) = (peer("sops-3.13"), peer("gpg")) else { return };
    let ours = leafseal_tests::leafseal();
    let user = User::new();
    let pinentry = user.pinentry(&format!("echo 'D {PASSPHRASE}'; echo OK"));
    let question = ["SETDESC Enter passphrase for identity 'SOPS_AGE_KEY_FILE':", "SETPROMPT Passphrase"];
    for file in [LOCKED.to_owned(), armoured(LOCKED)] {
        user.place.write("locked", file);
        for [first, second] in [[&*sops, ours], [ours, &*sops]] {
            user.agent(&pinentry);
            let agent = [("GPG_AGENT_INFO", &*user.socket())];
            opened(user.decrypt(first, &agent, None));
            assert_eq!(user.asked(), question, "{}", first.display());
            opened(user.decrypt(second, &agent, None));
            opened(user.decrypt(first, &agent, None));
            assert!(user.asked().is_empty(), "the agent remembers");
        }
    }
    // The agent of the user's own home, and of another home.
    opened(user.ours(&[], None));
    opened(user.ours(&[("HOME", "/nonexistent"), ("GNUPGHOME", user.gnupg().to_str().expect("UTF-8"))], None));
    assert!(user.asked().is_empty(), "the agent remembers");
}

fn armoured(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut armour =
        age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).expect("writes");
    armour.write_all(bytes).and_then(|()| armour.finish()).expect("writes")
}

#[test]
fn the_same_holds_for_keys_of_an_old_keyring() {
    let (Some(sops), Some(gpg)) = (peer("sops-3.13"), peer("gpg")) else { return };
    let ours = leafseal_tests::leafseal();
    let user = User::new();
    let source = Gnupg::new(&gpg);
    let fingerprint = source.generate(&[], "locked", ["rsa2048", "default", "never"], PASSPHRASE);
    source.add(&[], &fingerprint, ["rsa2048", "encr", "never"], PASSPHRASE);
    let secret = ["--passphrase", PASSPHRASE, "--export-secret-keys"];
    for (name, command) in [("pubring.gpg", &["--export"][..]), ("secring.gpg", &secret)] {
        fs::write(user.gnupg().join(name), source.ok(command, b"")).expect("it is ours");
    }
    let gnupg = user.gnupg();
    let home = [("GNUPGHOME", gnupg.to_str().expect("UTF-8"))];
    let mut seal = user.place.command(ours);
    let sealed = Place::finish(seal.envs(home).args(["encrypt", "--pgp", &fingerprint, "p.yaml"]), b"").ok();
    user.place.write("f.yaml", sealed.expect("it encrypts"));
    for [first, second] in [[&*sops, ours], [ours, &*sops]] {
        user.agent(&user.pinentry(&format!("echo 'D {PASSPHRASE}'; echo OK")));
        let agent = [home[0], ("GPG_AGENT_INFO", &*user.socket())];
        opened(user.decrypt(first, &agent, None));
        assert_eq!(user.asked().len(), 2, "{}", first.display());
        opened(user.decrypt(second, &agent, None));
        assert!(user.asked().is_empty(), "the agent remembers");
    }
}

#[test]
fn an_agent_can_be_told_beforehand() {
    let Some(_) = peer("gpg") else { return };
    let user = User::new();
    user.agent(Path::new("/bin/false"));
    let mut preset = Command::new("/usr/lib/gnupg/gpg-preset-passphrase");
    preset.env("GNUPGHOME", user.gnupg()).args(["--preset", ID]);
    Place::finish(&mut preset, PASSPHRASE.as_bytes()).ok().expect("it is taken");
    opened(user.ours(&[], None));
}

#[test]
fn a_wrong_passphrase_is_forgotten_and_who_does_not_answer_is_not_asked_twice() {
    let Some(_) = peer("gpg") else { return };
    let user = User::new();
    for (answer, seconds, expected) in [
        ("echo 'D wrong'; echo OK", "300", "incorrect passphrase"),
        ("echo OK", "300", "incorrect passphrase"),
        (
            "echo 'ERR 83886179 Operation cancelled <Pinentry>'",
            "300",
            "could not read passphrase: gpg-agent passphrase request errored: the passphrase prompt was cancelled",
        ),
        ("sleep 4; echo 'D wrong'; echo OK", "1", "gpg-agent passphrase request errored: no answer within 1 s"),
    ] {
        user.agent(&user.pinentry(answer));
        let told = user.refused(&[("LEAFSEAL_GPG_TIMEOUT", seconds)]);
        assert!(told.contains(expected), "{told}");
        // Who is waited for no longer may begin to ask later.
        user.comes_to_ask();
        assert_eq!(user.asked().len(), 2, "{expected}");
        if expected == "incorrect passphrase" {
            user.pinentry(&format!("echo 'D {PASSPHRASE}'; echo OK"));
            opened(user.ours(&[], None));
            assert_eq!(user.asked().len(), 2, "{answer}");
        }
    }
}

#[test]
fn the_terminal_is_asked_where_no_agent_is_of_use() {
    let Some(_) = peer("gpg") else { return };
    let user = User::new();
    let at_terminal = |variables: &[(&str, &str)]| {
        let outcome = user.ours(variables, Some(&format!("{PASSPHRASE}\n")));
        assert_eq!(outcome.code, 0, "{variables:?} {outcome:?}");
        let said = String::from_utf8_lossy(&outcome.stdout);
        assert!(said.contains("Enter passphrase for identity 'SOPS_AGE_KEY_FILE': "), "{said}");
        assert_eq!(user.place.read("out"), PLAIN.as_bytes());
    };
    // Nothing listens, and no agent is started.
    for variables in [&[][..], &[("GPG_AGENT_INFO", "")], &[("GPG_AGENT_INFO", "/nonexistent:0:1")]] {
        at_terminal(variables);
        let told = user.refused(variables);
        assert!(told.contains("could not read passphrase: there is nobody to ask"), "{told}");
        assert_eq!(fs::read_dir(user.gnupg()).expect("it is ours").count(), 0, "no agent");
    }
    user.agent(Path::new("/nonexistent/pinentry"));
    at_terminal(&[]);
    let told = user.refused(&[]);
    assert!(told.contains("errored: gpg-agent found no program that asks for the passphrase, and there is"), "{told}");
    // One that listens and says nothing.
    let silent = user.dir.path().join("silent");
    let listener = UnixListener::bind(&silent).expect("a short path");
    let agent = thread::spawn(move || listener.incoming().take(2).map(Result::ok).collect::<Vec<_>>());
    let silent = [("GPG_AGENT_INFO", silent.to_str().expect("UTF-8"))];
    let told = thread::scope(|scope| {
        let told = scope.spawn(|| user.refused(&silent));
        at_terminal(&silent);
        told.join().expect("it is refused")
    });
    assert!(told.contains("errored: no answer within 10 s, and there is nobody else to ask"), "{told}");
    assert_eq!(agent.join().expect("it ends").len(), 2, "it is asked once a run");
}
