//! OpenPGP with real GnuPG: its agent, its program, both versions of sops; and agents that misbehave.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use leafseal_tests::gnupg::Gnupg;
use leafseal_tests::{Outcome, Place, SOPS, peer};
use tempfile::TempDir;

const PLAIN: &str = "a: one\nb:\n    - 2\n    - three\n";

/// Kinds of keys for encryption, as `--quick-add-key` names them. ElGamal is made from parameters.
const KINDS: &[&str] = &[
    "rsa2048",
    "elgamal",
    "cv25519",
    "nistp256",
    "nistp384",
    "nistp521",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
];

/// A GnuPG home for the `gpg` of the search path.
fn new_home() -> Gnupg {
    Gnupg::new(Path::new("gpg"))
}

/// A place whose programs are ours, those of GnuPG that are named, and a `gpg` that notes its
/// arguments in `calls`.
struct Here {
    place: Place,
    bin: TempDir,
}

impl Here {
    fn new(programs: &[&str]) -> Self {
        let place = Place::new();
        let bin = tempfile::tempdir().expect("TMPDIR is writable");
        for name in programs {
            let path = bin.path().join(name);
            let script = format!(
                "#!/bin/sh\necho \"{name} $*\" >> '{}'\nexec /usr/bin/{name} \"$@\"\n",
                Self::log(&bin).display()
            );
            fs::write(&path, script).expect("a new folder is writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        place.write("p.yaml", PLAIN);
        Self { place, bin }
    }

    fn log(bin: &TempDir) -> PathBuf {
        bin.path().join("calls")
    }

    /// The programs of GnuPG that were called since this was last asked.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(Self::log(&self.bin)).unwrap_or_default();
        drop(fs::remove_file(Self::log(&self.bin)));
        text.lines().map(str::to_owned).collect()
    }

    /// Runs the built program by its own name.
    fn leafseal(&self, home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = self.place.command(leafseal_tests::leafseal());
        command.env("PATH", self.bin.path()).env("GNUPGHOME", home).envs(variables.iter().copied()).args(args);
        command.env_remove("SOPS_AGE_KEY_FILE");
        // No test hangs: the real limits are longer.
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        let until = Instant::now() + Duration::from_secs(300);
        while child.try_wait().expect("it is ours").is_none() {
            if Instant::now() > until {
                drop(child.kill());
                panic!("{args:?} hangs");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output().expect("it has ended");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Encrypts `p.yaml` with real sops to `name`.
    fn encrypt(&self, sops: &Path, home: &Path, fingerprint: &str, name: &str) {
        let mut command = self.place.command(sops);
        command.env("GNUPGHOME", home).args(["encrypt", "--pgp", fingerprint, "p.yaml"]);
        let text = Place::finish(&mut command, b"").ok().unwrap_or_else(|it| panic!("{}: {it}", sops.display()));
        self.place.write(name, text);
    }

    fn decrypts(&self, home: &Path, name: &str, variables: &[(&str, &str)]) {
        let outcome = self.leafseal(home, &["decrypt", name], variables);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{name} {variables:?}");
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), PLAIN);
    }

    /// Decrypts in vain, and returns what is said.
    fn refuses(&self, home: &Path, name: &str, variables: &[(&str, &str)]) -> String {
        let outcome = self.leafseal(home, &["decrypt", name], variables);
        assert_eq!((outcome.code, outcome.stdout.len()), (128, 0), "{name} {variables:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        outcome.stderr
    }
}

fn peers() -> Option<Vec<PathBuf>> {
    peer("gpg")?;
    SOPS.iter().map(|it| peer(it)).collect()
}

#[test]
fn every_kind_of_key_opens_through_the_agent_the_program_and_a_named_program() {
    let Some(sops) = peers() else { return };
    let home = new_home();
    // The same keys in a keyring that only gpg knows of.
    let other = new_home();
    other.write("gpg.conf", &format!("no-default-keyring\nkeyring {}\n", other.path().join("mine.kbx").display()));
    let without = Here::new(&["gpg-agent"]);
    let with = Here::new(&["gpg", "gpg-agent"]);
    let named = with.bin.path().join("gpg");
    let named = ("SOPS_GPG_EXEC", named.to_str().expect("UTF-8"));
    for kind in KINDS {
        let fingerprint = home.encryption_key(kind, "");
        let secret = home.ok(&["--export-secret-keys", &fingerprint], b"");
        other.ok(&["--import"], &secret);
        for sops in &sops {
            with.encrypt(sops, home.path(), &fingerprint, "f.yaml");
            fs::copy(with.place.work().join("f.yaml"), without.place.work().join("f.yaml")).expect("copies");
            without.decrypts(home.path(), "f.yaml", &[]);
            with.decrypts(other.path(), "f.yaml", &[]);
            let twice = ["gpg --batch --with-colons --list-secret-keys", "gpg -d"];
            assert_eq!(with.calls(), twice, "{kind}");
            let more = [("LEAFSEAL_GNUPG_HOMES", other.path().to_str().expect("UTF-8"))];
            with.decrypts(Path::new("/nonexistent"), "f.yaml", &more);
            assert!(with.calls().ends_with(&twice.map(str::to_owned)), "{kind}");
            with.decrypts(home.path(), "f.yaml", &[named]);
            assert_eq!(with.calls(), ["gpg -d"], "{kind}");
        }
        let encrypts = |here: &Here, home: &Gnupg, variables: &[(&str, &str)]| {
            let sealed = here.leafseal(home.path(), &["encrypt", "--pgp", &fingerprint, "p.yaml"], variables);
            assert_eq!(sealed.code, 0, "{kind}: {}", sealed.stderr);
            here.place.write("g.yaml", sealed.stdout);
            for sops in &sops {
                let mut command = here.place.command(sops);
                let opened = Place::finish(command.env("GNUPGHOME", home.path()).args(["decrypt", "g.yaml"]), b"");
                assert_eq!(
                    opened.ok().map(|it| String::from_utf8_lossy(&it).into_owned()),
                    Ok(PLAIN.to_owned()),
                    "{kind}"
                );
            }
        };
        // What is not encrypted to directly is left to gpg.
        encrypts(if kind.starts_with("brainpool") { &with } else { &without }, &home, &[]);
        let short = &fingerprint[24..];
        let argv = format!(
            "gpg --no-default-recipient --yes --encrypt -a -r {fingerprint} --trusted-key {short} --no-encrypt-to"
        );
        with.calls();
        encrypts(&with, &other, &[]);
        assert_eq!(with.calls().first(), Some(&argv));
        encrypts(&with, &home, &[named]);
        assert_eq!(with.calls().first(), Some(&argv));
    }
    // Both notes of the agents: they ran before.
    assert!(without.calls().is_empty());
}

#[test]
fn an_agent_is_started_where_a_key_lies_and_nowhere_else() {
    let Some(sops) = peers() else { return };
    let home = new_home();
    let fingerprint = home.encryption_key("cv25519", "");
    let here = Here::new(&["gpg", "gpg-agent", "gpgconf", "gpg-connect-agent"]);
    here.encrypt(&sops[1], home.path(), &fingerprint, "f.yaml");
    home.end_agent();
    here.decrypts(home.path(), "f.yaml", &[("SOPS_AGE_KEY", "not for others"), ("LEAFSEAL_X", "nor this")]);
    let start = format!("gpg-agent --homedir {} --use-standard-socket --daemon", home.path().display());
    assert_eq!(here.calls(), [start]);
    here.decrypts(home.path(), "f.yaml", &[]);
    assert!(here.calls().is_empty(), "it runs");
    // What it was started with may hold our secrets: not those that are known to.
    let pid = String::from_utf8(home.tool("gpg-connect-agent", &["GETINFO pid", "/bye"])).expect("text");
    let pid = pid.trim_start_matches("D ").lines().next().unwrap_or_default().to_owned();
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("the agent is ours");
    assert!(!String::from_utf8_lossy(&environment).contains("not for others"));
    home.end_agent();
    home.write("gpg.conf", "no-autostart\n");
    let told = here.refuses(home.path(), "f.yaml", &[]);
    assert!(told.contains("`no-autostart` forbids to start one"), "{told}");
    here.calls();
    // Somebody who has the certificate only.
    let reader = new_home();
    reader.ok(&["--import"], &home.ok(&["--export", &fingerprint], b""));
    reader.end_agent();
    for path in [reader.path().to_owned(), reader.path().join("none")] {
        let told = here.refuses(&path, "f.yaml", &[]);
        assert!(told.contains(&format!("in {}", path.display())), "{told}");
        assert!(told.contains("no secret key for "), "{told}");
        assert!(here.calls().is_empty(), "nothing is started in vain");
    }
}

#[test]
fn two_thousand_readers_none_of_whom_is_here_cost_no_process() {
    let Some(sops) = peers() else { return };
    let home = new_home();
    let fingerprint = home.encryption_key("cv25519", "");
    let here = Here::new(&["gpg", "gpg-agent"]);
    here.encrypt(&sops[1], home.path(), &fingerprint, "f.yaml");
    let text = String::from_utf8(here.place.read("f.yaml")).expect("YAML is text");
    here.place.write("f.yaml", repeated(&text, 2000));
    let reader = new_home();
    reader.ok(&["--import"], &home.ok(&["--export", &fingerprint], b""));
    here.refuses(reader.path(), "f.yaml", &[]);
    assert!(here.calls().is_empty(), "nothing is started in vain");
    // In a keyring that only gpg knows, it is asked once which keys it has.
    reader.write("gpg.conf", &format!("keyring {}\n", reader.path().join("mine.kbx").display()));
    here.refuses(reader.path(), "f.yaml", &[]);
    assert_eq!(here.calls(), ["gpg --batch --with-colons --list-secret-keys"]);
}

/// The same file with its key so many times.
fn repeated(text: &str, times: usize) -> String {
    let start = text.find("        - created_at").expect("there is a key");
    let end = start + text[start..].find("    unencrypted_suffix").expect("the keys end");
    format!("{}{}{}", &text[..start], text[start..end].repeat(times), &text[end..])
}

/// A pinentry that answers questions for a passphrase with this line, and notes that it was started.
fn pinentry(home: &Gnupg, answer: &str) -> PathBuf {
    let text = format!(
        "echo asked >> '{0}/asked'\necho OK\nwhile read -r line; do\n  case \"$line\" in\n    SETDESC*) echo \"$line\" >> \
         '{0}/desc'; echo OK;;\n    GETPIN) {answer};;\n    BYE) echo OK; exit;;\n    *) echo OK;;\n  esac\ndone",
        home.folder().display()
    );
    home.script("pinentry", &text)
}

#[test]
fn a_passphrase_is_asked_for_once_and_what_becomes_of_it_is_told() {
    let Some(sops) = peers() else { return };
    let home = new_home();
    let here = Here::new(&["gpg", "gpg-agent"]);
    let fingerprint = home.encryption_key("rsa2048", "correct horse");
    here.encrypt(&sops[1], home.path(), &fingerprint, "f.yaml");
    let text = String::from_utf8(here.place.read("f.yaml")).expect("YAML is text");
    here.place.write("many.yaml", repeated(&text, 50));
    let asked = || {
        let path = home.folder().join("asked");
        let count = fs::read_to_string(&path).unwrap_or_default().lines().count();
        drop(fs::remove_file(path));
        count
    };
    let configure = |program: &Path| {
        home.write("gpg-agent.conf", &format!("pinentry-program {}\n", program.display()));
        home.end_agent();
        here.calls();
    };
    let only_the_agent = |what: &str| assert!(here.calls().iter().all(|it| it.starts_with("gpg-agent ")), "{what}");

    configure(&pinentry(&home, "echo 'D correct horse'; echo OK"));
    here.decrypts(home.path(), "f.yaml", &[]);
    assert_eq!(asked(), 1);
    let description = fs::read_to_string(home.folder().join("desc")).expect("there was a question");
    for part in ["rsa2048%22", "2048-bit RSA key, ID ", "(main key ID "] {
        assert!(description.contains(part), "{description}");
    }
    here.decrypts(home.path(), "f.yaml", &[]);
    assert_eq!(asked(), 0, "the agent remembers");
    only_the_agent("right");

    for (answer, seconds, expected) in [
        ("echo 'D wrong'; echo OK", "200", "wrong passphrase"),
        ("echo 'ERR 83886179 Operation cancelled <Pinentry>'", "200", "the passphrase prompt was cancelled"),
        ("sleep 30; echo 'D wrong'; echo OK", "1", "no answer within 1 s"),
    ] {
        configure(&pinentry(&home, answer));
        let told = here.refuses(home.path(), "many.yaml", &[("LEAFSEAL_GPG_TIMEOUT", seconds)]);
        assert!(told.contains(expected), "{told}");
        // Who is waited for no longer may begin to ask later.
        let until = Instant::now() + Duration::from_secs(60);
        while !home.folder().join("asked").exists() && Instant::now() < until {
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(asked(), 1, "{expected}");
        only_the_agent(expected);
    }

    configure(Path::new("/nonexistent/pinentry"));
    let told = here.refuses(home.path(), "f.yaml", &[]);
    assert!(told.contains("gpg-agent found no program that asks"), "{told}");
    assert!(told.contains("hint: gpg-agent asks with a `pinentry`"), "{told}");
    only_the_agent("no pinentry");

    if Path::new("/usr/bin/pinentry-curses").exists() {
        configure(Path::new("/usr/bin/pinentry-curses"));
        let told = here.refuses(home.path(), "f.yaml", &[]);
        assert!(told.contains("there is no terminal"), "{told}");
        assert!(told.contains("export GPG_TTY=$(tty)"), "{told}");
        only_the_agent("no terminal");
    }

    // As in a pipeline: the agent is told beforehand, and can ask nobody.
    home.write("gpg-agent.conf", "allow-preset-passphrase\npinentry-program /bin/false\n");
    home.end_agent();
    home.tool("gpgconf", &["--launch", "gpg-agent"]);
    let mut preset = Command::new("/usr/lib/gnupg/gpg-preset-passphrase");
    preset.env("GNUPGHOME", home.path()).args(["--preset", &home.grip(&fingerprint)]);
    Place::finish(&mut preset, b"correct horse").ok().expect("it is taken");
    here.decrypts(home.path(), "f.yaml", &[]);
    only_the_agent("preset");

    // Or gpg is: the agent is not to ask then.
    configure(Path::new("/bin/false"));
    home.write("secret", "correct horse\n");
    let file = home.path().join("secret");
    home.write("gpg.conf", &format!("batch\npinentry-mode loopback\npassphrase-file {}\n", file.display()));
    here.decrypts(home.path(), "f.yaml", &[]);
    assert!(here.calls().contains(&"gpg -d".to_owned()));
}

#[test]
fn homes_and_sockets_are_found_wherever_they_lie() {
    let Some(sops) = peers() else { return };
    let home = Gnupg::called(Path::new("gpg"), "a home");
    let fingerprint = home.encryption_key("cv25519", "");
    let here = Here::new(&["gpg-agent"]);
    here.encrypt(&sops[1], home.path(), &fingerprint, "f.yaml");
    here.decrypts(home.path(), "f.yaml", &[]);
    std::os::unix::fs::symlink(home.path(), here.place.work().join("gnupg")).expect("a new folder is writable");
    here.decrypts(Path::new("gnupg"), "f.yaml", &[]);
    here.decrypts(Path::new("gnupg/"), "f.yaml", &[]);
    let more = home.path().to_str().expect("UTF-8");
    here.decrypts(Path::new("/nonexistent"), "f.yaml", &[("LEAFSEAL_GNUPG_HOMES", more)]);
    let told = here.refuses(Path::new("/nonexistent"), "f.yaml", &[("LEAFSEAL_GNUPG_HOMES", "/none")]);
    assert!(told.contains("by GnuPG in /nonexistent, /none\n"), "{told}");

    // An agent that serves another machine, as through SSH: it tells less, and takes no options.
    let extra = String::from_utf8(home.tool("gpgconf", &["--list-dirs", "agent-extra-socket"])).expect("text");
    let away = new_home();
    away.ok(&["--import"], &home.ok(&["--export", &fingerprint], b""));
    away.end_agent();
    drop(fs::remove_file(away.path().join("S.gpg-agent")));
    away.write("S.gpg-agent", &format!("%Assuan%\nsocket={}\n", extra.trim().replace("%20", " ")));
    here.calls();
    here.decrypts(away.path(), "f.yaml", &[]);
    assert!(here.calls().is_empty());
    fs::remove_file(away.path().join("S.gpg-agent")).expect("it is ours");

    home.end_agent();
    let elsewhere = tempfile::Builder::new().prefix("lg").tempdir_in("/tmp").expect("/tmp is writable");
    home.write("S.gpg-agent", "%Assuan%\nsocket=${ELSEWHERE}/s\n");
    let elsewhere_path = elsewhere.path().to_str().expect("UTF-8");
    let mut launch = Command::new("gpg-agent");
    launch.arg("--homedir").arg(home.path()).arg("--daemon").env("ELSEWHERE", elsewhere_path);
    launch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(launch.status().expect("gpg-agent runs").success());
    assert!(elsewhere.path().join("s").exists(), "the agent follows the redirection");
    here.calls();
    here.decrypts(home.path(), "f.yaml", &[("ELSEWHERE", elsewhere_path)]);
    assert!(here.calls().is_empty());
    let mut end = Command::new("gpg-connect-agent");
    end.arg("--homedir")
        .arg(home.path())
        .args(["--no-autostart", "KILLAGENT", "/bye"])
        .env("ELSEWHERE", elsewhere_path);
    Place::finish(&mut end, b"").ok().expect("it ends");
}

#[test]
fn an_agent_that_misbehaves_is_told_of_and_not_waited_for() {
    let Some(sops) = peers() else { return };
    let home = new_home();
    let fingerprint = home.encryption_key("cv25519", "");
    let here = Here::new(&["gpg-agent"]);
    here.encrypt(&sops[1], home.path(), &fingerprint, "f.yaml");
    home.end_agent();
    let grip = home.grip(&fingerprint);
    home.end_agent();
    let greeting = "OK hello\n";
    let flood = format!("D {}\n", "x".repeat(900)).repeat(100);
    for (greeting, answer, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "", "the answer is none that gpg-agent gives: a line that is no answer"),
        ("", "", "no answer within 10 s"),
        (&"x".repeat(5000), "", "the answer is none that gpg-agent gives: a line without an end"),
        (greeting, "D (5:value33:short)\nOK\n", "a decrypted value that is none"),
        (greeting, "D (5:value5:short)\nOK\n", "the key decrypts it to something else than a session key"),
        (greeting, &flood, "more data than any key has"),
        (greeting, "D (5:val", "the connection was closed before there was an answer"),
        (greeting, "ERR 67109139 Unknown IPC command <GPG Agent>\n", "gpg-agent refuses: Unknown IPC command"),
        (greeting, "ERR 100663408 Card not present <SCD>\n", "the card is not there"),
    ] {
        let socket = home.path().join("S.gpg-agent");
        drop(fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).expect("a short path");
        let (greets, answers, info) =
            (greeting.to_owned(), answer.to_owned(), format!("S KEYINFO {grip} D - - - C - - -\nOK\n"));
        thread::spawn(move || listener.incoming().flatten().for_each(|it| serve(it, &greets, &info, &answers)));
        let told = here.refuses(home.path(), "f.yaml", &[]);
        assert!(told.contains(expected), "{expected}: {told}");
        assert!(here.calls().is_empty(), "no second agent is started beside it");
    }
    // A socket that somebody who has gone left behind.
    drop(fs::remove_file(home.path().join("S.gpg-agent")));
    drop(UnixListener::bind(home.path().join("S.gpg-agent")));
    here.decrypts(home.path(), "f.yaml", &[]);
}

/// Plays an agent: greets, knows every key, answers to the decryption, and goes if that answer has
/// no end.
fn serve(mut stream: UnixStream, greeting: &str, info: &str, answer: &str) {
    drop(stream.write_all(greeting.as_bytes()));
    let Ok(reader) = stream.try_clone() else { return };
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        let reply = match line.split(' ').next() {
            Some("KEYINFO") => info,
            Some("PKDECRYPT") => answer,
            _ => "OK\n",
        };
        drop(stream.write_all(reply.as_bytes()));
        if !reply.ends_with('\n') {
            return;
        }
    }
}
